//! Nodes that come, are begun anew, and go while their cluster is ready.

use super::lost_agents::{by_master, kills, small, with_volume_of};
use super::scenarios::{accepts, launched, node, offers, status, with_disk};
use super::world::{World, cluster_id, cluster_state, offer, resources, specification};
use crate::core::model::Standing;
use crate::core::output::{Call, Input};
use bigdata_common::event::{Event, NodeFact};
use bigdata_common::internal::{ClusterState, NodeWish, Specification};
use bigdata_common::status::{ClusterStatus, NodeStatus, Termination};
use bigdata_mesos::v1::{OperationType, Resource, TaskInfo, TaskState};
use serde_json::{Value, json};
use std::sync::Arc;

const FIRST: NodeWish = NodeWish { revision: 1, incarnation: 0, elsewhere: false };

/// What the registry says, with the revisions that are asked for of it.
fn want(world: &mut World, state: &ClusterState, revisions: &[Value]) {
    let wanted = world.core.revisions_wanted(state);
    let read = wanted.into_iter().map(|revision| {
        let nodes = revisions[revision as usize - 1].clone();
        Arc::new(Specification { revision, ..specification(&state.cluster, nodes) })
    });
    let specifications = read.collect();
    world.send(Input::Wanted { state: Box::new(state.clone()), specifications, hinted: false });
}

/// A ready cluster with one node `a` on the agent a1.
fn ready(world: &mut World, a: &Value) -> (ClusterState, TaskInfo) {
    let mut state = cluster_state(&cluster_id(1));
    state.nodes.insert("a".parse().unwrap(), FIRST);
    want(world, &state, &[json!({"a": a})]);
    offers(world, vec![offer("o1", "a1", resources(4.0, 1024.0, 1024.0))]);
    let task = launched(&world.take_calls()).remove(0);
    world.send(Input::Update(status(&task, TaskState::Running)));
    state.status = ClusterStatus::Ready;
    want(world, &state, &[]);
    world.take_calls();
    world.take_events();
    (state, task)
}

fn facts(events: Vec<Event>) -> Vec<NodeFact> {
    events.iter().filter_map(|event| super::world::fact_of(event).cloned()).collect()
}

fn wish<'a>(state: &'a mut ClusterState, name: &str) -> &'a mut NodeWish {
    state.nodes.get_mut(name).unwrap()
}

