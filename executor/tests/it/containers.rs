//! Nodes that are containers, on a real Podman.

use crate::engine::{Engine, IMAGE, engine};
use crate::harness::{Node, blueprint, specification};
use crate::platform::Enrolment;
use bigdata_common::AttemptId;
use bigdata_common::internal::{ExecFrame, NodeSpecification};
use bigdata_mesos::v1::TaskState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use uuid::Uuid;

pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// A node of a cluster and an address of its own, whose image serves on the port `web`.
pub(crate) fn described(json: Value) -> NodeSpecification {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut document = json!({
        "cpu": 1.0, "mem": 64, "docker_image": IMAGE, "ports": { "web": { "port": 8080, "fixed": true } },
        "restart": { "limit": 1, "window_ms": 600_000, "backoff_ms": 10 },
    });
    document.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
    let mut node = specification(blueprint(document), AttemptId(Uuid::new_v4()));
    node.cluster = format!("clusters--test{}--demo--1__0--{number}", std::process::id()).parse().unwrap();
    node.address = format!("127.78.{}.{}", std::process::id() % 250, number);
    node.peers.insert("node0".parse().unwrap(), node.address.clone());
    node
}

/// A node on an agent that has these credentials for registries.
pub(crate) async fn launch_as(node: NodeSpecification, registry_auth: Option<&Path>) -> Node {
    let variables = registry_auth.map(|file| ("BIGDATA_REGISTRY_AUTH_FILE", file.to_owned()));
    Node::with(variables.as_slice(), node.attempt.id, Enrolment::Accept(Box::new(node))).await
}

async fn launch(json: Value) -> Node {
    launch_as(described(json), None).await
}

pub(crate) fn check(probe: &Value) -> Value {
    let mut check = json!({ "interval_ms": 500, "timeout_ms": 10_000, "failures": 1, "deadline_ms": 300_000 });
    check.as_object_mut().unwrap().extend(probe.as_object().unwrap().clone());
    check
}

pub(crate) fn own(node: &Node) -> String {
    format!("bigdata_attempt={}", node.attempt)
}

pub(crate) async fn pid(node: &Node) -> Pid {
    let (_, health) = node.control(Method::GET, "/v1/health", "").await;
    let health: Value = serde_json::from_str(&health).unwrap();
    Pid::from_raw(i32::try_from(health["pid"].as_i64().unwrap()).unwrap())
}

pub(crate) async fn gone(node: &mut Node, engine: &Engine) {
    node.kill(GRACE).await;
    assert_eq!(engine.containers(&own(node)), Vec::<String>::new());
}

