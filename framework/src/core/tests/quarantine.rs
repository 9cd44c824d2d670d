//! Clusters that are destroyed while agents of theirs are away, and what becomes of their nodes there.

use super::lost_agents::{by_master, half_launched, kills, small, with_volume_of};
use super::scenarios::{accepts, launched, node, offers, released, status, with_disk};
use super::world::{World, cluster_id};
use crate::core::output::{Call, Input};
use bigdata_common::event::Event;
use bigdata_common::internal::{ClusterState, Desired};
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_mesos::v1::{Operation, OperationType, TaskInfo, TaskState};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Two nodes that have both run, on a1 and a2.
fn whole(world: &mut World, nodes: Value) -> (ClusterState, TaskInfo, TaskInfo) {
    let (state, first, second) = half_launched(world, nodes);
    world.send(Input::Update(status(&second, TaskState::Running)));
    (state, first, second)
}

fn destroy(world: &mut World, state: &mut ClusterState) {
    (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release);
    world.want(state.clone(), None);
}

fn leftovers(world: &mut World) -> Vec<String> {
    let events = world.take_events();
    let found = events.into_iter().rev().find_map(|event| match event {
        Event::ClusterReleased { leftovers, .. } => Some(leftovers),
        _ => None,
    });
    found.expect("the cluster is not released")
}

fn shuts_down(calls: &[Call], task: &TaskInfo) -> bool {
    calls.iter().any(|call| matches!(call, Call::Shutdown { executor, .. } if executor.value == task.task_id.value))
}

fn restart(world: &mut World) {
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
}

