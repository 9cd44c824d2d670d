//! Starts, checks, restarts and ends.

use crate::harness::{DEADLINE, Node, blueprint, specification};
use crate::platform::{Enrolment, Platform};
use bigdata_common::AttemptId;
use bigdata_common::internal::ExecFrame;
use bigdata_mesos::v1::{TaskInfo, TaskState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::time::timeout;
use uuid::Uuid;

const GRACE: Duration = Duration::from_secs(5);
const FOREVER: &str = "exec sleep 1000";

fn check(probe: serde_json::Value, deadline_ms: u64) -> serde_json::Value {
    let mut check = json!({ "interval_ms": 50, "timeout_ms": 2000, "failures": 2, "deadline_ms": deadline_ms });
    check.as_object_mut().unwrap().extend(probe.as_object().unwrap().clone());
    check
}

#[tokio::test]
async fn an_automatic_node_runs_is_watched_and_ends_without_a_trace() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = service.local_addr().unwrap().port();
    let mut node = Node::launch(json!({
        "command": ["/bin/sh", "-c", "sleep 1000 & sleep 1000"],
        "ports": { "sql": { "port": port, "fixed": true } },
        "check": check(json!({ "command": "test \"$BIGDATA_NODE\" = node0" }), 60_000),
        "health": check(json!({ "tcp": ["sql"] }), 60_000),
    }))
    .await;
    node.wait_for(TaskState::Starting).await;
    node.wait("healthy", |status, report| status.healthy == Some(true) && report.passing == Some(true)).await;
    node.wait_for_a_number_of_processes(|found| found >= 3).await;
    drop(service);
    let (status, report) = node.wait("unhealthy", |status, _| status.healthy == Some(false)).await;
    assert_eq!(status.state, TaskState::Running as i32);
    assert!(report.started && report.reason.unwrap().contains("refused"));
    node.kill(GRACE).await;
}

#[tokio::test]
async fn an_idle_node_wakes_once_per_check_and_says_again_that_it_is_healthy() {
    const CHECKS: u64 = 32;
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = service.local_addr().unwrap().port();
    let mut health = check(json!({ "tcp": ["sql"] }), 60_000);
    health["interval_ms"] = json!(1000);
    let ports = json!({ "sql": { "port": port, "fixed": true } });
    let mut node = Node::launch(json!({ "command": FOREVER, "ports": ports, "health": health })).await;
    let (_, first) = node.wait("healthy", |status, _| status.healthy == Some(true)).await;
    let checked = async || timeout(DEADLINE, service.accept()).await.unwrap().unwrap();
    // What was begun before the first report is over then.
    for _ in 0..3 {
        checked().await;
    }
    // What is not answered in time is told once more, as the same.
    let updates = || -> HashSet<Vec<u8>> {
        node.platform.updates.borrow().iter().map(|status| status.uuid.clone().unwrap()).collect()
    };
    let (told, before, begun) = (updates().len(), node.wake_ups(), Instant::now());
    for _ in 0..CHECKS {
        checked().await;
    }
    let wakes = node.wake_ups() - before;
    println!("{wakes} wake-ups for {CHECKS} checks and what was said again");
    assert!(wakes <= CHECKS + CHECKS / 2, "{wakes} wake-ups for {CHECKS} checks");
    let (_, again) = node.wait("said again", |_, report| report.checked_at > first.checked_at).await;
    assert_eq!(again.passing, Some(true));
    let (more, most) = (updates().len() - told, 1 + begun.elapsed().as_secs() / 30);
    assert!((1..=most).contains(&(more as u64)), "once in half a minute, not with every check: {more}, {most}");
    node.kill(GRACE).await;
}

