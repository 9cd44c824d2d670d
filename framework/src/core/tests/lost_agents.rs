//! Agents that are away, or gone, while a cluster is being launched, and after.

use super::scenarios::{launched, node, offers, released, status, with_disk};
use super::world::{World, cluster_id, cluster_state, offer, resources};
use crate::core::EnrolRefusal;
use crate::core::model::Standing;
use crate::core::output::{Call, Input};
use bigdata_common::event::Event;
use bigdata_common::internal::{ClusterState, Desired, EnrolRequest, TaskData};
use bigdata_common::status::{ClusterStatus, NodeStatus};
use bigdata_mesos::v1::{OperationType, Reason, Resource, Source, TaskInfo, TaskState, TaskStatus};
use serde_json::{Value, json};

/// Room for one node.
pub(super) fn small(id: &str, agent: &str) -> bigdata_mesos::v1::Offer {
    offer(id, agent, resources(1.5, 4096.0, 4096.0))
}

/// Two nodes on the agents a1 and a2; their tasks in that order. The one on a1 has run.
pub(super) fn half_launched(world: &mut World, nodes: Value) -> (ClusterState, TaskInfo, TaskInfo) {
    let state = cluster_state(&cluster_id(1));
    world.want(state.clone(), Some(nodes));
    offers(world, vec![small("o1", "a1"), small("o2", "a2")]);
    let mut tasks = launched(&world.take_calls());
    tasks.sort_by_key(|task| task.agent_id.value.clone());
    let [first, second] = <[TaskInfo; 2]>::try_from(tasks).unwrap();
    world.send(Input::Update(status(&first, TaskState::Running)));
    (state, first, second)
}

pub(super) fn by_master(task: &TaskInfo, state: TaskState) -> Input {
    let mut status: TaskStatus = status(task, state);
    status.source = Some(Source::Master as i32);
    Input::Update(status)
}

pub(super) fn kills(calls: &[Call], task: &TaskInfo) -> bool {
    calls.iter().any(|call| matches!(call, Call::Kill { task: id, .. } if *id == task.task_id))
}

fn request(task: &TaskInfo) -> EnrolRequest {
    let data: TaskData = serde_json::from_slice(task.data.as_ref().unwrap()).unwrap();
    EnrolRequest {
        attempt: data.attempt,
        token: data.token,
        fingerprint: "f".to_owned(),
        control: "127.0.0.1:1".to_owned(),
        isolation: String::new(),
    }
}

fn enrol(world: &mut World, task: &TaskInfo) {
    let EnrolRequest { attempt, fingerprint, control, isolation, .. } = request(task);
    world.send(Input::Enrolled { attempt, fingerprint, control, isolation });
}

fn address(world: &World, task: &TaskInfo) -> String {
    world.memory.tasks[&task.task_id.as_str().parse().unwrap()].address.clone()
}

#[test]
fn a_launch_goes_on_without_an_agent_that_is_away() {
    let mut world = World::subscribed();
    let (_, _, lost) = half_launched(&mut world, json!({"a": node(), "b": node()}));
    let old_address = address(&world, &lost);
    world.send(by_master(&lost, TaskState::Unreachable));
    world.pass(14_000);
    offers(&mut world, vec![small("o3", "a3")]);
    assert!(launched(&world.take_calls()).is_empty(), "it may be back in a moment");
    world.take_events();
    world.pass(1_000);
    let events = world.take_events();
    let [Event::NodeUnreachable(fact)] = &events[..] else { panic!("{events:?}") };
    assert!(fact.observation.reason.as_ref().unwrap().contains("could not be reached for 15 s"), "{fact:?}");
    offers(&mut world, vec![small("o4", "a3")]);
    let next = launched(&world.take_calls());
    assert_eq!((next.len(), next[0].agent_id.as_str(), &next[0].name), (1, "a3", &lost.name));
    assert_ne!(address(&world, &next[0]), old_address, "the old one may be served still");
    assert_eq!((world.memory.tasks.len(), world.memory.leases.len()), (3, 6));
    assert_eq!(world.core.invariants().violations, []);

    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.take_calls();
    world.take_events();
    assert_eq!(world.core.check_enrolment(&request(&lost)), Err(EnrolRefusal::Ended));
    world.send(by_master(&lost, TaskState::Unreachable));
    assert!(!kills(&world.take_calls(), &lost), "nobody would hear it");
    world.send(Input::Update(status(&lost, TaskState::Running)));
    assert!(kills(&world.take_calls(), &lost), "it is ended as soon as it is heard of");
    world.pass(5_000);
    assert!(kills(&world.take_calls(), &lost), "and again, until it has ended");
    world.send(Input::Update(status(&lost, TaskState::Killed)));
    assert_eq!((world.memory.tasks.len(), world.memory.leases.len()), (2, 4));
    assert!(world.take_events().is_empty(), "the node's facts are those of its new attempt");
}