#[tokio::test]
async fn a_container_serves_is_worked_on_and_leaves_nothing() {
    let Some(engine) = engine() else { return };
    let disk = json!({ "destination": "/var/lib/data", "size": 16, "persistent": true, "type": "volume" });
    let mut node = launch(json!({
        "disks": { "data": disk },
        "env": { "DSN": "@{address}:@{port:web}", "SECRET": "@{secret:password}", "AT": "@{disk:data}" },
        "files": {
            "conf/own": { "content": "on @{address}", "mode": 0o640 },
            "/etc/inside.conf": { "content": "p=@{secret:password}\n", "mode": 0o600 },
            "/var/lib/data/seed": { "content": "seed", "mode": 0o600 },
        },
        "check": check(&json!({ "http": { "port": "web", "path": "/index.html" } })),
        "health": check(&json!({ "command": ["test", "-e", "/www/index.html"] })),
        "stats": ["echo", "{\"requests\": 7}"],
    }))
    .await;
    node.wait("healthy", |status, _| status.healthy == Some(true)).await;

    let show = "echo $DSN $AT $BIGDATA_DISK_DATA; pwd; cat conf/own /etc/inside.conf /var/lib/data/seed; echo $SECRET";
    let (stdout, stderr, last) = node.exec(json!({ "command": ["sh", "-c", show] })).await;
    let address = stdout.split(':').next().unwrap().to_owned();
    assert!(address.starts_with("127.78."), "{stdout}{stderr}");
    let expected =
        format!("{address}:8080 /var/lib/data /var/lib/data\n/bigdata\non {address}p=s3cret\nseed{}\n", "s3cret");
    assert_eq!((stdout, last), (expected, ExecFrame::Exit(0)), "{stderr}");
    let (stdout, _, _) = node.exec(json!({ "command": ["sh", "-c", "grep node0 /etc/hosts"] })).await;
    assert!(stdout.contains(&address), "{stdout}");

    let stdin = crate::harness::base64(b"three\nlines\nof\n");
    let (stdout, stderr, last) = node.exec(json!({ "command": ["wc", "-l"], "stdin": stdin })).await;
    assert_eq!((stdout.trim(), last), ("3", ExecFrame::Exit(0)), "{stderr}");
    for (command, code) in
        [(json!(["sh", "-c", "exit 7"]), 7), (json!(["no-such-program"]), 127), (json!(["/etc/passwd"]), 126)]
    {
        let (_, stderr, last) = node.exec(json!({ "command": command })).await;
        assert_eq!(last, ExecFrame::Exit(code), "{command}: {stderr}");
    }
    let (_, _, last) = node.exec(json!({ "command": ["sleep", "1000"], "timeout_ms": 300 })).await;
    assert!(matches!(&last, ExecFrame::Error(words) if words.contains("time limit")), "{last:?}");
    node.exec(json!({ "command": ["sh", "-c", "sleep 1000 & echo left"] })).await;
    let (stdout, _, _) = node.exec(json!({ "command": ["sh", "-c", "ps | grep -c '[s]leep 1000'"] })).await;
    assert_eq!(stdout.trim(), "0", "nothing of a command stays behind");

    for path in ["plain", "/var/lib/data/plain", "/opt/new/plain"] {
        assert_eq!(
            node.control(Method::PUT, &format!("/v1/files?path={path}&mode=644"), "content").await.0,
            200,
            "{path}"
        );
        let (stdout, stderr, _) = node.exec(json!({ "command": ["cat", path] })).await;
        assert_eq!(stdout, "content", "{path}: {stderr}");
        assert_eq!(node.control(Method::GET, &format!("/v1/files?path={path}"), "").await, (200, "content".to_owned()));
    }
    for (path, status) in [("/nowhere/at/all", 404), ("/etc/../etc/passwd", 400), ("/etc", 409)] {
        let (got, text) = node.control(Method::GET, &format!("/v1/files?path={path}"), "").await;
        assert_eq!(got, status, "{path}: {text}");
    }
    let (_, stats) = node.control(Method::GET, "/v1/stats", "").await;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert!(stats["rss_bytes"].as_u64().unwrap() > 100_000 && stats["processes"].as_u64().unwrap() >= 2, "{stats}");
    assert_eq!(stats["workload"]["requests"], 7, "{stats}");
    assert!(stats["isolation"].as_str().unwrap().starts_with("container (Podman"), "{stats}");
    node.poll("/v1/logs?stream=stderr", |text| text == "warned\n").await;

    gone(&mut node, engine).await;
    let stdout = std::fs::read_to_string(node.directory.path().join("logs/stdout")).unwrap();
    assert_eq!(stdout, format!("at {address}\nbye\n"), "it ended gracefully");
    assert_eq!(std::fs::read_to_string(node.directory.path().join("disks/data/plain")).unwrap(), "content");
}

#[tokio::test]
async fn limits_hold_and_a_memory_bomb_is_named() {
    let Some(engine) = engine() else { return };
    let mut node = launch(json!({ "cpu": 0.5, "mem": 48 })).await;
    node.wait_for(TaskState::Running).await;
    let count = "i=0; end=$(($(cut -d. -f1 /proc/uptime) + 3)); while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do i=$((i+1)); done; \
                 cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max";
    let (stdout, stderr, _) = node.exec(json!({ "command": ["sh", "-c", count] })).await;
    let numbers: Vec<u64> = stdout.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(numbers[0] * 2, numbers[1], "half of a CPU: {stdout}{stderr}");
    gone(&mut node, engine).await;

    let mut node = launch(json!({
        "mem": 48, "env": { "MODE": "bomb" }, "restart": { "limit": 0, "window_ms": 1000, "backoff_ms": 10 },
        "health": check(&json!({ "tcp": ["web"] })),
    }))
    .await;
    let (status, _) = node.wait_for(TaskState::Failed).await;
    assert_eq!(status.message.as_deref(), Some("memory limit of 48 MiB reached"));
    node.over().await;
    assert_eq!(engine.containers(&own(&node)), Vec::<String>::new());
}

