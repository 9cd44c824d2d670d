//! What is sent, and what is expected.

use super::releases::with_volume;
use super::world::{World, cluster_id, cluster_state, offer, resources};
use crate::core::output::{Call, Input};
use crate::placement::take::{LABEL_CLUSTER, LABEL_REGISTRY};
use bigdata_common::api::orphan::Orphan;
use bigdata_common::event::Event;
use bigdata_common::internal::{ClusterState, Desired, EnrolRequest, NodeReport, TaskData};
use bigdata_common::status::{ClusterStatus, NodeStatus};
use bigdata_mesos::v1::{Labels, Offer, Operation, ReservationInfo, Resource, Source, TaskInfo, TaskState, TaskStatus};
use serde_json::{Value, json};

pub(super) fn node() -> Value {
    json!({"cpu": 1.0, "mem": 100, "command": "run"})
}

pub(super) fn with_disk() -> Value {
    let disk = json!({"destination": "/data", "size": 64, "persistent": true, "type": "volume"});
    json!({"cpu": 1.0, "mem": 100, "command": "run", "disks": {"data": disk}})
}

pub(super) fn offers(world: &mut World, offers: Vec<Offer>) {
    world.send(Input::Offers(offers));
}

pub(super) fn accepts(calls: &[Call]) -> Vec<&Vec<Operation>> {
    calls
        .iter()
        .filter_map(|call| match call {
            Call::Accept { operations, .. } => Some(operations),
            _ => None,
        })
        .collect()
}

pub(super) fn launched(calls: &[Call]) -> Vec<TaskInfo> {
    let operations = accepts(calls).into_iter().flatten();
    operations.filter_map(|operation| operation.launch.clone()).flat_map(|launch| launch.task_infos).collect()
}

pub(super) fn status(task: &TaskInfo, state: TaskState) -> TaskStatus {
    let mut status = TaskStatus::new(task.task_id.clone(), state);
    status.agent_id = Some(task.agent_id.clone());
    status.source = Some(Source::Executor as i32);
    status.uuid = Some(vec![1; 16]);
    status
}

/// One cluster, placed on one agent; its tasks.
pub(super) fn placed(world: &mut World, nodes: Value) -> (ClusterState, Vec<TaskInfo>) {
    let state = cluster_state(&cluster_id(1));
    world.want(state.clone(), Some(nodes));
    offers(world, vec![offer("o1", "a1", resources(8.0, 4096.0, 4096.0))]);
    let tasks = launched(&world.take_calls());
    assert!(!tasks.is_empty());
    (state, tasks)
}

pub(super) fn released(world: &World) -> bool {
    world.events.iter().any(|(_, event)| matches!(event, Event::ClusterReleased { .. }))
}

#[test]
fn task_and_leases_are_stored_before_the_launch_leaves() {
    let mut world = World::subscribed();
    let state = cluster_state(&cluster_id(1));
    world.want(state, Some(json!({"n": node()})));
    world.take_calls();
    world.send_and_crash(Input::Offers(vec![offer("o1", "a1", resources(8.0, 4096.0, 0.0))]), true);
    assert_eq!((world.memory.tasks.len(), world.memory.leases.len()), (1, 2));
    // The ACCEPT did not leave: reconciliation finds that out, and the node gets another attempt at its address.
    world.send(Input::Subscribed { framework: "framework".to_owned() });
    let calls = world.take_calls();
    let Some(Call::Reconcile(asked)) = calls.iter().find(|call| matches!(call, Call::Reconcile(_))) else { panic!() };
    let mut gone = TaskStatus::new(asked[0].0.clone(), TaskState::Gone);
    gone.agent_id = Some("a1".into());
    world.send(Input::Update(gone));
    assert!(world.memory.leases.is_empty());
    world.pass(1_000);
    world.take_calls();
    offers(&mut world, vec![offer("o2", "a1", resources(8.0, 4096.0, 0.0))]);
    let task = world.memory.tasks.values().next().unwrap().clone();
    assert_eq!((task.number, task.address.as_str(), launched(&world.take_calls()).len()), (2, "127.64.0.1", 1));
}

