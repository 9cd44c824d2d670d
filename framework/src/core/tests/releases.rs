//! Volumes that nodes come back to, and releases: what is ended, destroyed, kept, or left behind and listed.

use super::scenarios::{accepts, launched, node, offers, placed, released, status, with_disk};
use super::world::{World, cluster_id, cluster_state, offer, resources};
use crate::core::model::Phase;
use crate::core::output::{Call, Input};
use bigdata_common::event::Event;
use bigdata_common::internal::Desired;
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_mesos::v1::{Operation, OperationType, Resource, TaskInfo, TaskState};
use serde_json::json;

/// The agent's resources after RESERVE and CREATE, while no task uses the volume.
pub(super) fn with_volume(tasks: &[TaskInfo]) -> Vec<Resource> {
    let volume = tasks[0].resources.iter().find(|entry| entry.is_persistent_volume()).unwrap();
    let mut all = resources(8.0, 4096.0, 4032.0);
    all.push(volume.clone());
    all
}

#[test]
fn a_node_comes_back_to_its_volume_and_nowhere_else() {
    let mut world = World::subscribed();
    let state = cluster_state(&cluster_id(1));
    world.want(state, Some(json!({"a": with_disk()})));
    offers(&mut world, vec![offer("o1", "a1", resources(8.0, 4096.0, 4096.0))]);
    let calls = world.take_calls();
    let kinds: Vec<OperationType> = accepts(&calls)[0].iter().map(Operation::r#type).collect();
    assert_eq!(kinds, [OperationType::Reserve, OperationType::Create, OperationType::Launch]);
    let tasks = launched(&calls);
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    world.send(Input::Update(status(&tasks[0], TaskState::Failed)));
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.pass(1_000);
    offers(&mut world, vec![offer("o2", "a2", resources(8.0, 4096.0, 4096.0))]);
    world.pass(2_500);
    assert!(launched(&world.take_calls()).is_empty());
    let reason = world.take_events().into_iter().find_map(|event| match event {
        Event::PlacementWaiting { reasons, .. } if !reasons.is_empty() => Some(reasons[0].clone()),
        _ => None,
    });
    assert!(reason.as_ref().is_some_and(|reason| reason.contains("which is on a1")), "{reason:?}");
    offers(&mut world, vec![offer("o3", "a1", with_volume(&tasks))]);
    let calls = world.take_calls();
    let kinds: Vec<OperationType> = accepts(&calls)[0].iter().map(Operation::r#type).collect();
    assert_eq!(kinds, [OperationType::Launch]);
}

#[test]
fn a_release_ends_the_nodes_destroys_the_volumes_and_frees_everything() {
    let mut world = World::subscribed();
    let (mut state, tasks) = placed(&mut world, json!({"a": with_disk()}));
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release);
    world.want(state.clone(), None);
    assert!(world.take_calls().iter().any(|call| matches!(call, Call::Kill { .. })));
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    assert!(world.take_calls().iter().any(|call| matches!(call, Call::Kill { .. })), "killed again after a restart");
    world.send(Input::Update(status(&tasks[0], TaskState::Killed)));
    assert!(!released(&world));
    world.pass(500);
    offers(&mut world, vec![offer("o2", "a1", with_volume(&tasks))]);
    let calls = world.take_calls();
    let kinds: Vec<OperationType> = accepts(&calls)[0].iter().map(Operation::r#type).collect();
    assert_eq!(kinds, [OperationType::Destroy, OperationType::Unreserve]);
    world.pass(1_000);
    offers(&mut world, vec![offer("o3", "a1", resources(8.0, 4096.0, 4096.0))]);
    assert!(released(&world));
    assert!(world.memory.leases.is_empty() && world.memory.volumes.is_empty() && world.memory.uids.is_empty());
    world.take_events();
    world.want(state, None);
    assert!(released(&world), "asked again, told again");
}

#[test]
fn kept_data_is_listed_and_left_alone() {
    let mut world = World::subscribed();
    let (mut state, tasks) = placed(&mut world, json!({"a": with_disk()}));
    (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release);
    state.termination = Termination::KeepData;
    world.want(state, None);
    world.send(Input::Update(status(&tasks[0], TaskState::Killed)));
    let events = world.take_events();
    let Some(Event::ClusterReleased { leftovers, .. }) = events.last() else { panic!("{events:?}") };
    assert!(leftovers[0].contains("is kept"), "{leftovers:?}");
    world.take_calls();
    offers(&mut world, vec![offer("o2", "a1", with_volume(&tasks))]);
    assert!(accepts(&world.take_calls()).is_empty());
    let orphans = world.core.orphans();
    assert_eq!(orphans.iter().map(|orphan| orphan.kind.as_str()).collect::<Vec<_>>(), ["volume"]);
    assert!(orphans[0].reason.contains("kept by the termination policy"), "{orphans:?}");
    assert_eq!(world.core.invariants().violations, []);
    // What nobody told of is no leftover.
    let cluster = world.core.state.clusters.values_mut().next().unwrap();
    let Phase::Released { leftovers, .. } = &mut cluster.phase else { panic!("{:?}", cluster.phase) };
    leftovers.clear();
    let violations = world.core.invariants().violations;
    assert!(violations.len() == 1 && violations[0].detail.contains("did not tell"), "{violations:?}");
}

#[test]
fn a_volume_that_the_database_lost_is_an_orphan_though_its_cluster_is_known() {
    let mut world = World::subscribed();
    let (_, tasks) = placed(&mut world, json!({"a": with_disk()}));
    offers(&mut world, vec![offer("o2", "a1", with_volume(&tasks))]);
    assert!(world.core.orphans().is_empty());
    let id = world.core.state.volumes.keys().next().unwrap().clone();
    world.core.state.volumes.remove(&id);
    let orphans = world.core.orphans();
    assert!(orphans.len() == 1 && orphans[0].reason.contains("no such volume"), "{orphans:?}");
    assert_eq!(world.core.invariants().violations, [], "it is listed");
}

#[test]
fn force_forgets_what_does_not_answer_and_keeps_its_lease() {
    let mut world = World::subscribed();
    let (mut state, tasks) = placed(&mut world, json!({"a": node()}));
    (state.status, state.desired, state.force) = (ClusterStatus::Destroying, Desired::Release, true);
    world.want(state, None);
    world.pass(29_000);
    assert!(!released(&world));
    world.pass(1_000);
    assert!(released(&world));
    assert_eq!(world.memory.leases.len(), 2, "the address stays out of use");
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    assert!(world.take_calls().iter().any(|call| matches!(call, Call::Kill { .. })));
    world.send(Input::Update(status(&tasks[0], TaskState::Killed)));
    assert!(world.memory.leases.is_empty());
}

#[test]
fn an_executor_that_does_not_end_its_node_is_ended_itself() {
    let mut world = World::subscribed();
    let (mut state, _) = placed(&mut world, json!({"a": node()}));
    state.desired = Desired::Release;
    world.want(state, None);
    let (mut kills, mut shutdowns) = (0, 0);
    for _ in 0..10 {
        world.pass(5_000);
        for call in world.take_calls() {
            kills += usize::from(matches!(call, Call::Kill { .. }));
            shutdowns += usize::from(matches!(call, Call::Shutdown { .. }));
        }
    }
    // After 0, 5 and 15 seconds; after 35 it has had its time.
    assert_eq!((kills, shutdowns), (3, 1));
    assert!(!released(&world), "only a confirmed end is one");
}

#[test]
fn what_was_never_placed_or_known_is_released_at_once() {
    let mut world = World::new();
    let mut state = cluster_state(&cluster_id(1));
    (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release);
    world.want(state, None);
    assert!(released(&world));
    let mut state = cluster_state(&cluster_id(2));
    world.want(state.clone(), Some(json!({"a": node()})));
    let explanation = world.core.explain(&cluster_id(2), world.now).unwrap();
    assert!(explanation.nodes[0].refusals[0].nearest.contains("the Mesos master is away"), "{explanation:?}");
    world.take_events();
    state.desired = Desired::Release;
    world.want(state, None);
    assert!(released(&world));
}
