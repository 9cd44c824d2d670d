//! Several agents away at once, with nodes that other agents may take.

use super::lost_agents::{by_master, half_launched, small};
use super::scenarios::{launched, offers, status, with_disk};
use super::world::{World, cluster_id, cluster_state, fact_of, offer, resources};
use crate::core::output::Input;
use bigdata_common::internal::ClusterState;
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_mesos::v1::{TaskInfo, TaskState};
use serde_json::{Value, json};

/// A ready cluster with a node on each of so many agents (a1, a2, …), which others may take after a minute; the nodes' tasks.
fn ready(world: &mut World, agents: usize) -> Vec<TaskInfo> {
    ready_under(world, agents, Termination::Wipe)
}

fn ready_under(world: &mut World, agents: usize, termination: Termination) -> Vec<TaskInfo> {
    let mut node = with_disk();
    node["replace"] = json!({"elsewhere": {"after_ms": 60_000}});
    let nodes = (1..=agents).map(|number| (format!("n{number}"), node.clone())).collect();
    let mut state = ClusterState { termination, ..cluster_state(&cluster_id(1)) };
    world.want(state.clone(), Some(Value::Object(nodes)));
    offers(world, (1..=agents).map(|number| small(&format!("o{number}"), &format!("a{number}"))).collect());
    let mut tasks = launched(&world.take_calls());
    tasks.sort_by_key(|task| task.agent_id.value.clone());
    for task in &tasks {
        world.send(Input::Update(status(task, TaskState::Running)));
    }
    state.status = ClusterStatus::Ready;
    world.want(state, None);
    assert_eq!(tasks.len(), agents);
    tasks
}

/// Whom nodes were moved from, once there is room for every node, and why others wait.
fn moved(world: &mut World, tasks: &[TaskInfo]) -> (Vec<String>, Vec<String>) {
    offers(world, (0..3).map(|room| small(&format!("s{room}-{}", world.now), &format!("spare{room}"))).collect());
    let names: Vec<String> = launched(&world.take_calls()).into_iter().map(|task| task.name).collect();
    let former = tasks.iter().filter(|task| names.contains(&task.name));
    let explained = world.core.explain(&cluster_id(1), world.now).unwrap();
    let words = explained.nodes.into_iter().flat_map(|node| node.refusals).map(|refusal| refusal.nearest);
    (former.map(|task| task.agent_id.value.clone()).collect(), words.collect())
}

#[test]
fn of_several_agents_that_are_away_one_after_the_other_is_given_up() {
    let mut world = World::subscribed();
    let tasks = ready(&mut world, 7);
    world.send(by_master(&tasks[1], TaskState::Unreachable));
    world.pass(1_000);
    world.send(by_master(&tasks[4], TaskState::Unreachable));
    world.pass(60_000);
    let (former, words) = moved(&mut world, &tasks);
    assert_eq!(former, ["a2"], "{words:?}");
    assert!(words.iter().any(|words| words.contains("a5") && words.contains("after those of a2")), "{words:?}");
    world.pass(9_000);
    assert!(moved(&mut world, &tasks).0.is_empty());
    world.pass(1_000);
    assert_eq!(moved(&mut world, &tasks).0, ["a5"]);
    assert_eq!(world.core.invariants().violations, []);
}

#[test]
fn while_a_large_part_of_the_agents_is_away_nothing_is_given_up() {
    let mut world = World::subscribed();
    let tasks = ready(&mut world, 4);
    world.send(by_master(&tasks[0], TaskState::Unreachable));
    world.pass(1_000);
    // Gone altogether, as Mesos says: that may be wrong as well.
    world.send(by_master(&tasks[1], TaskState::Lost));
    world.pass(3_600_000);
    let (former, words) = moved(&mut world, &tasks);
    assert!(former.is_empty(), "{former:?}");
    let held = words.iter().filter(|words| words.contains("2 of 4 agents with nodes are away at once, more than 33 %"));
    assert_eq!(held.count(), 2, "{words:?}");
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    world.pass(1_000);
    assert_eq!(moved(&mut world, &tasks).0, ["a2"], "one alone is given up");
    assert_eq!(world.core.invariants().violations, []);
}