#[tokio::test]
async fn a_stopped_workload_is_not_healthy() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = service.local_addr().unwrap().port();
    let ports = json!({ "sql": { "port": port, "fixed": true } });
    let health = check(json!({ "tcp": ["sql"] }), 60_000);
    let mut node = Node::launch(json!({ "command": FOREVER, "ports": ports, "health": health })).await;
    node.wait("healthy", |status, _| status.healthy == Some(true)).await;
    let (_, health) = node.control(reqwest::Method::GET, "/v1/health", "").await;
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    let pid = Pid::from_raw(i32::try_from(health["pid"].as_i64().unwrap()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let (_, report) = node.wait("unhealthy", |status, _| status.healthy == Some(false)).await;
    assert!(report.reason.unwrap().contains("is stopped"), "the port still accepts, but nobody is there");
    node.platform.updates.send_replace(Vec::new());
    kill(pid, Signal::SIGCONT).unwrap();
    node.wait("healthy again", |status, _| status.healthy == Some(true)).await;
    node.kill(GRACE).await;
}

#[tokio::test]
async fn nodes_with_loopback_addresses_see_each_other_under_them() {
    let mut server = Node::at("127.77.0.5", json!({ "start": "script", "command": FOREVER })).await;
    let mut client = Node::at("127.77.0.6", json!({ "start": "script", "command": FOREVER })).await;
    server.wait_for(TaskState::Running).await;
    client.wait_for(TaskState::Running).await;
    let isolation = client.platform.enrolments.borrow()[0].isolation.clone();
    let port = {
        // Free a moment ago; nobody else uses this address.
        let free = TcpListener::bind("127.77.0.5:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    let listen = format!(
        "import socket; s = socket.create_server(('127.77.0.5', {port})); print('up', flush=True); \
         print(s.accept()[1][0], flush=True)"
    );
    let connect = format!(
        "import socket, time\nfor _ in range(1700):\n try: socket.create_connection(('127.77.0.5', {port})); break\n \
         except ConnectionRefusedError: time.sleep(0.05)\nelse: raise SystemExit('refused')"
    );
    let (served, (_, stderr, last)) = tokio::join!(
        server.exec(json!({ "command": ["python3", "-c", listen] })),
        client.exec(json!({ "command": ["python3", "-c", connect] })),
    );
    assert_eq!(last, ExecFrame::Exit(0), "{stderr}");
    let seen = if isolation.contains("own loopback source") { "127.77.0.6" } else { "127.0.0.1" };
    assert_eq!(served.0, format!("up\n{seen}\n"), "{isolation}");
    client.kill(GRACE).await;
    server.kill(GRACE).await;
}

#[tokio::test]
async fn a_missing_command_fails_the_node_at_once() {
    let mut node = Node::launch(json!({ "command": ["no-such-program", "--secret"] })).await;
    let (status, report) = node.wait_for(TaskState::Failed).await;
    assert_eq!(status.message.as_deref(), Some("command not found in PATH: no-such-program"));
    assert_eq!(report.restarts, 0);
    node.over().await;
}

#[tokio::test]
async fn a_workload_that_keeps_ending_is_given_up_with_its_last_words() {
    let mut node = Node::launch(json!({
        "command": "echo begun; echo oops >&2; exit 3",
        "restart": { "limit": 2, "window_ms": 600_000, "backoff_ms": 10 },
    }))
    .await;
    let (status, report) = node.wait_for(TaskState::Failed).await;
    assert_eq!(status.message.as_deref(), Some("exited with code 3 three times within 10 min"));
    assert_eq!((report.restarts, report.last_lines), (2, vec!["begun".to_owned(), "oops".to_owned()]));
    node.over().await;
}

#[tokio::test]
async fn a_workload_that_dies_comes_back_in_place() {
    let mut node = Node::launch(json!({
        "command": "if test -e once; then exec sleep 1000; fi; touch once; kill -9 $$",
        // Down for long enough to be told of: what is over before the last update has been taken is not.
        "restart": { "limit": 1, "window_ms": 600_000, "backoff_ms": 10_000 },
    }))
    .await;
    node.wait("down", |_, report| report.reason.as_deref() == Some("killed by signal 9") && !report.started).await;
    let (status, _) = node.wait("back", |_, report| report.restarts == 1 && report.started).await;
    assert_eq!(status.state, TaskState::Running as i32);
    node.kill(GRACE).await;
}

#[tokio::test]
async fn a_check_that_does_not_pass_in_time_fails_the_node() {
    let mut node = Node::launch(json!({
        "command": FOREVER,
        "check": check(json!({ "command": ["/bin/sh", "-c", "exit 7"] }), 300),
    }))
    .await;
    let (status, _) = node.wait_for(TaskState::Failed).await;
    let message = status.message.unwrap();
    assert_eq!(message, "the check did not pass within 300 ms: the check's command: exited with code 7");
    let seen = node.platform.updates.borrow().iter().any(|status| status.state == TaskState::Running as i32);
    assert!(!seen, "it was never running");
    node.over().await;
}

#[tokio::test]
async fn neither_deafness_nor_a_session_of_its_own_saves_a_process() {
    let deaf = "trap '' TERM INT HUP; while :; do sleep 1; done";
    let command = format!("setsid sh -c \"{deaf}\" & (setsid sh -c \"{deaf}\" &) ; {deaf}");
    let mut node = Node::launch(json!({ "command": command })).await;
    node.wait_for(TaskState::Running).await;
    node.poll("/v1/stats", |text| {
        let stats: serde_json::Value = serde_json::from_str(text).unwrap();
        stats["processes"].as_u64().unwrap() >= 6
    })
    .await;
    node.kill(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn nothing_is_told_of_an_end_while_a_checks_sandbox_could_start_something() {
    let health = check(json!({ "command": ["sleep", "999"], "timeout_ms": 60_000 }), 60_000);
    let mut node = Node::launch(json!({ "command": FOREVER, "health": health })).await;
    node.wait_for_processes(2).await;
    let executor = node.executor.id().unwrap().cast_signed();
    let mut sandboxes = bigdata_sandbox::descendants(executor).unwrap();
    sandboxes.retain(|process| process.parent == executor);
    sandboxes.sort_by_key(|process| (process.start_time, process.pid));
    assert_eq!(sandboxes.len(), 2, "the workload's and the check's: {sandboxes:?}");
    let of_check = &sandboxes[1];
    // It hears of nothing, as one that is still busy with its start.
    kill(Pid::from_raw(of_check.pid), Signal::SIGSTOP).unwrap();
    node.platform.kill(GRACE).await;
    node.wait_for(TaskState::Killed).await;
    let left = bigdata_sandbox::Process::read(of_check.pid);
    assert!(!left.is_some_and(|left| left.start_time == of_check.start_time && left.is_alive()), "{of_check:?}");
    node.over().await;
}

#[tokio::test]
async fn a_memory_bomb_is_named_where_memory_is_bounded() {
    let mut node = Node::launch(json!({
        "mem": 48,
        "command": "exec tail /dev/zero",
        "restart": { "limit": 0, "window_ms": 1000, "backoff_ms": 10 },
    }))
    .await;
    node.wait_for(TaskState::Starting).await;
    let mut enrolments = node.platform.enrolments.subscribe();
    let isolation =
        timeout(DEADLINE, enrolments.wait_for(|seen| !seen.is_empty())).await.unwrap().unwrap()[0].isolation.clone();
    if !isolation.contains("memory") {
        println!("skipped: {isolation} does not bound memory");
        return;
    }
    let (status, _) = node.wait_for(TaskState::Failed).await;
    assert_eq!(status.message.as_deref(), Some("memory limit of 48 MiB reached"));
    node.over().await;
}

#[tokio::test]
async fn a_refused_enrolment_ends_the_attempt_with_the_frameworks_words() {
    let answer = Enrolment::Refuse(403, "the token was used by another executor".to_owned());
    let mut node = Node::enrolled(AttemptId(Uuid::new_v4()), answer, "15mins").await;
    let (status, _) = node.wait_for(TaskState::Failed).await;
    assert!(status.message.unwrap().ends_with("the token was used by another executor"));
    assert_eq!(node.platform.enrolments.borrow().len(), 1, "it is not tried again");
    node.over().await;
}

#[tokio::test]
async fn a_workload_dies_with_its_executor_and_a_restarted_executor_need_not_enrol() {
    let mut node = Node::launch(json!({ "command": FOREVER })).await;
    node.wait_for(TaskState::Running).await;
    let control = node.platform.enrolments.borrow()[0].control.clone();
    node.wait_for_processes(1).await;
    node.start_again().await;
    node.wait_for(TaskState::Running).await;
    assert_eq!(node.platform.enrolments.borrow().len(), 1);
    let (status, text) = node.control(reqwest::Method::GET, "/v1/health", "").await;
    assert_eq!(status, 200, "{control} answers as before: {text}");
    node.kill(GRACE).await;
}

#[tokio::test]
async fn without_its_agent_a_node_ends_after_the_recovery_timeout() {
    let attempt = AttemptId(Uuid::new_v4());
    let described = specification(blueprint(json!({ "command": FOREVER })), attempt);
    let mut node = Node::enrolled(attempt, Enrolment::Accept(Box::new(described)), "2secs").await;
    node.wait_for(TaskState::Running).await;
    node.server.shutdown().await;
    node.over_after_orphaning().await;
}

#[tokio::test]
async fn a_lost_sandbox_leaves_nothing_that_could_run_twice() {
    let mut node = Node::launch(json!({
        "command": "setsid sleep 1000 & exec sleep 1000",
        "restart": { "limit": 1, "window_ms": 600_000, "backoff_ms": 10_000 },
    }))
    .await;
    node.wait("up", |_, report| report.started).await;
    let (_, health) = node.control(reqwest::Method::GET, "/v1/health", "").await;
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    let pid = i32::try_from(health["pid"].as_i64().unwrap()).unwrap();
    let sandbox = bigdata_sandbox::Process::read(pid).unwrap().parent;
    kill(Pid::from_raw(sandbox), Signal::SIGKILL).unwrap();
    let (_, report) = node.wait("down", |_, report| report.reason.is_some()).await;
    assert_eq!(report.reason.as_deref(), Some("its sandbox was killed"));
    node.wait("back", |_, report| report.restarts == 1 && report.started).await;
    node.poll("/v1/stats", |text| text.contains("\"processes\":2")).await;
    node.wait_for_processes(2).await;
    node.kill(GRACE).await;
}

#[tokio::test]
async fn a_framework_that_is_away_is_waited_for() {
    let attempt = AttemptId(Uuid::new_v4());
    let mut node = Node::enrolled(attempt, Enrolment::Refuse(503, "not leading".to_owned()), "15mins").await;
    let mut enrolments = node.platform.enrolments.subscribe();
    timeout(DEADLINE, enrolments.wait_for(|seen| seen.len() > 1)).await.unwrap().unwrap();
    let described = specification(blueprint(json!({ "command": FOREVER })), attempt);
    node.platform.set_answer(Enrolment::Accept(Box::new(described)));
    node.wait_for(TaskState::Running).await;
    let fingerprints: Vec<_> = enrolments.borrow().iter().map(|request| request.fingerprint.clone()).collect();
    assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]), "one key for all tries");
    node.kill(GRACE).await;
}

#[tokio::test]
async fn every_replica_of_the_framework_is_asked_until_one_leads() {
    let follower = Enrolment::Refuse(503, "another replica of the service leads".to_owned());
    let (follower, follows, _server) = Platform::serve(follower, TaskInfo::default()).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let attempt = AttemptId(Uuid::new_v4());
    let described = specification(blueprint(json!({ "command": FOREVER })), attempt);
    let others = format!("http://{nobody},http://{follows}/,");
    let mut node = Node::enrolled_after(&others, attempt, Enrolment::Accept(Box::new(described)), "15mins").await;
    node.wait_for(TaskState::Running).await;
    assert_eq!(follower.enrolments.borrow().len(), 1, "it was asked, once");
    assert_eq!(node.platform.enrolments.borrow().len(), 1);
    node.kill(GRACE).await;
}

#[tokio::test]
async fn a_terminals_signals_are_nothing_but_termination_is() {
    let mut node = Node::launch(json!({ "command": FOREVER })).await;
    node.wait_for(TaskState::Running).await;
    let executor = Pid::from_raw(i32::try_from(node.executor.id().unwrap()).unwrap());
    kill(executor, Signal::SIGINT).unwrap();
    kill(executor, Signal::SIGHUP).unwrap();
    assert_eq!(node.control(reqwest::Method::GET, "/v1/health", "").await.0, 200);
    node.wait_for_processes(1).await;
    kill(executor, Signal::SIGTERM).unwrap();
    node.wait_for(TaskState::Killed).await;
    node.over().await;
}
