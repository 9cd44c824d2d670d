//! Agents that were marked as gone at Mesos while they had nothing but volumes of ours.

use super::lost_agents::by_master;
use super::scenarios::{launched, offers, placed, released, status, with_disk};
use super::world::{World, cluster_id, cluster_state, offer, resources};
use crate::core::gone::QUESTION;
use crate::core::output::{Call, Input};
use bigdata_common::event::Event;
use bigdata_common::internal::Desired;
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_mesos::v1::{TaskInfo, TaskState, TaskStatus};
use serde_json::json;

/// The agents that the calls ask for.
fn asked(world: &mut World) -> Vec<String> {
    let calls = world.take_calls();
    let questions = calls.iter().flat_map(|call| match call {
        Call::Reconcile(tasks) => tasks.as_slice(),
        _ => &[],
    });
    let agents = questions.filter(|(task, _)| task.as_str() == QUESTION);
    agents.map(|(_, agent)| agent.as_ref().unwrap().value.clone()).collect()
}

fn answer(world: &mut World, agent: &str, state: TaskState) {
    let mut status = TaskStatus::new(QUESTION, state);
    status.agent_id = Some(agent.into());
    world.send(Input::Update(status));
}

fn told(world: &World) -> Vec<String> {
    world.core.orphans().into_iter().map(|orphan| format!("{} {}", orphan.kind, orphan.reason)).collect()
}

/// A cluster that is destroyed, and whose only node has ended.
fn destroyed(world: &mut World, termination: Termination) -> TaskInfo {
    let (mut state, mut tasks) = placed(world, json!({"a": with_disk()}));
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    (state.status, state.desired, state.termination) = (ClusterStatus::Destroying, Desired::Release, termination);
    world.want(state, None);
    world.send(Input::Update(status(&tasks[0], TaskState::Killed)));
    world.take_calls();
    tasks.remove(0)
}

#[test]
fn what_was_kept_is_told_as_lost_for_a_day() {
    let mut world = World::subscribed();
    let task = destroyed(&mut world, Termination::KeepData);
    let agent = task.agent_id.value.as_str();
    assert!(released(&world));
    world.pass(60_000);
    assert_eq!(asked(&mut world), [agent]);
    for state in [TaskState::Gone, TaskState::Unknown, TaskState::Unreachable] {
        answer(&mut world, agent, state);
        assert!(told(&world)[0].contains("it is kept by the termination policy"), "{state}: {:?}", told(&world));
    }
    world.pass(30_000);
    assert!(asked(&mut world).is_empty(), "not every moment");
    world.pass(30_000);
    assert_eq!(asked(&mut world), [agent]);

    answer(&mut world, agent, TaskState::GoneByOperator);
    let lost = |world: &World| {
        let told = told(world);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("it is lost with its agent, which was marked as gone"), "{told:?}");
    };
    lost(&world);
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.pass(60_000);
    lost(&world);
    assert!(asked(&mut world).is_empty(), "that is known");
    assert_eq!(world.core.invariants().violations, []);
    world.pass(24 * 3_600_000);
    assert!(told(&world).is_empty() && world.memory.volumes.is_empty(), "{:?}", told(&world));
}

#[test]
fn a_release_does_not_wait_for_what_is_lost() {
    let mut world = World::subscribed();
    let task = destroyed(&mut world, Termination::Wipe);
    let agent = task.agent_id.value.as_str();
    assert!(!released(&world));
    world.pass(1_000);
    assert_eq!(asked(&mut world), [agent]);
    answer(&mut world, agent, TaskState::GoneByOperator);
    let leftovers = world.take_events().into_iter().find_map(|event| match event {
        Event::ClusterReleased { leftovers, .. } => Some(leftovers),
        _ => None,
    });
    assert!(leftovers.as_ref().is_some_and(|words| words[0].contains("is lost with its agent")), "{leftovers:?}");
    assert!(told(&world)[0].contains("it is lost with its agent"), "{:?}", told(&world));
    assert_eq!(world.core.invariants().violations, []);
}

#[test]
fn a_cluster_whose_volume_was_lost_before_leaves_nothing() {
    let mut world = World::subscribed();
    let mut node = with_disk();
    node["replace"] = json!({"elsewhere": {"after_ms": 60_000}});
    let (mut state, tasks) = placed(&mut world, json!({"a": node}));
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    state.status = ClusterStatus::Ready;
    world.want(state.clone(), None);
    world.send(by_master(&tasks[0], TaskState::GoneByOperator));
    assert!(told(&world)[0].contains("goes on without it; it is lost with its agent"), "{:?}", told(&world));
    (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release);
    world.take_events();
    world.want(state, None);
    let leftovers = world.take_events().into_iter().find_map(|event| match event {
        Event::ClusterReleased { leftovers, .. } => Some(leftovers),
        _ => None,
    });
    assert_eq!(leftovers, Some(Vec::new()));
    assert!(told(&world)[0].contains("was released; it is lost with its agent"), "{:?}", told(&world));
    assert_eq!(world.core.invariants().violations, []);
}

#[test]
fn an_agent_that_shows_itself_is_not_asked_for() {
    let mut world = World::subscribed();
    let task = destroyed(&mut world, Termination::KeepData);
    let agent = task.agent_id.value.as_str();
    world.pass(59_000);
    assert_eq!(asked(&mut world), [agent]);
    // A node that runs there says that it is there.
    let other = placed_again(&mut world, agent);
    world.pass(60_000);
    assert!(asked(&mut world).is_empty());
    world.send(by_master(&other, TaskState::GoneByOperator));
    assert!(told(&world).iter().any(|words| words.contains("it is lost with its agent")), "{:?}", told(&world));
}

/// Another cluster's node on the agent.
fn placed_again(world: &mut World, agent: &str) -> TaskInfo {
    let state = cluster_state(&cluster_id(2));
    world.want(state, Some(json!({"b": {"cpu": 0.1, "mem": 10, "command": "run"}})));
    offers(world, vec![offer("r1", agent, resources(1.0, 1000.0, 0.0))]);
    let task = launched(&world.take_calls()).remove(0);
    world.send(Input::Update(status(&task, TaskState::Running)));
    task
}
