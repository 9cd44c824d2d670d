//! Addresses of containers from launch to release: each of them is leased until the attempt's end is confirmed.

use super::lost_agents::by_master;
use super::scenarios::{launched, offers, status};
use super::world::{World, cluster_id, cluster_state, fact_of, offer, resources};
use crate::core::output::Input;
use crate::placement::Pools;
use bigdata_common::internal::Desired;
use bigdata_common::status::ClusterStatus;
use bigdata_mesos::v1::{Attribute, Offer, TaskState};
use serde_json::json;
use std::sync::Arc;

fn world() -> World {
    let mut world = World::new();
    let settings = json!({
        "admin": {"subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "bridge": "br0"},
        "storage": {"subnet": "10.2.0.0/24"},
    });
    world.policy.rules.pools = Arc::new(Pools::new(&serde_json::from_value(settings).unwrap()).unwrap());
    restart(&mut world);
    world
}

fn restart(world: &mut World) {
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
}

fn offered(id: &str) -> Offer {
    let attributes = [("bigdata_net", "container"), ("bigdata_containers", "true")];
    let attributes = attributes.map(|(name, value)| Attribute::text(name, value)).to_vec();
    Offer { attributes, ..offer(id, "a1", resources(8.0, 4096.0, 0.0)) }
}

fn leased(world: &World) -> Vec<String> {
    let keys = world.memory.leases.keys().filter(|(kind, ..)| *kind == "address");
    keys.map(|(_, scope, address)| format!("{scope} {address}")).collect()
}

#[test]
fn every_address_is_leased_until_the_end_is_confirmed_and_comes_back() {
    let mut world = world();
    let networks = json!({"eth0": {"networkname": "admin"}, "eth1": {"networkname": "storage"}});
    let node = json!({"cpu": 1.0, "mem": 100, "docker_image": "i", "networks": networks});
    let mut state = cluster_state(&cluster_id(1));
    world.want(state.clone(), Some(json!({"a": node, "b": node})));
    offers(&mut world, vec![offered("o1")]);
    let tasks = launched(&world.take_calls());
    let all = [
        "network:admin 10.1.0.2",
        "network:admin 10.1.0.3",
        "network:storage@a1 10.2.0.2",
        "network:storage@a1 10.2.0.3",
    ];
    assert_eq!(leased(&world), all);
    let first = world.memory.tasks.values().find(|task| task.id.to_string() == tasks[0].task_id.value).unwrap().clone();
    let specification = world.core.node_specification(first.id).unwrap();
    let told: Vec<String> = specification
        .interfaces
        .iter()
        .map(|it| format!("{} {} {}/{} {:?} {:?}", it.name, it.address, it.subnet, it.prefix, it.gateway, it.bridge))
        .collect();
    let expected = ["eth0 10.1.0.2 10.1.0.0/24 Some(10.1.0.1) Some(\"br0\")", "eth1 10.2.0.2 10.2.0.0/24 None None"];
    assert_eq!(told, expected);
    assert_eq!((specification.address.as_str(), specification.peers["b"].as_str()), ("10.1.0.2", "10.1.0.3"));
    let facts = world.take_events();
    let observation = facts.iter().filter_map(fact_of).find(|fact| fact.node.as_str() == "a").unwrap();
    let seen: Vec<&str> = observation.observation.interfaces.iter().map(|it| it.address.as_str()).collect();
    assert_eq!(seen, ["10.1.0.2", "10.2.0.2"]);

    // Its agent is away: what it has stays leased, over a restart of the framework, too.
    world.send(by_master(&tasks[0], TaskState::Unreachable));
    restart(&mut world);
    assert_eq!((leased(&world).as_slice(), world.core.invariants().violations), (&all.map(str::to_owned)[..], vec![]));
    world.send(Input::Update(status(&tasks[0], TaskState::Failed)));
    assert_eq!(leased(&world), [all[1], all[3]]);
    world.pass(2_000);
    offers(&mut world, vec![offered("o2")]);
    assert_eq!(launched(&world.take_calls()).len(), 1);
    assert_eq!(leased(&world), all, "the node has its addresses again");

    (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release);
    world.want(state, None);
    let ids: Vec<_> = world.memory.tasks.values().map(|task| task.id).collect();
    assert_eq!((ids.len(), leased(&world).len()), (2, 4));
    for id in ids {
        let mut ended = tasks[0].clone();
        ended.task_id = id.to_string().into();
        world.send(Input::Update(status(&ended, TaskState::Killed)));
    }
    assert_eq!(leased(&world), Vec::<String>::new());
}
