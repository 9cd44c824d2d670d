//! An empty database, and a Mesos that is not.

use super::memory::Memory;
use super::scenarios::{launched, node, offers, placed, with_disk};
use super::world::{World, cluster_id, cluster_state, offer, resources};
use crate::core::output::Input;
use serde_json::json;

/// A framework that begins on what the memory holds, and is to look before it places.
fn begin(memory: Memory) -> World {
    let mut world = World::new();
    world.memory = memory;
    world.policy.adopt_nothing = false;
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world
}

fn try_to_place(world: &mut World) -> usize {
    world.want(cluster_state(&cluster_id(1)), Some(json!({"a": node()})));
    offers(world, vec![offer("o1", "a1", resources(8.0, 4096.0, 4096.0))]);
    launched(&world.take_calls()).len()
}

#[test]
fn nothing_is_placed_from_an_empty_database_before_the_master_was_asked() {
    let mut world = begin(Memory::default());
    assert!(world.core.is_to_be_examined());
    assert_eq!(try_to_place(&mut world), 0);
    let explanation = world.core.explain(&cluster_id(1), world.now).unwrap();
    assert!(explanation.summary.contains("being asked what it has"), "{explanation:?}");
    world.send(Input::Examined { found: Vec::new() });
    assert_eq!(launched(&world.take_calls()).len(), 1, "with the offers that were held");
    assert!(!begin(world.memory).core.is_to_be_examined(), "a database that knows something is believed");
}

#[test]
fn what_the_master_has_and_the_database_does_not_know_stops_all_placing() {
    let mut world = begin(Memory::default());
    world.send(Input::Examined { found: vec!["task t1".to_owned(), "volume v1".to_owned()] });
    assert_eq!(try_to_place(&mut world), 0);
    let words = world.core.lost_in_words().unwrap();
    assert!(words.contains("task t1 and 1 more") && words.contains("framework.adopt_nothing"), "{words}");
    world.pass(60_000);
    assert_eq!(try_to_place(&mut world), 0);
    let fit = world.core.fit(&serde_json::from_value(json!({"dnsname": "d", "services": {}, "nodes": {}})).unwrap());
    assert_eq!((fit.fits, fit.reasons), (false, vec![words]));
}

#[test]
fn an_offered_volume_of_this_registry_shows_the_loss_too() {
    let mut other = World::subscribed();
    let (_, tasks) = placed(&mut other, json!({"a": with_disk()}));
    let volume = tasks[0].resources.iter().find(|entry| entry.is_persistent_volume()).unwrap();
    let mut all = resources(8.0, 4096.0, 4096.0);
    all.push(volume.clone());
    let mut world = begin(Memory::default());
    world.send(Input::Examined { found: Vec::new() });
    offers(&mut world, vec![offer("o1", "a1", all.clone())]);
    assert_eq!(try_to_place(&mut world), 0);
    let words = world.core.lost_in_words().unwrap();
    assert!(words.contains(&format!("volume {}", volume.persistence_id().unwrap())), "{words}");
    // Where the operator has decided so, it is left alone.
    let mut world = World::subscribed();
    offers(&mut world, vec![offer("o1", "a1", all)]);
    assert_eq!(world.core.orphans().len(), 1);
    assert_eq!(try_to_place(&mut world), 1);
}