fn kinds(calls: &[Call]) -> Vec<OperationType> {
    accepts(calls).into_iter().flatten().map(Operation::r#type).collect()
}

fn reasons(world: &World) -> Vec<String> {
    world.core.orphans().into_iter().map(|orphan| orphan.reason).collect()
}

#[test]
fn a_destroy_ends_while_an_agent_is_away_and_cleans_up_when_it_is_back() {
    let mut world = World::subscribed();
    let (mut state, lost, near) = whole(&mut world, json!({"a": with_disk(), "b": node()}));
    destroy(&mut world, &mut state);
    world.send(by_master(&lost, TaskState::Unreachable));
    world.send(Input::Update(status(&near, TaskState::Killed)));
    world.pass(29_000);
    assert!(!released(&world), "it may be back in a moment");
    world.pass(1_000);
    let left = leftovers(&mut world);
    assert_eq!(left.len(), 2, "{left:?}");
    let task = format!("node a: task {} on agent a1 ", lost.task_id);
    assert!(left[0].starts_with(&task), "{left:?}");
    assert!(left[0].ends_with(": its agent is away; it is ended when the agent is back"), "{left:?}");
    assert!(left[1].contains("(disk data of node a, 64 MiB) on agent a1"), "{left:?}");
    assert!(left[1].ends_with("its agent is away; it is destroyed when the agent is back"), "{left:?}");
    let held = |world: &World| (world.memory.leases.len(), world.memory.uids.len(), world.memory.volumes.len());
    assert_eq!(held(&world), (2, 1, 1), "what the node may still use is nobody else's");

    // The registry has written that it is destroyed, and does not list it any more.
    restart(&mut world);
    world.send(Input::Listed(BTreeSet::new()));
    world.send(by_master(&lost, TaskState::Unreachable));
    world.pass(600_000);
    assert_eq!((held(&world), world.memory.clusters.len()), ((2, 1, 1), 1));
    assert_eq!(world.core.invariants().violations, []);
    let [attempt, volume] = <[String; 2]>::try_from(reasons(&world)).unwrap();
    assert!(attempt.contains("node a of") && attempt.contains("while its agent was away"), "{attempt}");
    assert!(volume.contains("disk data of node a of") && volume.contains("when its agent offers it"), "{volume}");

    world.take_calls();
    world.send(Input::Update(status(&lost, TaskState::Running)));
    let calls = world.take_calls();
    assert!(kills(&calls, &lost) && !shuts_down(&calls, &lost), "its executor has its time to end it");
    assert!(reasons(&world)[0].contains("it is being ended"));
    let mut calls = Vec::new();
    for _ in 0..7 {
        world.pass(5_000);
        calls.extend(world.take_calls());
    }
    assert!(shuts_down(&calls, &lost));
    assert_eq!(held(&world), (2, 1, 1), "only a confirmed end is one");
    world.send(Input::Update(status(&lost, TaskState::Killed)));
    assert_eq!((held(&world), reasons(&world).len()), ((0, 0, 1), 1));

    world.take_calls();
    world.send(Input::Listed(BTreeSet::new()));
    assert_eq!(world.memory.clusters.len(), 1, "its volume is still there");
    let mut offer = small("o9", "a1");
    offer.resources = with_volume_of(&lost);
    offers(&mut world, vec![offer]);
    assert_eq!(kinds(&world.take_calls()), [OperationType::Destroy, OperationType::Unreserve]);
    world.pass(1_000);
    offers(&mut world, vec![small("o10", "a1")]);
    world.send(Input::Listed(BTreeSet::new()));
    assert_eq!((world.memory.volumes.len(), world.memory.clusters.len()), (0, 0));
    assert!(world.take_events().is_empty(), "nothing is told of what is over");
}

#[test]
fn what_is_not_away_is_ended_and_destroyed_first() {
    let mut world = World::subscribed();
    let (mut state, lost, near) = whole(&mut world, json!({"a": node(), "b": with_disk()}));
    world.send(by_master(&lost, TaskState::Unreachable));
    world.take_calls();
    destroy(&mut world, &mut state);
    assert!(kills(&world.take_calls(), &near));
    world.pass(40_000);
    assert!(!released(&world), "one that is there is waited for");
    world.send(Input::Update(status(&near, TaskState::Killed)));
    assert!(!released(&world), "so is its volume");
    world.pass(1_000);
    world.take_calls();
    let mut offer = small("o8", "a2");
    offer.resources = with_volume_of(&near);
    offers(&mut world, vec![offer]);
    assert_eq!(kinds(&world.take_calls()), [OperationType::Destroy, OperationType::Unreserve]);
    world.pass(1_000);
    offers(&mut world, vec![small("o9", "a2")]);
    let left = leftovers(&mut world);
    assert!(left.len() == 1 && left[0].starts_with("node a: task"), "{left:?}");
}

#[test]
fn an_agent_that_is_back_in_time_leaves_nothing_over() {
    let mut world = World::subscribed();
    let (mut state, lost, near) = whole(&mut world, json!({"a": node(), "b": node()}));
    // Whether the master does not reach its agent or does not know it makes no difference.
    world.send(by_master(&lost, TaskState::Unknown));
    destroy(&mut world, &mut state);
    world.send(Input::Update(status(&near, TaskState::Killed)));
    world.pass(20_000);
    // What was seen before the framework was away says nothing of now.
    restart(&mut world);
    world.pass(20_000);
    world.take_calls();
    world.send(Input::Update(status(&lost, TaskState::Running)));
    world.pass(250);
    let calls = world.take_calls();
    assert!(kills(&calls, &lost) && !shuts_down(&calls, &lost));
    assert!(!released(&world));
    world.send(Input::Update(status(&lost, TaskState::Killed)));
    assert!(leftovers(&mut world).is_empty());
    assert!(world.memory.leases.is_empty() && world.memory.uids.is_empty());
}

#[test]
fn nobody_is_away_while_the_master_is() {
    let mut world = World::subscribed();
    let (mut state, lost, near) = whole(&mut world, json!({"a": node(), "b": node()}));
    world.send(by_master(&lost, TaskState::Unreachable));
    world.send(Input::Update(status(&near, TaskState::Killed)));
    world.send(Input::Disconnected { reason: "the connection was closed".to_owned() });
    destroy(&mut world, &mut state);
    world.pass(600_000);
    assert!(!released(&world));
}

#[test]
fn an_agent_that_is_given_up_frees_what_it_held() {
    let mut world = World::subscribed();
    let (mut state, lost, near) = whole(&mut world, json!({"a": with_disk(), "b": node()}));
    world.send(by_master(&lost, TaskState::Unreachable));
    world.pass(30_000);
    destroy(&mut world, &mut state);
    world.send(Input::Update(status(&near, TaskState::Killed)));
    assert_eq!(leftovers(&mut world).len(), 2, "it has been away for long enough already");
    world.send(by_master(&lost, TaskState::GoneByOperator));
    let memory = &world.memory;
    assert!(memory.leases.is_empty() && memory.uids.is_empty());
    let orphans = world.core.orphans();
    assert!(orphans.len() == 1 && orphans[0].reason.contains("it is lost with its agent"), "{orphans:?}");
}

#[test]
fn data_that_is_kept_is_kept_on_an_agent_that_is_away_too() {
    let mut world = World::subscribed();
    let (mut state, lost, near) = whole(&mut world, json!({"a": with_disk(), "b": node()}));
    state.termination = Termination::KeepData;
    world.send(by_master(&lost, TaskState::Unreachable));
    destroy(&mut world, &mut state);
    world.send(Input::Update(status(&near, TaskState::Killed)));
    world.pass(30_000);
    let left = leftovers(&mut world);
    assert!(left.len() == 2 && left[1].ends_with("is kept"), "{left:?}");
    world.send(Input::Update(status(&lost, TaskState::Killed)));
    world.take_calls();
    let mut offer = small("o9", "a1");
    offer.resources = with_volume_of(&lost);
    offers(&mut world, vec![offer]);
    assert!(kinds(&world.take_calls()).is_empty());
    assert_eq!(world.memory.volumes.len(), 1);
}

#[test]
fn a_retry_does_without_what_a_release_has_left_behind() {
    let mut world = World::subscribed();
    let (mut state, lost, near) = whole(&mut world, json!({"a": node(), "b": node()}));
    world.send(by_master(&lost, TaskState::Unreachable));
    (state.status, state.desired) = (ClusterStatus::Failed, Desired::Release);
    world.want(state.clone(), None);
    world.send(Input::Update(status(&near, TaskState::Killed)));
    world.pass(30_000);
    assert_eq!(leftovers(&mut world).len(), 1);
    (state.status, state.desired, state.generation) = (ClusterStatus::Scheduling, Desired::Run, 2);
    world.want(state, None);
    world.take_calls();
    offers(&mut world, vec![small("o8", "a2"), small("o9", "a3")]);
    let next = launched(&world.take_calls());
    assert_eq!(next.len(), 2);
    let tasks = &world.memory.tasks;
    let addresses: BTreeSet<&str> = tasks.values().map(|task| task.address.as_str()).collect();
    assert_eq!((tasks.len(), addresses.len()), (3, 3), "the old attempt keeps its address");
    world.send(Input::Update(status(&lost, TaskState::Running)));
    let calls = world.take_calls();
    assert!(kills(&calls, &lost) && next.iter().all(|task| !kills(&calls, task)));
    world.send(Input::Update(status(&lost, TaskState::Killed)));
    assert_eq!((world.memory.tasks.len(), world.memory.uids.len()), (2, 1), "the uid is the cluster's still");
    assert_eq!(world.core.invariants().violations, []);
}

#[test]
fn an_attempt_that_outlives_its_cluster_unlisted_breaks_an_invariant() {
    let mut world = World::subscribed();
    let (mut state, lost, near) = whole(&mut world, json!({"a": node(), "b": node()}));
    world.send(by_master(&lost, TaskState::Unreachable));
    destroy(&mut world, &mut state);
    world.send(Input::Update(status(&near, TaskState::Killed)));
    world.pass(30_000);
    let name = "an attempt that outlives its cluster is listed";
    let checked = world.core.invariants().checked;
    assert_eq!(checked.iter().find(|checked| checked.name == name).unwrap().subjects, 1);
    let id = lost.task_id.as_str().parse().unwrap();
    let task = world.core.state.tasks.get_mut(&id).unwrap();
    task.forgotten = false;
    task.standing = crate::core::model::Standing::Superseded { since: world.now, alive: false };
    let violations = world.core.invariants().violations;
    assert_eq!((violations.len(), violations[0].invariant.as_str()), (1, name), "{violations:?}");
    assert!(violations[0].detail.contains(&cluster_id(1).to_string()), "{violations:?}");
}