fn kinds(calls: &[Call]) -> Vec<OperationType> {
    accepts(calls).into_iter().flatten().map(bigdata_mesos::v1::Operation::r#type).collect()
}

/// The agent's resources with a task's volume.
fn with_its_volume(task: &TaskInfo) -> Vec<Resource> {
    let volume = task.resources.iter().find(|entry| entry.is_persistent_volume()).unwrap();
    let mut all = resources(4.0, 1024.0, 960.0);
    all.push(volume.clone());
    all
}

fn volume_of(task: &TaskInfo) -> Option<&str> {
    task.resources.iter().find_map(Resource::persistence_id)
}

#[test]
fn a_new_node_is_placed_beside_those_that_run() {
    let mut world = World::subscribed();
    let (mut state, first) = ready(&mut world, &node());
    state.revision = 2;
    let wanted = NodeWish { revision: 2, ..FIRST };
    state.nodes.insert("b".parse().unwrap(), wanted);
    state.nodes.insert("c".parse().unwrap(), wanted);
    let large = json!({"cpu": 64.0, "mem": 100, "command": "run"});
    let revisions = [json!({"a": node()}), json!({"a": node(), "b": large, "c": node()})];
    assert_eq!(world.core.revisions_wanted(&state).into_iter().collect::<Vec<_>>(), [2]);
    want(&mut world, &state, &revisions);
    assert!(world.core.revisions_wanted(&state).is_empty(), "a revision is read once");
    offers(&mut world, vec![small("o2", "a2")]);
    let calls = world.take_calls();
    let tasks = launched(&calls);
    assert_eq!((tasks.len(), tasks[0].name.as_str()), (1, "c"), "what has a place is placed");
    assert!(!kills(&calls, &first));
    let fact = facts(world.take_events()).pop().unwrap();
    assert_eq!((fact.observation.revision, fact.observation.incarnation), (2, 0));
    let explanation = world.core.explain(&cluster_id(1), world.now).unwrap();
    let told = explanation.nodes.iter().map(|it| (it.node.as_str(), it.refusals[0].reason.as_str()));
    assert_eq!(told.collect::<Vec<_>>(), [("b", "cpu"), ("c", "start")]);
    // The scale is taken back: the registry's revision is the former one again.
    state.revision = 1;
    state.nodes.truncate(1);
    state.leaving = ["b", "c"].map(|name| name.parse().unwrap()).to_vec();
    want(&mut world, &state, &revisions);
    assert!(kills(&world.take_calls(), &tasks[0]));
    world.send(Input::Update(status(&tasks[0], TaskState::Killed)));
    let released = world.take_events().into_iter().filter(|event| matches!(event, Event::NodeReleased { .. })).count();
    assert_eq!((released, world.memory.nodes[&cluster_id(1)].len(), world.memory.leases.len()), (2, 1, 2));
    assert_eq!(world.core.invariants().violations, []);
}

#[test]
fn in_a_large_fleet_what_has_a_place_is_placed_too_and_the_reasons_of_the_rest_are_counted_later() {
    let mut world = World::subscribed();
    let (mut state, _) = ready(&mut world, &node());
    let tiny = |number: u32| offer(&format!("t{number}"), &format!("tiny{number}"), resources(0.01, 16.0, 16.0));
    offers(&mut world, (0..600).map(tiny).collect());
    world.take_calls();
    state.revision = 2;
    let wanted = NodeWish { revision: 2, ..FIRST };
    state.nodes.insert("b".parse().unwrap(), wanted);
    state.nodes.insert("c".parse().unwrap(), wanted);
    let large = json!({"cpu": 64.0, "mem": 100, "command": "run"});
    want(&mut world, &state, &[json!({"a": node()}), json!({"a": node(), "b": large, "c": node()})]);
    assert!(launched(&world.take_calls()).is_empty());
    offers(&mut world, vec![small("o2", "a2")]);
    let tasks = launched(&world.take_calls());
    assert_eq!((tasks.len(), tasks[0].name.as_str()), (1, "c"));
    let reason = |world: &World| {
        let nodes = world.core.explain(&cluster_id(1), world.now).unwrap().nodes;
        let names: Vec<&str> = nodes.iter().map(|it| it.node.as_str()).collect();
        assert_eq!(names, ["b", "c"], "the one without a place comes first");
        nodes[0].refusals[0].reason.clone()
    };
    world.pass(3_000);
    assert_eq!(reason(&world), "cpu");
    // What waits alone is placed as soon as there is room.
    offers(&mut world, vec![offer("o3", "a3", resources(65.0, 1024.0, 1024.0))]);
    assert_eq!(launched(&world.take_calls())[0].name, "b");
    assert_eq!(world.core.invariants().violations, []);
}

#[test]
fn another_incarnation_runs_on_the_same_agent_with_the_same_disk() {
    let mut world = World::subscribed();
    let (mut state, first) = ready(&mut world, &with_disk());
    let mut larger = with_disk();
    larger["mem"] = json!(200);
    let revisions = [json!({"a": with_disk()}), json!({"a": larger})];
    (state.revision, *wish(&mut state, "a")) = (2, NodeWish { revision: 2, incarnation: 1, elsewhere: false });
    want(&mut world, &state, &revisions);
    assert!(kills(&world.take_calls(), &first));
    let fact = facts(world.take_events()).pop().unwrap();
    assert_eq!((fact.observation.status, fact.observation.incarnation), (NodeStatus::Stopping, 0));
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.send(Input::Update(status(&first, TaskState::Killed)));
    world.take_calls();
    offers(&mut world, vec![small("o2", "a2")]);
    assert!(launched(&world.take_calls()).is_empty(), "its data is on a1");
    offers(&mut world, vec![offer("o3", "a1", with_its_volume(&first))]);
    let calls = world.take_calls();
    let next = launched(&calls).remove(0);
    assert_eq!((kinds(&calls), next.agent_id.as_str()), (vec![OperationType::Launch], "a1"));
    assert_eq!(volume_of(&next), volume_of(&first));
    let fact = facts(world.take_events()).pop().unwrap();
    assert_eq!((fact.observation.revision, fact.observation.incarnation, fact.observation.attempt.number), (2, 1, 2));
    let attempt = fact.observation.attempt.id;
    assert_eq!(world.core.node_specification(attempt).unwrap().blueprint.mem, 200);
    // Another revision alone changes nothing.
    wish(&mut state, "a").revision = 1;
    want(&mut world, &state, &revisions);
    assert!(!kills(&world.take_calls(), &next) && world.take_events().is_empty());
}

#[test]
fn elsewhere_means_another_place_and_empty_disks() {
    for termination in [Termination::Wipe, Termination::KeepData] {
        let mut world = World::subscribed();
        let (mut state, first) = ready(&mut world, &with_disk());
        state.termination = termination;
        *wish(&mut state, "a") = NodeWish { incarnation: 1, elsewhere: true, ..FIRST };
        want(&mut world, &state, &[]);
        assert!(kills(&world.take_calls(), &first));
        offers(&mut world, vec![small("o2", "a2")]);
        assert!(launched(&world.take_calls()).is_empty(), "the first has not ended");
        world.send(Input::Update(status(&first, TaskState::Killed)));
        offers(&mut world, vec![small("o3", "a2")]);
        let calls = world.take_calls();
        let next = launched(&calls).remove(0);
        assert_eq!(next.agent_id.as_str(), "a2");
        let last = facts(world.take_events()).pop().unwrap().observation;
        let kept = termination == Termination::KeepData;
        assert!(last.reason.as_ref().unwrap().contains(if kept { "and kept" } else { "destroyed" }), "{last:?}");
        world.send(Input::Update(status(&next, TaskState::Running)));
        world.pass(1_000);
        world.take_calls();
        offers(&mut world, vec![offer("o4", "a1", with_its_volume(&first))]);
        let expected = if kept { vec![] } else { vec![OperationType::Destroy, OperationType::Unreserve] };
        assert_eq!(kinds(&world.take_calls()), expected);
        // What was kept binds nobody, and is there at the node's end.
        state.nodes.clear();
        state.nodes.insert("b".parse().unwrap(), FIRST);
        state.leaving = vec!["a".parse().unwrap()];
        want(&mut world, &state, &[json!({"b": node()})]);
        world.send(Input::Update(status(&next, TaskState::Killed)));
        if kept {
            let Some(Event::NodeReleased { leftovers, .. }) = world.take_events().pop() else { panic!() };
            assert_eq!(leftovers.iter().filter(|words| words.ends_with("is kept")).count(), 2, "{leftovers:?}");
        }
    }
}

#[test]
fn a_node_that_is_not_wanted_any_more_is_released_and_told_until_it_is_heard() {
    let mut world = World::subscribed();
    let (mut state, task) = ready(&mut world, &with_disk());
    state.nodes.clear();
    state.nodes.insert("b".parse().unwrap(), FIRST);
    state.leaving = vec!["a".parse().unwrap()];
    let revisions = [json!({"a": with_disk(), "b": node()})];
    want(&mut world, &state, &revisions);
    assert!(kills(&world.take_calls(), &task));
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.pass(6_000);
    assert!(kills(&world.take_calls(), &task), "again, after a restart");
    world.send(Input::Update(status(&task, TaskState::Killed)));
    let is_released = |event: &Event| matches!(event, Event::NodeReleased { leftovers, .. } if leftovers.is_empty());
    world.pass(500);
    assert!(!world.take_events().iter().any(is_released), "its volume is there");
    world.take_calls();
    offers(&mut world, vec![offer("o2", "a1", with_its_volume(&task))]);
    let calls = world.take_calls();
    assert!(kinds(&calls).contains(&OperationType::Destroy), "{calls:?}");
    world.pass(1_000);
    offers(&mut world, vec![offer("o3", "a1", resources(4.0, 1024.0, 1024.0))]);
    assert!(world.take_events().iter().any(is_released));
    assert!(world.memory.volumes.is_empty() && world.memory.tasks.values().all(|task| task.node.as_str() == "b"));
    want(&mut world, &state, &revisions);
    assert!(!world.take_events().iter().any(is_released), "it is on its way");
    world.pass(10_000);
    world.restart();
    want(&mut world, &state, &revisions);
    assert!(world.take_events().iter().any(is_released), "told again");
    // One that was never heard of here has nothing that is left; and one that is wanted again counts on.
    state.leaving = vec!["z".parse().unwrap()];
    state.nodes.insert("a".parse().unwrap(), FIRST);
    want(&mut world, &state, &revisions);
    assert!(world.take_events().iter().any(is_released));
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.take_calls();
    offers(&mut world, vec![offer("o9", "a1", resources(4.0, 1024.0, 1024.0))]);
    assert_eq!(launched(&world.take_calls()).len(), 1);
    let numbers: Vec<u32> =
        world.memory.tasks.values().filter(|task| task.node.as_str() == "a").map(|task| task.number).collect();
    assert_eq!(numbers, [2]);
}

#[test]
fn a_node_on_an_agent_that_is_away_is_released_without_it() {
    let mut world = World::subscribed();
    let (mut state, task) = ready(&mut world, &with_disk());
    world.send(by_master(&task, TaskState::Unreachable));
    state.nodes.clear();
    state.nodes.insert("b".parse().unwrap(), FIRST);
    state.leaving = vec!["a".parse().unwrap()];
    want(&mut world, &state, &[json!({"b": node()})]);
    world.pass(29_000);
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::NodeReleased { .. })));
    world.pass(1_000);
    let left = world.take_events().into_iter().find_map(|event| match event {
        Event::NodeReleased { leftovers, .. } => Some(leftovers),
        _ => None,
    });
    let left = left.unwrap();
    assert!(left.len() == 2 && left.iter().all(|words| words.contains("away")), "{left:?}");
    assert_eq!(world.core.invariants().violations, []);
    world.send(Input::Update(status(&task, TaskState::Running)));
    assert!(kills(&world.take_calls(), &task), "it is ended as soon as it is heard of");
    world.send(Input::Update(status(&task, TaskState::Killed)));
    world.pass(1_000);
    world.take_calls();
    offers(&mut world, vec![offer("o8", "a1", with_its_volume(&task))]);
    assert!(kinds(&world.take_calls()).contains(&OperationType::Destroy));
}

