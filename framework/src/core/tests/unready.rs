//! What is told of nodes that have their place and do not run: no wait is without a reason.

use super::scenarios::{node, placed, status};
use super::world::{World, cluster_id, cluster_state};
use crate::core::output::Input;
use bigdata_common::api::explain::Explanation;
use bigdata_common::internal::{NodeReport, TaskData};
use bigdata_common::status::ClusterStatus;
use bigdata_mesos::v1::{TaskInfo, TaskState, TaskStatus};
use serde_json::json;

fn explain(world: &World) -> Explanation {
    world.core.explain(&cluster_id(1), world.now).unwrap()
}

/// Its nodes, each with reason and words.
fn told(world: &World) -> Vec<(String, String, String)> {
    let nodes = explain(world).nodes.into_iter();
    let refusals = nodes.flat_map(|node| node.refusals.into_iter().map(move |it| (node.node.clone(), it)));
    refusals.map(|(node, refusal)| (node.to_string(), refusal.reason, refusal.nearest)).collect()
}

fn enrol(world: &mut World, task: &TaskInfo) {
    let data: TaskData = serde_json::from_slice(task.data.as_ref().unwrap()).unwrap();
    let (fingerprint, control) = ("f".to_owned(), "127.0.0.1:1".to_owned());
    world.send(Input::Enrolled { attempt: data.attempt, fingerprint, control, isolation: String::new() });
}

fn says(task: &TaskInfo, state: TaskState, passing: Option<bool>, reason: &str) -> TaskStatus {
    let report = NodeReport { passing, reason: Some(reason.to_owned()), ..NodeReport::default() };
    TaskStatus { data: Some(serde_json::to_vec(&report).unwrap()), ..status(task, state) }
}

#[test]
fn every_step_of_a_start_is_told() {
    let mut world = World::subscribed();
    let mut checked = node();
    checked["health"] =
        json!({"tcp": [80], "interval_ms": 5_000, "timeout_ms": 2_000, "failures": 3, "deadline_ms": 60_000});
    let (mut state, tasks) = placed(&mut world, json!({"a": checked}));
    let begun = world.now;
    let expect = |world: &World, reason: &str, words: &str| {
        let told = told(world);
        let [(node, why, nearest)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((node.as_str(), why.as_str()), ("a", reason), "{nearest}");
        assert!(nearest.contains(words), "{nearest}");
    };
    world.pass(30_000);
    expect(&world, "start", &format!("agent a1 has it since {begun}: its executor is fetched or started"));
    assert!(explain(&world).summary.starts_with("1 of 1 nodes have a place, 0 of them run"), "{:?}", explain(&world));
    let mut starting = status(&tasks[0], TaskState::Starting);
    starting.timestamp = Some(1.0);
    world.send(Input::Update(starting));
    expect(&world, "start", "its executor runs, and has not reached the framework at http://127.0.0.1:1 yet");
    enrol(&mut world, &tasks[0]);
    expect(&world, "start", "its executor prepares its folder");
    world.send(Input::Update(says(&tasks[0], TaskState::Starting, None, "image i: it is pulled")));
    expect(&world, "start", &format!("agent a1 has it since {begun}: image i: it is pulled"));
    world.send(Input::Update(status(&tasks[0], TaskState::Running)));
    expect(&world, "health", "it runs on agent a1, and its first check has not come back yet");
    world.send(Input::Update(says(&tasks[0], TaskState::Running, Some(false), "connection refused")));
    expect(&world, "health", "its checks do not pass: connection refused");
    world.send(Input::Update(says(&tasks[0], TaskState::Running, Some(true), "")));
    assert_eq!(told(&world), []);
    for (status, words) in [
        (ClusterStatus::Scheduled, "all 1 nodes run; the product's script is to begin"),
        (
            ClusterStatus::Configuring,
            "all 1 nodes run; the product's script is at work (bigdata cluster logs clusters/",
        ),
        (ClusterStatus::Configured, "all 1 nodes run and are configured; the cluster is ready when their checks pass"),
        (ClusterStatus::Ready, "1 of 1 nodes have a place"),
    ] {
        state.status = status;
        world.want(state.clone(), None);
        assert!(explain(&world).summary.starts_with(words), "{status}: {:?}", explain(&world));
    }
}

#[test]
fn a_node_that_failed_is_told_with_when_it_is_tried_again() {
    let mut world = World::subscribed();
    let (_, tasks) = placed(&mut world, json!({"a": node()}));
    world.send(Input::Update(says(&tasks[0], TaskState::Failed, None, "no such program")));
    let again = world.now.plus_millis(1_000);
    let words = format!("attempt 1 on agent a1 has ended (no such program); it is tried again at {again}");
    assert_eq!(told(&world), [("a".to_owned(), "retry".to_owned(), words)]);
    world.pass(1_000);
    super::scenarios::offers(
        &mut world,
        vec![super::world::offer("o2", "a1", super::world::resources(8.0, 4096.0, 0.0))],
    );
    let next = super::scenarios::launched(&world.take_calls());
    world.send(Input::Update(says(&next[0], TaskState::Failed, None, "no such program")));
    let words = "attempt 2 on agent a1 has ended (no such program), and it is not tried again by itself: bigdata cluster \
                 retry takes a launch up again, bigdata node replace begins a ready cluster's node anew";
    assert_eq!(told(&world), [("a".to_owned(), "retry".to_owned(), words.to_owned())]);
}

#[test]
fn that_nobody_tells_of_a_start_is_told() {
    let mut world = World::subscribed();
    placed(&mut world, json!({"a": node()}));
    world.send(Input::Disconnected { reason: "connection refused".to_owned() });
    let summary = explain(&world).summary;
    assert!(summary.ends_with("; the Mesos master is away: connection refused"), "{summary}");
}

#[test]
fn a_silent_master_is_a_reason() {
    let mut world = World::subscribed();
    world.want(cluster_state(&cluster_id(1)), Some(json!({"a": node()})));
    let since = world.now;
    world.core.last_word = Some(since);
    world.pass(19_000);
    assert!(!explain(&world).summary.contains("no word"), "heartbeats may be late");
    world.pass(1_000);
    let words = format!("no word from Mesos since {since}");
    let told = told(&world);
    assert!(explain(&world).summary.contains(&words), "{:?}", explain(&world));
    assert!(told[0].2.starts_with(&words), "{told:?}");
    world.send(Input::Disconnected { reason: "no heartbeat".to_owned() });
    let summary = explain(&world).summary;
    assert!(summary.contains("away: no heartbeat") && !summary.contains("no word"), "{summary}");
}