#[test]
fn an_agent_that_is_back_in_time_keeps_its_node() {
    let mut world = World::subscribed();
    let (_, _, lost) = half_launched(&mut world, json!({"a": node(), "b": node()}));
    for _ in 0..3 {
        world.send(by_master(&lost, TaskState::Unreachable));
        world.pass(10_000);
        world.send(by_master(&lost, TaskState::Staging));
    }
    // What was seen before the framework was away for long says nothing of now.
    world.send(by_master(&lost, TaskState::Unreachable));
    world.restart();
    world.now = world.now.plus_millis(60_000);
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.pass(10_000);
    world.send(Input::Update(status(&lost, TaskState::Running)));
    offers(&mut world, vec![small("o3", "a3")]);
    let calls = world.take_calls();
    assert!(launched(&calls).is_empty() && !kills(&calls, &lost));
    assert!(world.memory.clusters.values().all(|cluster| cluster.was_whole));
}

#[test]
fn why_an_agent_is_away_is_said_until_it_is_back() {
    let mut world = World::subscribed();
    let (_, _, lost) = half_launched(&mut world, json!({"a": node(), "b": node()}));
    world.send(Input::Update(status(&lost, TaskState::Running)));
    let told = |reason: Reason, message: &str| {
        let mut status: TaskStatus = status(&lost, TaskState::Unreachable);
        (status.source, status.reason) = (Some(Source::Master as i32), Some(reason as i32));
        status.message = Some(message.to_owned());
        Input::Update(status)
    };
    let reasons = |world: &mut World| -> Vec<Option<String>> {
        let events = world.take_events();
        let reason = |event| match event {
            Event::NodeUnreachable(fact) | Event::NodeRunning(fact) | Event::NodeHealth(fact) => {
                Some(fact.observation.reason)
            }
            _ => None,
        };
        events.into_iter().filter_map(reason).collect()
    };
    reasons(&mut world);
    world.send(told(Reason::AgentRemoved, "health check timed out"));
    world.send(told(Reason::Reconciliation, "Reconciliation: Task is unreachable"));
    let away = Some("its agent cannot be reached: health check timed out".to_owned());
    assert_eq!(reasons(&mut world), [away]);
    world.send(by_master(&lost, TaskState::Running));
    assert_eq!(reasons(&mut world), [None]);
}

#[test]
fn nodes_that_have_all_run_wait_for_their_agents() {
    let mut world = World::subscribed();
    let (_, _, lost) = half_launched(&mut world, json!({"a": node(), "b": node()}));
    world.send(Input::Update(status(&lost, TaskState::Running)));
    // The framework may not have heard yet that the cluster is being configured.
    world.send(by_master(&lost, TaskState::Unreachable));
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.pass(60_000);
    offers(&mut world, vec![small("o3", "a3")]);
    assert!(launched(&world.take_calls()).is_empty());
}