#[test]
fn a_cluster_is_placed_whole_spread_and_in_one_accept_per_agent() {
    let mut world = World::subscribed();
    let nodes = json!({"a": node(), "b": node(), "c": node()});
    world.want(cluster_state(&cluster_id(1)), Some(nodes));
    offers(&mut world, vec![offer("o1", "a1", resources(2.5, 4096.0, 0.0))]);
    assert!(launched(&world.take_calls()).is_empty(), "two of three would fit");
    offers(&mut world, vec![offer("o2", "a2", resources(2.5, 4096.0, 0.0))]);
    let calls = world.take_calls();
    let tasks = launched(&calls);
    assert_eq!((accepts(&calls).len(), tasks.len()), (2, 3));
    assert!(tasks.iter().all(|task| task.resources[0].name == "ports"), "the control port comes first");
    let variables = &tasks[0].executor.as_ref().unwrap().command.as_ref().unwrap().environment;
    let names: Vec<&str> = variables.as_ref().unwrap().variables.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["PATH", "LANG"]);
}

#[test]
fn useless_offers_are_held_for_a_while_and_then_declined() {
    let mut world = World::subscribed();
    world.want(cluster_state(&cluster_id(1)), Some(json!({"a": {"cpu": 9.0, "mem": 100, "command": "run"}})));
    offers(&mut world, vec![offer("o1", "a1", resources(8.0, 4096.0, 0.0))]);
    let is_decline = |call: &Call| matches!(call, Call::Decline { .. });
    assert!(!world.take_calls().iter().any(is_decline));
    world.pass(1_500);
    assert!(!world.take_calls().iter().any(is_decline));
    world.pass(600);
    let calls = world.take_calls();
    assert!(calls.iter().any(|call| matches!(call, Call::Decline { refuse_seconds, .. } if *refuse_seconds < 10.0)));
    let told: Vec<Vec<String>> = world
        .take_events()
        .into_iter()
        .filter_map(|event| match event {
            Event::PlacementWaiting { reasons, .. } => Some(reasons),
            _ => None,
        })
        .collect();
    let words = "node a needs 9 CPUs, 100 MiB memory: agent a1 lacks 1.1 CPUs (cpu)";
    assert_eq!(told, [vec![], vec![words.to_owned()]]);
    let explanation = world.core.explain(&cluster_id(1), world.now).unwrap();
    assert_eq!(explanation.nodes[0].refusals[0].agents, 1);
}

#[test]
fn without_a_want_offers_are_declined_for_long_and_suppressed() {
    let mut world = World::subscribed();
    offers(&mut world, vec![offer("o1", "a1", resources(8.0, 4096.0, 0.0))]);
    let calls = world.take_calls();
    assert!(calls.iter().any(|call| matches!(call, Call::Decline { refuse_seconds, .. } if *refuse_seconds > 600.0)));
    world.pass(3_500);
    assert!(world.take_calls().contains(&Call::Suppress));
    world.want(cluster_state(&cluster_id(1)), Some(json!({"a": node()})));
    assert!(world.take_calls().contains(&Call::Revive));
}

