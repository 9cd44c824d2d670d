//! Executors that say again what is known.

use super::scenarios::{placed, status};
use super::world::World;
use crate::core::output::{Input, Output};
use bigdata_common::Timestamp;
use bigdata_common::event::Event;
use bigdata_common::internal::NodeReport;
use bigdata_mesos::v1::{Source, TaskInfo, TaskState, TaskStatus};
use serde_json::{Value, json};

fn with_health() -> Value {
    let health = json!({"tcp": [80], "interval_ms": 5_000, "timeout_ms": 2_000, "failures": 3, "deadline_ms": 60_000});
    json!({"cpu": 1.0, "mem": 100, "command": "run", "health": health})
}

fn checked(task: &TaskInfo, at: Timestamp) -> TaskStatus {
    let report = NodeReport { passing: Some(true), started: true, checked_at: Some(at), ..NodeReport::default() };
    let mut status = status(task, TaskState::Running);
    status.data = Some(serde_json::to_vec(&report).unwrap());
    #[expect(clippy::cast_precision_loss, reason = "a time of today")]
    let seconds = at.as_millis() as f64 / 1000.0;
    status.timestamp = Some(seconds);
    status
}

/// A node that passes, and whose executor has said so once.
fn passing(world: &mut World, node: Value) -> TaskInfo {
    let (_, tasks) = placed(world, json!({"a": node}));
    world.send(Input::Update(checked(&tasks[0], world.now)));
    world.take_events();
    tasks[0].clone()
}

#[test]
fn a_word_with_nothing_new_makes_the_node_younger_and_nothing_is_written() {
    let mut world = World::subscribed();
    let task = passing(&mut world, with_health());
    let (nodes, count) = world.core.heard_since(0);
    assert!(nodes.is_empty(), "the first word is a fact: {nodes:?}");
    world.pass(30_000);
    let (before, now) = (world.now.plus_millis(-400), world.now);
    let outputs = world.core.step(Input::Update(checked(&task, before)), now);
    assert!(matches!(outputs[..], [Output::Call(_)]), "an acknowledgement is all: {outputs:?}");
    let (nodes, next) = world.core.heard_since(count);
    let sequence = world.core.state.clusters.values().next().unwrap().nodes[0].sequence;
    assert_eq!(nodes.len(), 1);
    assert_eq!((nodes[0].observed_at, nodes[0].sequence, nodes[0].holds_ms), (before, sequence, 67_000));
    assert!(world.core.heard_since(next).0.is_empty(), "each word is told once");
    // One from an agent whose clock is ahead.
    world.send(Input::Update(checked(&task, now.plus_millis(90_000))));
    assert_eq!(world.core.heard_since(next).0[0].observed_at, now);
}

#[test]
fn what_comes_late_or_from_the_master_or_of_a_node_that_is_away_is_no_fresh_word() {
    let mut world = World::subscribed();
    let task = passing(&mut world, with_health());
    let told_at = world.now;
    world.pass(60_000);
    // Delivered once more after the agent was away: it says how the node was then.
    world.send(Input::Update(checked(&task, told_at)));
    let (nodes, count) = world.core.heard_since(0);
    assert_eq!(nodes[0].observed_at, told_at);
    let mut known = status(&task, TaskState::Running);
    known.source = Some(Source::Master as i32);
    world.send(Input::Update(known));
    assert!(world.core.heard_since(count).0.is_empty());
    world.send(Input::Update(checked(&task, world.now)));
    assert_eq!(world.core.heard_since(count).0.len(), 1);
    let mut away = status(&task, TaskState::Unreachable);
    away.source = Some(Source::Master as i32);
    world.send(Input::Update(away));
    assert!(matches!(world.take_events()[..], [Event::NodeUnreachable(_)]));
    assert!(world.core.heard_since(count).0.is_empty(), "its fact says more");
}

#[test]
fn a_node_without_health_is_told_of_by_facts_alone() {
    let mut world = World::subscribed();
    let task = passing(&mut world, json!({"cpu": 1.0, "mem": 100, "command": "run"}));
    world.pass(30_000);
    world.send(Input::Update(checked(&task, world.now)));
    assert!(world.core.heard_since(0).0.is_empty());
}