#[test]
fn peers_that_were_told_the_old_address_get_fresh_attempts() {
    let mut world = World::subscribed();
    let (_, peer, lost) = half_launched(&mut world, json!({"a": node(), "b": node()}));
    enrol(&mut world, &peer);
    world.send(by_master(&lost, TaskState::Unreachable));
    world.pass(15_000);
    assert!(!kills(&world.take_calls(), &peer), "until there is another place it stays");
    world.take_events();
    offers(&mut world, vec![small("o3", "a3")]);
    let events = world.take_events();
    let [Event::NodeLaunching(_), Event::NodeHealth(fact)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(fact.observation.status, NodeStatus::Stopping, "the cluster is not whole with it");
    world.pass(250);
    let calls = world.take_calls();
    assert!(kills(&calls, &peer));
    let moved = launched(&calls);
    world.send(Input::Update(status(&moved[0], TaskState::Running)));
    world.send(Input::Update(status(&peer, TaskState::Running)));
    assert!(world.memory.clusters.values().all(|cluster| !cluster.was_whole));
    let old_address = address(&world, &peer);
    world.send(Input::Update(status(&peer, TaskState::Killed)));
    world.pass(1_000);
    offers(&mut world, vec![small("o4", "a1")]);
    let next = launched(&world.take_calls());
    assert_eq!((next.len(), address(&world, &next[0])), (1, old_address));
    let specification = world.core.node_specification(request(&next[0]).attempt).unwrap();
    assert_eq!(specification.peers[lost.name.as_str()], address(&world, &moved[0]));
    assert_eq!(world.memory.tasks.values().filter(|task| task.standing == Standing::Kept).count(), 2);
}

/// The agent's resources with what RESERVE and CREATE have made of them.
pub(super) fn with_volume_of(task: &TaskInfo) -> Vec<Resource> {
    let volume = task.resources.iter().find(|entry| entry.is_persistent_volume()).unwrap();
    let mut all = resources(1.5, 4096.0, 4032.0);
    all.push(volume.clone());
    all
}

#[test]
fn a_volume_of_a_superseded_attempt_binds_nobody_and_is_destroyed() {
    let mut world = World::subscribed();
    let (_, lost, _) = half_launched(&mut world, json!({"a": with_disk(), "b": node()}));
    assert!(world.memory.volumes.values().all(|volume| volume.seen));
    world.send(by_master(&lost, TaskState::Unreachable));
    world.pass(15_000);
    offers(&mut world, vec![small("o3", "a3")]);
    let next = launched(&world.take_calls());
    assert_eq!((next.len(), next[0].agent_id.as_str()), (1, "a3"));
    assert_eq!(world.memory.volumes.len(), 2);
    let orphans: Vec<_> = world.core.orphans().into_iter().map(|left| (left.kind, left.agent, left.reason)).collect();
    let [(attempt, of, why), (volume, on, what)] = &orphans[..] else { panic!("{orphans:?}") };
    assert_eq!(
        (attempt.as_str(), volume.as_str(), of.as_deref(), on.as_deref()),
        ("task", "volume", Some("a1"), Some("a1"))
    );
    assert!(
        why.contains("goes on without this attempt") && why.ends_with("it is ended when the agent is back"),
        "{why}"
    );
    assert!(what.ends_with("which goes on without it; it is destroyed when its agent offers it"), "{what}");
    // Its agent is back, and offers what the old attempt does not use.
    world.send(Input::Update(status(&lost, TaskState::Running)));
    offers(&mut world, vec![offer("o4", "a1", resources(0.4, 100.0, 100.0))]);
    world.pass(1_000);
    offers(&mut world, vec![offer("o5", "a1", resources(0.4, 100.0, 100.0))]);
    assert_eq!(world.memory.volumes.len(), 2, "no offer holds what is in use");
    world.send(Input::Update(status(&lost, TaskState::Killed)));
    world.take_calls();
    offers(&mut world, vec![offer("o6", "a1", with_volume_of(&lost))]);
    let calls = world.take_calls();
    let operations = super::scenarios::accepts(&calls).into_iter().flatten();
    let kinds: Vec<OperationType> = operations.map(bigdata_mesos::v1::Operation::r#type).collect();
    assert_eq!(kinds, [OperationType::Destroy, OperationType::Unreserve]);
    world.pass(1_000);
    offers(&mut world, vec![offer("o7", "a1", resources(1.5, 4096.0, 4096.0))]);
    assert_eq!(world.core.orphans(), [], "nothing is left of it");
}

#[test]
fn an_agent_that_is_gone_for_good_takes_its_volumes_along_and_not_the_launch() {
    for state in [TaskState::GoneByOperator, TaskState::Gone, TaskState::Lost] {
        let mut world = World::subscribed();
        let (_, lost, _) = half_launched(&mut world, json!({"a": with_disk(), "b": node()}));
        world.take_events();
        world.send(by_master(&lost, state));
        let events = world.take_events();
        let [Event::NodeEnded(fact)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((fact.observation.status, fact.observation.gave_up), (NodeStatus::Failed, false));
        assert!(fact.observation.reason.is_some());
        let lost = world.memory.volumes.values().filter(|volume| volume.lost_at.is_some()).count();
        assert_eq!(lost, usize::from(state == TaskState::GoneByOperator), "{state}");
        world.pass(1_000);
        offers(&mut world, vec![small("o3", "a3")]);
        let next = launched(&world.take_calls());
        assert_eq!((next.len(), next[0].agent_id.as_str()), (1, "a3"), "{state}");
    }
}

#[test]
fn a_superseded_attempt_whose_agent_is_removed_is_over() {
    let mut world = World::subscribed();
    let (_, lost, _) = half_launched(&mut world, json!({"a": with_disk(), "b": node()}));
    world.send(by_master(&lost, TaskState::Unreachable));
    world.pass(15_000);
    world.send(by_master(&lost, TaskState::GoneByOperator));
    assert_eq!((world.memory.tasks.len(), world.memory.leases.len()), (1, 2));
    assert!(world.memory.volumes.values().all(|volume| volume.lost_at.is_some()));
}

/// A release while a superseded attempt has been heard of again, or is still away.
fn released_without_the_superseded(alive: bool, force: bool) -> (World, TaskInfo) {
    let mut world = World::subscribed();
    let (mut state, ran, lost) = half_launched(&mut world, json!({"a": node(), "b": node()}));
    world.send(by_master(&lost, TaskState::Unreachable));
    world.pass(15_000);
    offers(&mut world, vec![small("o3", "a3")]);
    let next = launched(&world.take_calls());
    if alive {
        world.send(Input::Update(status(&lost, TaskState::Running)));
    }
    (state.status, state.desired, state.force) = (ClusterStatus::Destroying, Desired::Release, force);
    world.want(state, None);
    world.send(Input::Update(status(&ran, TaskState::Killed)));
    world.send(Input::Update(status(&next[0], TaskState::Killed)));
    world.pass(31_000);
    (world, lost)
}

#[test]
fn a_release_waits_for_superseded_attempts_that_are_alive_unless_it_is_forced() {
    let (mut world, lost) = released_without_the_superseded(true, false);
    assert!(!released(&world));
    world.send(Input::Update(status(&lost, TaskState::Killed)));
    assert!(released(&world));
    for (alive, force) in [(true, true), (false, true), (false, false)] {
        let (mut world, lost) = released_without_the_superseded(alive, force);
        let events = world.take_events();
        let leftovers = events.iter().find_map(|event| match event {
            Event::ClusterReleased { leftovers, .. } => Some(leftovers.clone()),
            _ => None,
        });
        let leftovers = leftovers.unwrap();
        assert!(leftovers[0].contains("is not confirmed to have ended"), "{leftovers:?}");
        assert_eq!(leftovers[0].contains("its agent is away"), !alive, "{leftovers:?}");
        assert_eq!(world.memory.leases.len(), 2);
        assert_eq!(world.core.invariants().violations, []);
        world.send(Input::Update(status(&lost, TaskState::Killed)));
        assert!(world.memory.leases.is_empty() && world.memory.uids.is_empty());
    }
}