/// A node whose blueprint lets another agent take it after a minute.
fn replaceable() -> Value {
    let mut node = with_disk();
    node["replace"] = json!({"elsewhere": {"after_ms": 60_000}});
    node
}

#[test]
fn another_agent_takes_a_node_whose_blueprint_says_so() {
    for (a, taken) in [(with_disk(), false), (replaceable(), true)] {
        let mut world = World::subscribed();
        let (_, task) = ready(&mut world, &a);
        world.send(by_master(&task, TaskState::Unreachable));
        let explanation = world.core.explain(&cluster_id(1), world.now).unwrap();
        assert_eq!(explanation.nodes[0].refusals[0].reason, "agent", "{explanation:?}");
        world.pass(59_000);
        offers(&mut world, vec![small("o2", "a2")]);
        assert!(launched(&world.take_calls()).is_empty());
        world.take_events();
        world.pass(1_000);
        offers(&mut world, vec![small("o3", "a2")]);
        let next = launched(&world.take_calls());
        assert_eq!(next.len(), usize::from(taken));
        if !taken {
            world.pass(3_600_000);
            offers(&mut world, vec![small("o4", "a2")]);
            assert!(launched(&world.take_calls()).is_empty(), "its data is waited for");
            continue;
        }
        let facts = facts(world.take_events());
        assert!(facts.iter().all(|fact| fact.observation.reason.as_ref().unwrap().contains("given up")), "{facts:?}");
        assert_eq!(facts.len(), 2);
        world.send(Input::Update(status(&next[0], TaskState::Running)));
        world.send(Input::Update(status(&task, TaskState::Running)));
        let calls = world.take_calls();
        assert!(kills(&calls, &task) && !kills(&calls, &next[0]), "the former one is ended");
        let kept = world.memory.tasks.values().filter(|task| task.standing == Standing::Kept).count();
        assert_eq!((kept, world.core.invariants().violations), (1, vec![]));
    }
}