#[tokio::test]
async fn a_container_that_keeps_ending_is_given_up_with_its_last_words() {
    let Some(engine) = engine() else { return };
    let mut node = launch(json!({
        "env": { "MODE": "crash" }, "restart": { "limit": 2, "window_ms": 600_000, "backoff_ms": 10 },
    }))
    .await;
    let (status, report) = node.wait_for(TaskState::Failed).await;
    assert_eq!(status.message.as_deref(), Some("exited with code 3 three times within 10 min"));
    assert_eq!((report.restarts, report.last_lines), (2, vec!["begun".to_owned(), "oops".to_owned()]));
    node.over().await;
    let stdout = std::fs::read_to_string(node.directory.path().join("logs/stdout")).unwrap();
    assert_eq!(stdout, "begun\n".repeat(3), "the output of every run, once");
    assert_eq!(engine.containers(&own(&node)), Vec::<String>::new());
}

#[tokio::test]
async fn a_killed_container_comes_back_in_place_and_starts_and_stops_as_asked() {
    let Some(engine) = engine() else { return };
    let mut node = launch(json!({})).await;
    node.wait_for(TaskState::Running).await;
    node.exec(json!({ "command": ["sh", "-c", "echo kept > /kept"] })).await;
    kill(pid(&node).await, Signal::SIGKILL).unwrap();
    node.wait("back", |_, report| report.restarts == 1 && report.started).await;
    let (stdout, _, _) = node.exec(json!({ "command": ["cat", "/kept"] })).await;
    assert_eq!(stdout, "kept\n", "a restart in place keeps the container's files");
    assert_eq!(node.control(Method::POST, "/v1/stop", "").await.0, 200);
    let (_, health) = node.control(Method::GET, "/v1/health", "").await;
    assert!(health.contains("\"started\":false"), "{health}");
    assert_eq!(node.control(Method::POST, "/v1/start", "").await.0, 200);
    gone(&mut node, engine).await;
}

#[tokio::test]
async fn commands_run_though_the_workload_does_not() {
    let Some(engine) = engine() else { return };
    let disk = json!({ "destination": "/var/lib/data", "size": 16, "persistent": true, "type": "volume" });
    let mut node = launch(json!({
        "start": "script", "docker_opts": "-u 4711:4712", "disks": { "data": disk }, "env": { "MODE": "" },
        "ports": { "web": { "port": 8081, "fixed": true } },
    }))
    .await;
    node.wait_for(TaskState::Running).await;
    let make = "echo made >/var/lib/data/made; echo here >own; id -u; stat -c %u:%g . /var/lib/data; pwd";
    let (stdout, stderr, last) = node.exec(json!({ "command": ["sh", "-c", make] })).await;
    assert_eq!((stdout.as_str(), last), ("4711\n4711:4712\n4711:4712\n/bigdata\n", ExecFrame::Exit(0)), "{stderr}");
    let (_, _, last) = node.exec(json!({ "command": ["no-such-program"] })).await;
    assert_eq!(last, ExecFrame::Exit(127));
    assert_eq!(engine.containers(&own(&node)).len(), 1, "one for both, and none of the workload's");
    assert_eq!(node.control(Method::POST, "/v1/start", "").await.0, 200);
    let show = "cat /var/lib/data/made own; tr '\\0' ' ' </proc/1/cmdline";
    let (stdout, stderr, _) = node.exec(json!({ "command": ["sh", "-c", show] })).await;
    assert!(stdout.starts_with("made\nhere\n") && stdout.contains("/start"), "{stdout}{stderr}");
    assert_eq!(node.control(Method::POST, "/v1/stop", "").await.0, 200);
    let (stdout, stderr, _) = node.exec(json!({ "command": ["cat", "own"] })).await;
    assert_eq!(stdout, "here\n", "{stderr}");
    gone(&mut node, engine).await;
}

