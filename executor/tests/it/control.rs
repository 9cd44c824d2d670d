//! The control channel: who may call, exec, start and stop, files, logs.

use crate::harness::{DEADLINE, Node, PAUSE, base64};
use bigdata_common::internal::ExecFrame;
use bigdata_mesos::v1::TaskState;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

const GRACE: Duration = Duration::from_secs(5);

async fn held() -> Node {
    let node = Node::launch(json!({
        "start": "script",
        "command": ["/bin/sh", "-c", "cat conf/app.conf; echo up >&2; exec sleep 1000"],
        "env": { "LISTEN": "@{address}:@{port:web}" },
        "files": { "conf/own": { "content": "peer=@{address:peer} p=@{secret:password}", "mode": 0o640 } },
        "ports": { "web": { "port": 8080, "fixed": true } },
        "disks": { "data": { "destination": "/data", "size": 1, "persistent": true, "type": "volume" } },
    }))
    .await;
    node.wait_for(TaskState::Running).await;
    node
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_of_this_attempt() {
    let mut node = held().await;
    let short = node.own_token();
    for token in [
        "",
        "x",
        &node.token(b"another key", 60),
        &node.token(b"the control channel's key", -1),
        &short[..short.len() - 2],
    ] {
        let response = node.request(Method::POST, "/v1/start", token).send().await.unwrap();
        assert_eq!(response.status(), 401, "{token}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "BD0021", "{token}");
    }
    assert_eq!(node.control(Method::GET, "/v1/nothing", "").await.0, 404);
    assert_eq!(node.control(Method::GET, "/v1/start", "").await.0, 405);
    assert_eq!(node.control(Method::GET, "/v1/files?path=%zz", "").await.0, 400);
    node.kill(GRACE).await;
}

#[tokio::test]
async fn a_script_configures_starts_and_stops_a_node() {
    let mut node = held().await;
    let (_, health) = node.control(Method::GET, "/v1/health", "").await;
    assert_eq!(serde_json::from_str::<Value>(&health).unwrap()["started"], false);
    let put = "/v1/files?path=conf/app.conf&mode=0644&late=true";
    let (status, text) = node.control(Method::PUT, put, "bind @{address}:@{port:web}\n").await;
    assert_eq!(status, 200, "{text}");
    let (status, text) = node.control(Method::POST, "/v1/start", "").await;
    assert_eq!((status, text.as_str()), (200, r#"{"status":"started"}"#));
    assert_eq!(node.control(Method::POST, "/v1/start", "").await.0, 200, "starting again changes nothing");
    node.poll("/v1/logs?stream=stderr", |text| text == "up\n").await;
    node.poll("/v1/logs?stream=stdout", |text| text == "bind 127.0.0.1:8080\n").await;
    assert_eq!(node.control(Method::GET, "/v1/files?path=conf/own", "").await.1, "peer=127.0.0.9 p=s3cret");
    node.wait("started", |_, report| report.started).await;
    let (_, stats) = node.control(Method::GET, "/v1/stats", "").await;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert!(stats["rss_bytes"].as_u64().unwrap() > 0 && stats["processes"] == 1, "{stats}");
    let (status, text) = node.control(Method::POST, "/v1/restart", "").await;
    assert_eq!((status, text.as_str()), (200, r#"{"status":"started"}"#));
    node.poll("/v1/logs?stream=stderr", |text| text == "up\nup\n").await;
    assert_eq!(node.control(Method::POST, "/v1/stop", "").await.1, r#"{"status":"stopped"}"#);
    assert!(node.processes().is_empty(), "{:?}", node.processes());
    let (_, text) = node.control(Method::GET, "/v1/logs?stream=stderr&tail=1", "").await;
    assert_eq!(text, "up\n");
    let (_, text) = node.control(Method::GET, "/v1/logs?stream=stderr&from=3", "").await;
    assert_eq!(text, "up\n", "what was written since the first start");
    node.kill(GRACE).await;
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why_and_may_be_tried_again() {
    let mut node = Node::launch(json!({ "start": "script", "command": ["./server"] })).await;
    node.wait_for(TaskState::Running).await;
    let (status, text) = node.control(Method::POST, "/v1/start", "").await;
    assert!(status == 409 && text.contains("command not found"), "{status} {text}");
    let script = "#!/bin/sh\nexec sleep 1000\n";
    assert_eq!(node.control(Method::PUT, "/v1/files?path=server&mode=755", script).await.0, 200);
    assert_eq!(node.control(Method::POST, "/v1/start", "").await.0, 200);
    node.kill(GRACE).await;
}

#[tokio::test]
async fn files_stay_in_the_node() {
    let mut node = held().await;
    let root = node.directory.path().canonicalize().unwrap();
    let state = root.join("node.json").display().to_string();
    for path in ["../node.json", "/etc/passwd", &state] {
        assert_eq!(node.control(Method::GET, &format!("/v1/files?path={path}"), "").await.0, 400, "{path}");
        assert_eq!(node.control(Method::PUT, &format!("/v1/files?path={path}"), "x").await.0, 400, "{path}");
    }
    let (_, _, last) = node.exec(json!({ "command": ["ln", "-s", "/etc/passwd", "link"] })).await;
    assert_eq!(last, ExecFrame::Exit(0));
    assert_eq!(node.control(Method::GET, "/v1/files?path=link", "").await.0, 400);
    assert_eq!(node.control(Method::GET, "/v1/files?path=none", "").await.0, 404);
    let on_disk = root.join("disks/data/big").display().to_string();
    let big = vec![7_u8; 20 << 20];
    let (status, text) = node.control(Method::PUT, &format!("/v1/files?path={on_disk}"), big).await;
    assert_eq!(status, 200, "{text}");
    let (stdout, _, _) = node.exec(json!({ "command": ["sh", "-c", "stat -c '%s %a' $BIGDATA_DISK_DATA/big"] })).await;
    assert_eq!(stdout, "20971520 600\n");
    let (status, _) = node.control(Method::PUT, "/v1/files?path=huge", vec![0_u8; (64 << 20) + 1]).await;
    assert_eq!(status, 413);
    node.kill(GRACE).await;
}

#[tokio::test]
async fn commands_run_in_the_nodes_surroundings() {
    let mut node = held().await;
    let show = "echo $LISTEN; pwd; cat; echo to-stderr >&2; exit 3";
    let request = json!({ "command": ["sh", "-c", show], "stdin": base64(b"from stdin\n") });
    let (stdout, stderr, last) = node.exec(request).await;
    let work = node.directory.path().canonicalize().unwrap().join("work");
    assert_eq!(stdout, format!("127.0.0.1:8080\n{}\nfrom stdin\n", work.display()));
    assert_eq!((stderr.as_str(), last), ("to-stderr\n", ExecFrame::Exit(3)));
    let (stdout, _, _) = node.exec(json!({ "command": ["sh", "-c", "id -u; ls -A $TMPDIR"] })).await;
    let uid = if nix::unistd::geteuid().is_root() { 32_101 } else { nix::unistd::geteuid().as_raw() };
    assert_eq!(stdout, format!("{uid}\n"), "no standard input stays behind");
    let isolation = node.platform.enrolments.borrow()[0].isolation.clone();
    if nix::unistd::geteuid().is_root() && isolation.contains("own mounts") {
        let (stdout, _, _) =
            node.exec(json!({ "command": ["sh", "-c", "id -un; getent hosts peer.demo.local"] })).await;
        let words: Vec<&str> = stdout.split_ascii_whitespace().collect();
        assert_eq!(words, ["bigdata", "127.0.0.9", "peer", "peer.demo.local"]);
    } else {
        println!("names of users and hosts are not tried: {isolation}");
    }
    for input in [json!(null), json!(base64(b"x"))] {
        let (_, stderr, last) = node.exec(json!({ "command": ["no-such-program"], "stdin": input })).await;
        assert!(stderr.contains("not found") && last == ExecFrame::Exit(127), "{stderr} {last:?}");
        let (_, stderr, last) = node.exec(json!({ "command": ["/etc/passwd"], "stdin": input })).await;
        assert!(stderr.contains("ermission denied") && last == ExecFrame::Exit(126), "{stderr} {last:?}");
    }
    let (_, _, last) = node.exec(json!({ "command": ["sh", "-c", "kill -15 $$"] })).await;
    assert_eq!(last, ExecFrame::Exit(143));
    let (_, _, last) = node.exec(json!({ "command": ["sleep", "1000"], "timeout_ms": 200 })).await;
    assert!(matches!(&last, ExecFrame::Error(reason) if reason.contains("time limit of 200 ms")), "{last:?}");
    let (_, _, last) = node.exec(json!({ "command": ["true"], "timeout_ms": 86_400_000 })).await;
    assert_eq!(last, ExecFrame::Exit(0));
    let too_long = json!({ "command": ["true"], "timeout_ms": 86_400_001 }).to_string();
    let (status, problem) = node.control(Method::POST, "/v1/exec", too_long).await;
    assert!(status == 400 && problem.contains("86400000 (24 h)"), "{status} {problem}");
    node.kill(GRACE).await;
}

#[tokio::test]
async fn the_newest_attempt_of_a_run_drives_the_node() {
    let mut node = held().await;
    let body = json!({ "command": ["sh", "-c", "echo begun; exec sleep 1000"] }).to_string();
    let token = node.own_token();
    let run = uuid::Uuid::new_v4();
    let call = |path: &str, attempt: u32| {
        node.request(Method::POST, path, &token)
            .header(bigdata_common::internal::RUN_ATTEMPT_HEADER, format!("{run}.{attempt}"))
    };
    let mut former = call("/v1/exec", 1).body(body).send().await.unwrap();
    assert!(former.chunk().await.unwrap().is_some());
    assert_eq!(call("/v1/start", 2).send().await.unwrap().status(), 200);
    let rest = timeout(DEADLINE, former.text()).await.expect("the former attempt's command ends").unwrap();
    assert!(rest.contains("a newer attempt drives this run"), "{rest}");
    for path in ["/v1/stop", "/v1/exec"] {
        let refused = call(path, 1).send().await.unwrap();
        assert_eq!(refused.status(), 409);
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["detail"], "a newer attempt drives this run");
    }
    assert_eq!(node.control(Method::POST, "/v1/stop", "").await.0, 200, "a user is no attempt");
    node.start_again().await;
    node.wait_for(TaskState::Running).await;
    let refused = node.request(Method::POST, "/v1/start", &token);
    let refused =
        refused.header(bigdata_common::internal::RUN_ATTEMPT_HEADER, format!("{run}.1")).send().await.unwrap();
    assert_eq!(refused.status(), 409, "it is remembered");
    node.kill(GRACE).await;
}

#[tokio::test]
async fn a_command_ends_when_its_caller_goes_away() {
    let mut node = held().await;
    let body = json!({ "command": ["sh", "-c", "echo begun; exec sleep 1000"] }).to_string();
    let token = node.own_token();
    let mut response = node.request(Method::POST, "/v1/exec", &token).body(body).send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    node.wait_for_processes(1).await;
    drop(response);
    let gone = async {
        while !node.processes().is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    timeout(DEADLINE, gone).await.expect("the command ends");
    node.kill(GRACE).await;
}

#[tokio::test]
async fn output_is_followed_and_its_files_rotate() {
    let node_with = json!({
        "start": "script",
        "command": "echo first; while ! test -e go; do sleep 0.05; done; head -c 25000000 /dev/zero | tr '\\0' x; echo; echo last; exec sleep 1000",
    });
    let mut node = Node::launch(node_with).await;
    node.wait_for(TaskState::Running).await;
    let token = node.own_token();
    let mut response = node.request(Method::GET, "/v1/logs?follow=true", &token).send().await.unwrap();
    assert_eq!(node.control(Method::POST, "/v1/start", "").await.0, 200);
    let first = timeout(DEADLINE, response.chunk()).await.unwrap().unwrap().unwrap();
    assert_eq!(&first[..], b"first\n");
    node.control(Method::PUT, "/v1/files?path=go", "").await;
    node.poll("/v1/logs?tail=1", |text| text == "last\n").await;
    let logs = node.directory.path().join("logs");
    let sizes = ["stdout.2", "stdout.1", "stdout"].map(|name| std::fs::metadata(logs.join(name)).unwrap().len());
    assert_eq!(sizes.iter().sum::<u64>(), 25_000_012);
    assert!(sizes.iter().all(|size| *size <= 10 << 20), "{sizes:?}");
    node.kill(GRACE).await;
    // A follower hears the end of the node as the end of the stream.
    let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
    timeout(DEADLINE, rest).await.expect("the stream ends");
}