#[test]
fn another_agent_takes_a_node_whose_own_has_no_room_for_it() {
    let mut world = World::subscribed();
    let (mut state, first) = ready(&mut world, &replaceable());
    let mut larger = replaceable();
    larger["mem"] = json!(2_000);
    let revisions = [Value::Null, json!({"a": larger})];
    (state.revision, *wish(&mut state, "a")) = (2, NodeWish { revision: 2, incarnation: 1, elsewhere: false });
    want(&mut world, &state, &revisions);
    world.send(Input::Update(status(&first, TaskState::Killed)));
    offers(&mut world, vec![offer("o2", "a1", with_its_volume(&first)), small("o3", "a2")]);
    assert!(launched(&world.take_calls()).is_empty());
    let explanation = world.core.explain(&cluster_id(1), world.now).unwrap();
    let lacks = explanation.nodes[0].refusals.iter().find(|refusal| refusal.reason == "mem").unwrap();
    assert!(lacks.nearest.contains("a1 lacks"), "{explanation:?}");
    world.pass(59_000);
    // A framework that was away has not seen what the agents offered.
    world.restart();
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    world.pass(59_000);
    offers(&mut world, vec![small("o4", "a2")]);
    assert!(launched(&world.take_calls()).is_empty());
    world.pass(1_000);
    offers(&mut world, vec![small("o5", "a2")]);
    assert_eq!(launched(&world.take_calls()).len(), 1);
    assert_eq!(with_volume_of(&first).len(), 5, "the volume is still there, to be destroyed");
    assert!(world.memory.volumes.values().any(|volume| volume.agent == "a1" && volume.doomed_at.is_some()));
}