#[test]
fn one_agent_that_is_away_is_given_up_however_few_there_are() {
    let mut world = World::subscribed();
    let tasks = ready(&mut world, 1);
    world.send(by_master(&tasks[0], TaskState::Unreachable));
    world.pass(60_000);
    assert_eq!(moved(&mut world, &tasks).0, ["a1"]);
}

#[test]
fn agents_that_an_operator_has_marked_as_gone_are_given_up_at_once() {
    let mut world = World::subscribed();
    let tasks = ready(&mut world, 4);
    // By itself nothing is moved: it looks like a partition.
    for task in &tasks[..3] {
        world.send(by_master(task, TaskState::Unreachable));
    }
    world.send(by_master(&tasks[2], TaskState::Lost));
    world.pass(3_600_000);
    assert!(moved(&mut world, &tasks).0.is_empty());
    world.send(by_master(&tasks[0], TaskState::GoneByOperator));
    let facts: Vec<String> = world
        .take_events()
        .iter()
        .filter_map(|event| fact_of(event)?.observation.reason.clone())
        .filter(|reason| {
            reason.contains("its agent a1 was marked as gone, with the disks that it has: another one takes it")
        })
        .collect();
    assert_eq!(facts.len(), 1, "{facts:?}");
    assert_eq!(moved(&mut world, &tasks).0, ["a1"]);
    // Its volume is no more, and those who are away go on to be waited for: two of four are too many.
    assert!(world.memory.volumes.values().all(|volume| volume.agent != "a1" || volume.lost_at.is_some()));
    world.pass(60_000);
    assert!(moved(&mut world, &tasks).0.is_empty());
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.send(by_master(&tasks[1], TaskState::GoneByOperator));
    let room = |number: u32| small(&format!("l{number}"), &format!("late{number}"));
    offers(&mut world, (0..3).map(room).collect());
    let next: Vec<String> = launched(&world.take_calls()).into_iter().map(|task| task.name).collect();
    assert_eq!(next, [tasks[1].name.clone()]);
    assert_eq!(world.core.invariants().violations, []);
}

#[test]
fn what_was_to_be_kept_is_not_waited_for_where_its_agent_is_gone() {
    let mut world = World::subscribed();
    let tasks = ready_under(&mut world, 2, Termination::KeepData);
    world.send(by_master(&tasks[0], TaskState::GoneByOperator));
    assert_eq!(moved(&mut world, &tasks).0, ["a1"]);
    let mut of_agent = world.memory.volumes.values().filter(|volume| volume.agent == "a1");
    assert!(of_agent.all(|volume| volume.lost_at.is_some()), "it lies nowhere any more");
    let orphans = world.core.orphans();
    assert!(orphans.len() == 1 && orphans[0].reason.contains("it is lost with its agent"), "{orphans:?}");
}

#[test]
fn a_node_that_had_ended_before_its_agent_was_marked_as_gone_is_moved_with_the_agents_others() {
    let mut world = World::subscribed();
    let tasks = ready(&mut world, 2);
    // Two clusters: the other one's node on a1 runs, and tells of the mark.
    let second = cluster_id(2);
    world.want(cluster_state(&second), Some(json!({"other": {"cpu": 0.1, "mem": 10, "command": "run"}})));
    offers(&mut world, vec![offer("r1", "a1", resources(0.3, 100.0, 0.0))]);
    let other = launched(&world.take_calls()).remove(0);
    assert_eq!(other.agent_id.as_str(), "a1");
    world.send(Input::Update(status(&other, TaskState::Running)));
    world.send(by_master(&tasks[0], TaskState::Lost));
    assert!(moved(&mut world, &tasks).0.is_empty());
    world.send(by_master(&other, TaskState::GoneByOperator));
    let (former, words) = moved(&mut world, &tasks);
    assert_eq!(former, ["a1"], "{words:?}");
    assert_eq!(world.core.invariants().violations, []);
}

#[test]
fn a_node_that_is_to_wait_for_its_agent_does_so_though_that_is_gone() {
    let mut world = World::subscribed();
    let (mut state, ran, _) = half_launched(&mut world, json!({"a": with_disk(), "b": with_disk()}));
    state.status = ClusterStatus::Ready;
    world.want(state, None);
    world.send(by_master(&ran, TaskState::GoneByOperator));
    assert!(moved(&mut world, &[ran]).0.is_empty());
    assert_eq!(world.memory.volumes.len(), 2, "its product has not allowed another agent");
}