#[test]
fn running_health_and_repeated_updates() {
    let mut world = World::subscribed();
    let (_, tasks) = placed(&mut world, json!({"a": node()}));
    world.take_events();
    let mut running = status(&tasks[0], TaskState::Running);
    running.timestamp = Some(10.0);
    world.send(Input::Update(running.clone()));
    world.send(Input::Update(running.clone()));
    let events = world.take_events();
    assert!(matches!(events[..], [Event::NodeRunning(_)]), "{events:?}");
    assert_eq!(world.take_calls().iter().filter(|call| matches!(call, Call::Acknowledge(_))).count(), 2);
    let report = NodeReport { passing: Some(false), restarts: 1, ..NodeReport::default() };
    running.data = Some(serde_json::to_vec(&report).unwrap());
    running.timestamp = Some(12.0);
    world.send(Input::Update(running.clone()));
    // An older one that comes late changes nothing.
    running.timestamp = Some(11.0);
    running.data = None;
    running.healthy = Some(true);
    world.send(Input::Update(running));
    let events = world.take_events();
    let [Event::NodeHealth(fact)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((fact.observation.passing, fact.observation.restarts), (Some(false), 1));
}

#[test]
fn unreachable_is_not_dead_and_terminal_stays_terminal() {
    let mut world = World::subscribed();
    let (_, tasks) = placed(&mut world, json!({"a": node()}));
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    let mut lost = status(&tasks[0], TaskState::Unreachable);
    lost.source = Some(Source::Master as i32);
    world.send(Input::Update(lost));
    world.pass(5_000);
    offers(&mut world, vec![offer("o2", "a2", resources(8.0, 4096.0, 0.0))]);
    assert!(launched(&world.take_calls()).is_empty(), "nothing takes the place of a node that may be alive");
    assert_eq!(world.memory.leases.len(), 2);
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    let kinds: Vec<&str> = world.take_events().iter().map(Event::kind).collect();
    assert!(kinds.ends_with(&["node.unreachable.v1", "node.running.v1"]), "{kinds:?}");
    world.send(Input::Update(status(&tasks[0], TaskState::Gone)));
    world.take_calls();
    world.take_events();
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    assert!(world.take_events().is_empty());
    assert!(world.take_calls().iter().any(|call| matches!(call, Call::Kill { .. })), "the revenant is ended");
}

#[test]
fn a_foreign_task_is_acknowledged_and_not_touched() {
    let mut world = World::subscribed();
    world.take_calls();
    for id in ["not-ours", "00000000-0000-4000-8000-000000000000"] {
        let mut update = TaskStatus::new(id, TaskState::Running);
        (update.agent_id, update.uuid) = (Some("a1".into()), Some(vec![1; 16]));
        world.send(Input::Update(update));
        let calls = world.take_calls();
        assert!(matches!(calls[..], [Call::Acknowledge(_)]), "{calls:?}");
    }
    let orphans = world.core.orphans();
    assert_eq!(orphans.iter().map(|orphan| orphan.kind.as_str()).collect::<Vec<_>>(), ["task", "task"]);
    for orphan in orphans {
        world.send(Input::Update(TaskStatus::new(orphan.id, TaskState::Killed)));
    }
    assert!(world.core.orphans().is_empty(), "what has ended is no orphan");
}

#[test]
fn reservations_of_others_and_of_clusters_that_are_not_known_are_orphans() {
    let mut world = World::subscribed();
    let labelled = |registry: &str| {
        let labels = [(LABEL_REGISTRY, registry.to_owned()), (LABEL_CLUSTER, cluster_id(9).to_string())];
        let labels = Labels::from_iter(labels);
        Resource::scalar("disk", 10.0).reserved(ReservationInfo::dynamic(
            &world.core.policy.rules.role,
            None,
            Some(labels),
        ))
    };
    let registry = world.core.policy.rules.registry.clone();
    let entries = vec![labelled(&registry), labelled("another")];
    offers(&mut world, vec![offer("o1", "a1", entries)]);
    let orphans = world.core.orphans();
    let place = |orphan: &Orphan| (orphan.agent.clone().unwrap(), orphan.host.clone().unwrap());
    assert!(orphans.iter().all(|orphan| place(orphan) == ("a1".to_owned(), "a1".to_owned())), "{orphans:?}");
    let reasons: Vec<String> = orphans.into_iter().map(|orphan| orphan.reason).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("the registry another")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("is not known here")), "{reasons:?}");
}

#[test]
fn an_attempt_that_its_node_does_not_name_breaks_an_invariant() {
    let mut world = World::subscribed();
    placed(&mut world, json!({"a": node()}));
    assert_eq!(world.core.invariants().violations, []);
    let cluster = world.core.state.clusters.values_mut().next().unwrap();
    cluster.nodes[0].task = None;
    let violations = world.core.invariants().violations;
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].detail.contains("names None"), "{violations:?}");
}

#[test]
fn nodes_that_use_more_than_their_agent_has_break_an_invariant() {
    let mut world = World::subscribed();
    placed(&mut world, json!({"a": node()}));
    let id = *world.core.state.tasks.keys().next().unwrap();
    world.core.state.tasks.get_mut(&id).unwrap().used.cpus = 8.5;
    let violations = world.core.invariants().violations;
    assert!(violations.len() == 1 && violations[0].subject == "a1", "{violations:?}");
}

#[test]
fn a_subscription_that_the_master_ends_is_told_of_until_there_is_another() {
    let mut world = World::subscribed();
    for (message, framework) in [("Framework failed over", 1), ("Framework has been removed", 0)] {
        world.send(Input::Expelled { message: message.to_owned() });
        world.send(Input::Disconnected { reason: "refused".to_owned() });
        let words = world.core.trouble_in_words().unwrap();
        assert!(words.contains(message), "{words}");
        assert_eq!(world.core.why_not_placing(), Some(words));
        assert_eq!(usize::from(world.core.state.framework.is_some()), framework);
        world.send(Input::Subscribed { framework: "framework".to_owned() });
        assert_eq!((world.core.trouble_in_words(), world.core.why_not_placing()), (None, None));
    }
}

