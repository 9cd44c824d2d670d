//! The ends of containers: whatever the engine is doing at that moment, nothing is told of an end before nothing is left.

use crate::containers::{GRACE, described, launch_as, own, pid};
use crate::door::{Closed, Door};
use crate::engine::{Engine, engine};
use crate::harness::{DEADLINE, Node};
use crate::platform::Enrolment;
use bigdata_mesos::v1::TaskState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

fn makes(request: &str) -> bool {
    request.starts_with("POST ") && request.contains("/containers/create")
}

fn starts(request: &str) -> bool {
    request.starts_with("POST ") && request.contains("/containers/") && request.contains("/start")
}

fn removes(request: &str) -> bool {
    request.starts_with("DELETE ") && request.contains("/containers/")
}

async fn launch(door: &Door, json: Value) -> Node {
    let node = described(json);
    let variables = [("BIGDATA_CONTAINER_ENGINE", door.socket.clone())];
    Node::with(&variables, node.attempt.id, Enrolment::Accept(Box::new(node))).await
}

/// Waits until the node says of itself that its end waits for this, and checks that it has not told its end instead.
async fn ends_later(node: &Node, reason: &str) {
    let is_over = |state: i32| state == TaskState::Killed as i32;
    let (status, _) = node
        .wait("a reason or an end", |status, report| {
            is_over(status.state) || report.reason.as_ref().is_some_and(|words| words.contains(reason))
        })
        .await;
    assert!(!is_over(status.state), "an end was told while its containers were not gone: {}", node.said());
}

async fn ended(node: &mut Node, engine: &Engine) {
    let (status, _) = node.wait_for(TaskState::Killed).await;
    assert_eq!(status.message, None);
    node.over().await;
    assert_eq!(engine.containers(&own(node)), Vec::<String>::new());
}

/// Looks now and then: each look is a process of the engine, and leftovers are swept after two looks at them that lie apart.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    const PAUSE: Duration = Duration::from_millis(150);
    let waiting = async {
        while !is_so() {
            sleep(PAUSE).await;
        }
    };
    timeout(DEADLINE * 2, waiting).await.unwrap_or_else(|_| panic!("never {what}"));
}

#[tokio::test]
async fn a_container_that_a_command_made_necessary_is_waited_for_and_removed() {
    let Some(engine) = engine() else { return };
    let door = Door::new(engine, Closed::Waits, makes);
    let mut node = launch(&door, json!({ "start": "script" })).await;
    node.wait_for(TaskState::Running).await;
    {
        let command = node.exec(json!({ "command": ["true"] }));
        tokio::select! {
            said = command => panic!("it ran nowhere: {said:?}"),
            () = door.has_come() => {}
        }
    }
    node.platform.kill(GRACE).await;
    ends_later(&node, "a container of the node is being made").await;
    door.open();
    ended(&mut node, engine).await;
}

#[tokio::test]
async fn a_kill_during_a_start_leaves_nothing() {
    let Some(engine) = engine() else { return };
    for held in [makes, starts] {
        let door = Door::new(engine, Closed::Waits, held);
        let mut node = launch(&door, json!({})).await;
        door.has_come().await;
        node.platform.kill(GRACE).await;
        ends_later(&node, "the start that is under way").await;
        door.open();
        ended(&mut node, engine).await;
    }
}

#[tokio::test]
async fn a_container_that_cannot_be_removed_at_once_is_removed_later() {
    let Some(engine) = engine() else { return };
    let door = Door::new(engine, Closed::Refused, removes);
    let mut node = launch(&door, json!({})).await;
    node.wait_for(TaskState::Running).await;
    node.platform.kill(GRACE).await;
    ends_later(&node, "cannot be removed: removal is already in progress").await;
    door.open();
    ended(&mut node, engine).await;
}

#[tokio::test]
async fn what_was_asked_for_by_an_executor_that_is_gone_is_found_by_another() {
    let Some(engine) = engine() else { return };
    let door = Door::new(engine, Closed::Waits, makes);
    let mut lost = launch(&door, json!({})).await;
    door.has_come().await;
    lost.executor.start_kill().unwrap();
    lost.executor.wait().await.unwrap();
    door.open();
    until("made", || engine.containers(&own(&lost)).len() == 1).await;
    let mut other = launch_as(described(json!({ "start": "script" })), None).await;
    other.wait_for(TaskState::Running).await;
    until("found", || engine.containers(&own(&lost)).is_empty()).await;
    other.kill(GRACE).await;
}

#[tokio::test]
async fn a_container_that_the_engine_does_not_start_again_at_once_comes_back_as_the_same() {
    let Some(engine) = engine() else { return };
    let door = Door::new(engine, Closed::Refused, starts);
    door.open();
    let mut node = launch(&door, json!({})).await;
    node.wait_for(TaskState::Running).await;
    let before = engine.containers(&own(&node));
    node.exec(json!({ "command": ["sh", "-c", "echo kept >/own"] })).await;
    door.close();
    kill(pid(&node).await, Signal::SIGKILL).unwrap();
    let refused = |words: &String| words.starts_with("the container cannot be started: ");
    node.wait("refused", |_, report| report.reason.as_ref().is_some_and(refused)).await;
    let coming_back = async {
        door.open();
        node.wait("back", |_, report| report.started && report.restarts == 1).await;
    };
    // Such a command is for that container, and for no other that would stand in for it.
    let command = node.exec(json!({ "command": ["cat", "/own"] }));
    let ((stdout, stderr, _), ()) = tokio::join!(command, coming_back);
    assert_eq!(stdout, "kept\n", "{stderr}");
    assert_eq!(engine.containers(&own(&node)), before);
    node.kill(GRACE).await;
}

#[tokio::test]
async fn the_output_of_a_container_is_whole_though_the_engine_broke_it_off() {
    let Some(engine) = engine() else { return };
    let door = Door::new(engine, Closed::Waits, makes);
    door.open();
    let mut node = launch(&door, json!({})).await;
    node.wait_for(TaskState::Running).await;
    let first = node.poll("/v1/logs?stream=stdout", |text| text.ends_with('\n')).await;
    door.cut();
    node.exec(json!({ "command": ["sh", "-c", "echo later >/proc/1/fd/1"] })).await;
    let all = node.poll("/v1/logs?stream=stdout", |text| text.ends_with("later\n")).await;
    assert_eq!(all, format!("{first}later\n"), "each line once");
    node.kill(GRACE).await;
}

#[tokio::test]
async fn a_container_comes_back_whose_end_the_engine_has_not_noticed() {
    let Some(engine) = engine() else { return };
    let door = Door::new(engine, Closed::Waits, makes);
    door.open();
    let health =
        json!({ "interval_ms": 500, "timeout_ms": 5000, "failures": 1, "deadline_ms": 60_000, "tcp": ["web"] });
    let mut node = launch(&door, json!({ "health": health })).await;
    node.wait_for(TaskState::Running).await;
    let first = pid(&node).await;
    let watcher = bigdata_sandbox::Process::read(first.as_raw()).unwrap().parent;
    for pid in [Pid::from_raw(watcher), first] {
        kill(pid, Signal::SIGKILL).unwrap();
    }
    node.wait("back", |_, report| report.started && report.restarts == 1).await;
    assert_ne!(pid(&node).await, first);
    node.kill(GRACE).await;
}