#[test]
fn elsewhere_does_not_wait_for_an_agent_that_is_away() {
    let mut world = World::subscribed();
    let (mut state, first) = ready(&mut world, &with_disk());
    world.send(by_master(&first, TaskState::Unreachable));
    *wish(&mut state, "a") = NodeWish { incarnation: 1, elsewhere: true, ..FIRST };
    want(&mut world, &state, &[]);
    offers(&mut world, vec![small("o2", "a2")]);
    let next = launched(&world.take_calls());
    assert_eq!((next.len(), next[0].agent_id.as_str()), (1, "a2"));
    world.send(Input::Update(status(&first, TaskState::Running)));
    assert!(kills(&world.take_calls(), &first));
}

#[test]
fn a_new_node_does_not_wait_for_an_agent_that_went_away_with_it() {
    let mut world = World::subscribed();
    let (mut state, _) = ready(&mut world, &node());
    state.revision = 2;
    state.nodes.insert("b".parse().unwrap(), NodeWish { revision: 2, ..FIRST });
    want(&mut world, &state, &[Value::Null, json!({"a": node(), "b": with_disk()})]);
    offers(&mut world, vec![small("o2", "a2")]);
    let lost = launched(&world.take_calls()).remove(0);
    world.send(by_master(&lost, TaskState::Unreachable));
    world.pass(15_000);
    offers(&mut world, vec![small("o3", "a3")]);
    assert_eq!(launched(&world.take_calls()).len(), 1);
}

#[test]
fn executors_learn_where_their_peers_are_now() {
    let mut world = World::subscribed();
    let (mut state, first) = ready(&mut world, &node());
    let attempt = first.task_id.as_str().parse().unwrap();
    assert!(world.core.peers(attempt).is_err(), "it has not enrolled");
    let (fingerprint, control) = ("f".to_owned(), "127.0.0.1:1".to_owned());
    world.send(Input::Enrolled { attempt, fingerprint, control, isolation: String::new() });
    assert_eq!(world.core.peers(attempt).unwrap().len(), 1);
    state.nodes.insert("b".parse().unwrap(), FIRST);
    want(&mut world, &state, &[json!({"a": node(), "b": node()})]);
    offers(&mut world, vec![small("o2", "a2")]);
    assert_eq!(world.core.peers(attempt).unwrap().len(), 2);
    state.nodes.shift_remove("a");
    want(&mut world, &state, &[]);
    assert!(world.core.peers(attempt).is_err(), "it is wanted no more");
}

#[test]
fn what_an_older_registry_wants_is_every_node_of_its_revision() {
    let mut world = World::subscribed();
    let mut state = cluster_state(&cluster_id(1));
    want(&mut world, &state, &[json!({"a": node(), "b": node()})]);
    offers(&mut world, vec![small("o1", "a1"), small("o2", "a2")]);
    assert_eq!(launched(&world.take_calls()).len(), 2);
    // It was brought up to date: its first wishes say what there is.
    for name in ["a", "b"] {
        state.nodes.insert(name.parse().unwrap(), FIRST);
    }
    world.take_events();
    want(&mut world, &state, &[]);
    assert!(!world.take_calls().iter().any(|call| matches!(call, Call::Kill { .. })));
    assert!(world.take_events().is_empty());
}