#[test]
fn what_is_leased_twice_or_to_another_breaks_an_invariant() {
    let mut world = World::subscribed();
    placed(&mut world, json!({"a": with_disk(), "b": node()}));
    assert_eq!(world.core.invariants().violations, []);
    let port = world.core.state.tasks.values().next().unwrap().agent_ports.clone();
    for task in world.core.state.tasks.values_mut() {
        (task.agent_ports, task.uid) = (port.clone(), Some(1));
    }
    let ids: Vec<String> = world.core.state.volumes.keys().cloned().collect();
    for id in ids {
        let volume = world.core.state.volumes.get_mut(&id).unwrap();
        (volume.agent, volume.seen) = ("elsewhere".to_owned(), true);
    }
    let violations = world.core.invariants().violations;
    assert_eq!(violations.len(), 4, "one port, two uids, one volume: {violations:?}");
}

#[test]
fn a_launch_is_given_up_after_its_attempts_and_retry_begins_anew() {
    let mut world = World::subscribed();
    let (mut state, mut tasks) = placed(&mut world, json!({"a": node(), "b": node()}));
    let other = tasks.remove(1);
    world.send(Input::Update(status(&other, TaskState::Running)));
    for attempt in 1..=2 {
        world.send(Input::Update(status(&tasks[0], TaskState::Failed)));
        let events = world.take_events();
        let Some(Event::NodeEnded(fact)) = events.last() else { panic!("{events:?}") };
        assert_eq!((fact.observation.gave_up, fact.observation.attempt.number), (attempt == 2, attempt));
        world.pass(3_000);
        offers(&mut world, vec![offer("again", "a1", resources(8.0, 4096.0, 0.0))]);
        let next = launched(&world.take_calls());
        assert_eq!(next.len(), usize::from(attempt == 1));
        tasks = if next.is_empty() { tasks } else { next };
    }
    state.status = ClusterStatus::Failed;
    world.want(state.clone(), None);
    (state.status, state.generation) = (ClusterStatus::Scheduling, 2);
    world.take_events();
    world.want(state, None);
    let events = world.take_events();
    assert!(events.iter().any(|event| matches!(event, Event::NodeRunning(fact) if fact.generation == 2)), "{events:?}");
    offers(&mut world, vec![offer("o9", "a1", resources(8.0, 4096.0, 0.0))]);
    let tasks = launched(&world.take_calls());
    assert_eq!((tasks.len(), tasks[0].name.as_str()), (1, "a"));
    assert_eq!(world.memory.tasks.values().map(|task| task.number).max(), Some(3));
}

#[test]
fn a_retry_overtakes_a_release() {
    let mut world = World::subscribed();
    let (mut state, tasks) = placed(&mut world, json!({"a": with_disk()}));
    (state.status, state.desired) = (ClusterStatus::Failed, Desired::Release);
    world.want(state.clone(), None);
    (state.status, state.desired, state.generation) = (ClusterStatus::Scheduling, Desired::Run, 2);
    world.want(state, None);
    world.send(Input::Update(status(&tasks[0], TaskState::Killed)));
    world.take_calls();
    world.pass(1_000);
    offers(&mut world, vec![offer("o2", "a1", with_volume(&tasks))]);
    assert_eq!(launched(&world.take_calls()).len(), 1);
    assert!(!released(&world));
}

#[test]
fn a_failed_cluster_gets_no_new_attempts() {
    let mut world = World::subscribed();
    let (mut state, tasks) = placed(&mut world, json!({"a": node()}));
    state.status = ClusterStatus::Failed;
    world.want(state, None);
    world.send(Input::Update(status(&tasks[0], TaskState::Failed)));
    world.pass(60_000);
    offers(&mut world, vec![offer("o2", "a1", resources(8.0, 4096.0, 0.0))]);
    assert!(launched(&world.take_calls()).is_empty());
}

#[test]
fn after_ready_attempts_have_no_limit_but_a_wait_that_grows() {
    let mut world = World::subscribed();
    let (mut state, mut tasks) = placed(&mut world, json!({"a": node()}));
    state.status = ClusterStatus::Ready;
    world.want(state, None);
    for wait in [0, 1_000, 2_000, 4_000] {
        world.send(Input::Update(status(&tasks[0], TaskState::Failed)));
        if wait > 0 {
            world.pass(wait - 100);
            offers(&mut world, vec![offer("early", "a1", resources(8.0, 4096.0, 0.0))]);
            assert!(launched(&world.take_calls()).is_empty());
            world.pass(100);
        }
        offers(&mut world, vec![offer("due", "a1", resources(8.0, 4096.0, 0.0))]);
        tasks = launched(&world.take_calls());
        assert_eq!(tasks.len(), 1);
    }
}

#[test]
fn an_older_word_of_the_registry_changes_nothing() {
    let mut world = World::subscribed();
    let (old, tasks) = placed(&mut world, json!({"a": node()}));
    let release = ClusterState { desired: Desired::Release, status: ClusterStatus::Destroying, ..old.clone() };
    world.want(release, None);
    world.want(old, None);
    world.send(Input::Update(status(&tasks[0], TaskState::Killed)));
    assert!(released(&world));
}