#[tokio::test]
async fn a_container_outlives_its_executor_and_the_next_one_goes_on_with_it() {
    let Some(engine) = engine() else { return };
    let mut node = launch(json!({ "check": check(&json!({ "tcp": ["web"] })) })).await;
    node.wait_for(TaskState::Running).await;
    let before = pid(&node).await;
    node.poll("/v1/logs?stream=stderr", |text| text == "warned\n").await;
    node.start_again().await;
    node.wait_for(TaskState::Running).await;
    assert_eq!(pid(&node).await, before, "the very same");
    assert_eq!(node.platform.enrolments.borrow().len(), 1);
    gone(&mut node, engine).await;
    let stdout = std::fs::read_to_string(node.directory.path().join("logs/stdout")).unwrap();
    assert_eq!(stdout.matches("at 127.78").count(), 1, "nothing is captured twice: {stdout}");
    assert!(stdout.ends_with("bye\n"), "{stdout}");
}

#[tokio::test]
async fn what_an_earlier_attempt_left_is_removed_by_the_next() {
    let Some(engine) = engine() else { return };
    let first = described(json!({}));
    let mut second = first.clone();
    second.attempt.id = AttemptId(Uuid::new_v4());
    let mut lost = launch_as(first, None).await;
    lost.wait_for(TaskState::Running).await;
    lost.executor.start_kill().unwrap();
    lost.executor.wait().await.unwrap();
    assert_eq!(engine.containers(&own(&lost)).len(), 1);
    let mut node = launch_as(second, None).await;
    node.wait_for(TaskState::Running).await;
    assert_eq!(engine.containers(&own(&lost)), Vec::<String>::new());
    gone(&mut node, engine).await;
}

#[tokio::test]
async fn an_image_comes_from_a_file_and_a_pull_that_fails_says_why() {
    let Some(engine) = engine() else { return };
    let mut node = launch(json!({ "docker_image": "localhost/from-file:1" })).await;
    node.wait_for(TaskState::Running).await;
    gone(&mut node, engine).await;
    // Nobody listens there.
    let mut node = launch(json!({ "docker_image": "127.78.0.1:1/none:1" })).await;
    let (status, _) = node.wait_for(TaskState::Failed).await;
    let message = status.message.unwrap();
    assert!(
        message.starts_with("the image 127.78.0.1:1/none:1 cannot be pulled: 127.78.0.1:1 cannot be reached: "),
        "{message}"
    );
    assert!(message.contains("connection refused"), "{message}");
    node.over().await;
}

#[tokio::test]
async fn what_leads_out_of_a_container_is_refused_by_name() {
    if engine().is_none() {
        return;
    }
    let mut node = launch(json!({ "docker_opts": "-e A=1 -v /:/host" })).await;
    let (status, _) = node.wait_for(TaskState::Failed).await;
    let message = status.message.unwrap();
    assert!(message.starts_with("docker_opts: -v /:/host is refused: "), "{message}");
    node.over().await;
}

#[tokio::test]
async fn a_pull_does_not_hold_a_kill_up() {
    if engine().is_none() {
        return;
    }
    // It takes connections and never says a word.
    let silent = tokio::net::TcpListener::bind("127.78.0.2:0").await.unwrap();
    let image = format!("{}/slow:1", silent.local_addr().unwrap());
    let mut node = launch(json!({ "docker_image": image })).await;
    node.wait("pulling", |_, report| report.reason.as_deref().is_some_and(|words| words.contains("is pulled"))).await;
    let begun = std::time::Instant::now();
    node.kill(GRACE).await;
    assert!(begun.elapsed() < GRACE * 4, "{:?}", begun.elapsed());
}