#[test]
fn a_token_enrols_one_executor() {
    let mut world = World::subscribed();
    let (_, tasks) = placed(&mut world, json!({"a": node(), "b": node()}));
    let data: TaskData = serde_json::from_slice(tasks[0].data.as_ref().unwrap()).unwrap();
    let request = |token: &str, fingerprint: &str| EnrolRequest {
        attempt: data.attempt,
        token: token.to_owned(),
        fingerprint: fingerprint.to_owned(),
        control: "127.0.0.1:1".to_owned(),
        isolation: String::new(),
    };
    use crate::core::EnrolRefusal;
    assert_eq!(world.core.check_enrolment(&request("guess", "f1")), Err(EnrolRefusal::Token));
    for _ in 0..2 {
        let one = request(&data.token, "f1");
        assert_eq!(world.core.check_enrolment(&one), Ok(()));
        world.send(Input::Enrolled {
            attempt: one.attempt,
            fingerprint: one.fingerprint,
            control: one.control,
            isolation: one.isolation,
        });
    }
    world.restart();
    assert_eq!(world.core.check_enrolment(&request(&data.token, "f2")), Err(EnrolRefusal::Other));
    let specification = world.core.node_specification(data.attempt).unwrap();
    assert_eq!((specification.peers.len(), specification.uid), (2, Some(70_000)));
    assert!(!serde_json::to_string(&world.memory.tasks.values().collect::<Vec<_>>()).unwrap().contains(&data.token));
    world.send(Input::Update(status(&tasks[0], TaskState::Failed)));
    assert_eq!(world.core.check_enrolment(&request(&data.token, "f1")), Err(EnrolRefusal::Ended));
}

#[test]
fn a_launch_that_the_master_did_not_take_is_tried_again() {
    let mut world = World::subscribed();
    let (_, _) = placed(&mut world, json!({"a": node()}));
    let tasks: Vec<_> = world.memory.tasks.keys().copied().collect();
    world.send(Input::NotLaunched { tasks, reason: "gone".to_owned() });
    let events = world.take_events();
    let Some(Event::NodeEnded(fact)) = events.last() else { panic!("{events:?}") };
    assert_eq!((fact.observation.status, fact.observation.gave_up), (NodeStatus::Failed, false));
    world.pass(1_000);
    offers(&mut world, vec![offer("o2", "a1", resources(8.0, 4096.0, 0.0))]);
    assert_eq!(launched(&world.take_calls()).len(), 1);
}

#[test]
fn what_the_registry_has_not_seen_is_told_again() {
    let mut world = World::subscribed();
    let (mut state, tasks) = placed(&mut world, json!({"a": node()}));
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    world.take_events();
    world.want(state.clone(), None);
    assert!(world.take_events().is_empty(), "it may be on its way");
    world.pass(10_000);
    world.want(state.clone(), None);
    let events = world.take_events();
    let [Event::NodeRunning(fact)] = &events[..] else { panic!("{events:?}") };
    state.observed.insert("a".parse().unwrap(), fact.sequence);
    world.pass(20_000);
    world.want(state, None);
    assert!(world.take_events().is_empty());
}

#[test]
fn while_launches_follow_one_another_offers_are_held_longer() {
    let mut world = World::subscribed();
    let mut large = node();
    large["cpu"] = json!(1_000);
    world.want(cluster_state(&cluster_id(100)), Some(json!({"a": large})));
    offers(&mut world, vec![offer("o1", "a1", resources(0.5, 64.0, 64.0))]);
    let declined = |world: &mut World| {
        let calls = world.take_calls();
        calls
            .iter()
            .any(|call| matches!(call, Call::Decline { offers, .. } if offers.iter().any(|id| id.as_str() == "o1")))
    };
    for second in 1..=9 {
        world.pass(1_000);
        world.want(cluster_state(&cluster_id(second)), Some(json!({"a": node()})));
        offers(&mut world, vec![offer(&format!("p{second}"), &format!("b{second}"), resources(1.5, 200.0, 64.0))]);
        assert!(!declined(&mut world), "after {second} s");
    }
    assert_eq!(world.memory.tasks.len(), 9);
    world.pass(1_000);
    assert!(declined(&mut world), "not for ever");
    offers(&mut world, vec![offer("o1", "a1", resources(0.5, 64.0, 64.0))]);
    world.pass(2_000);
    assert!(declined(&mut world), "nobody came any more");
}
