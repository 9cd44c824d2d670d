//! The platform's own life: one per data directory, on loopback alone, and what survives its ends.

use crate::support::{Data, PROGRAM, Platform, get, processes, send, until};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

#[test]
fn a_data_directory_has_one_platform() {
    let data = Data::new();
    let platform = data.up(&[]);
    let second = data.command("up", &[]).output().unwrap();
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    for part in ["another platform (pid ", &platform.url, data.path().to_str().unwrap()] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert!(platform.run(&["product", "list"]).contains("reference"));
}

#[test]
fn other_addresses_than_loopback_are_refused() {
    let data = Data::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:5000"] {
        let output = Command::new(PROGRAM).args(["up", "--listen", address, "--data-dir"]).arg(data.path()).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{address}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no loopback address"));
        assert!(!data.path().exists());
    }
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = Data::new();
    let output = Command::new(PROGRAM).args(["up", "--listen", &address, "--data-dir"]).arg(data.path()).output();
    let error = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
}

#[test]
fn nothing_answers_without_a_platform() {
    let output = Command::new(PROGRAM).args(["cluster", "list", "--url", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bigdata up"));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_stop_is_graceful_and_the_next_start_brings_the_cluster_back() {
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = platform.launch(2);
    let before = platform.nodes(&cluster);
    platform.feed(&["node", "put", &cluster, "node0", "kept.txt"], "kept");
    assert_eq!(platform.signal("-TERM"), Some(0));
    let left = processes(data.path().to_str().unwrap());
    assert_eq!(left, Vec::<String>::new(), "processes outlived a graceful stop");

    let begun = Instant::now();
    let platform = data.up(&[]);
    println!("a warm start took {} ms", begun.elapsed().as_millis());
    comes_back(&platform, &cluster);
    assert_eq!(platform.nodes(&cluster), before, "the nodes are not where they were");
    // New attempts begin in empty folders: the script configures them again.
    for (name, address) in &before {
        until(&format!("{name} knows its peers again"), || {
            get(*address, "/")
                .is_some_and(|answer| answer["peers"].as_object().is_some_and(|it| it.len() == 2))
                .then_some(())
        });
    }
    let operations = platform.json(&["operation", "list"]);
    until("the operation is over", || {
        let operations = platform.json(&["operation", "list"]);
        let kind =
            |kind: &str| operations["operations"].as_array().unwrap().iter().find(|it| it["kind"] == kind).cloned();
        (kind("reconfigure")?["status"] == "succeeded").then_some(())
    });
    assert_eq!(operations["operations"].as_array().unwrap().len(), 2, "{operations}");
    platform.run(&["cluster", "destroy", &cluster, "--wait"]);
}

/// From the gateway to the registry, by an event to the framework, by what the registry wants of its runs to the
/// orchestrator, and on with what these tell.
#[test]
fn a_request_is_followed_through_every_service() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let data = Data::new();
    let platform = data.up(&[]);
    let headers = format!(
        "content-type: application/json\r\nx-request-id: follow-me\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n"
    );
    let launch = "POST /bigdata/api/v1/products/reference/1.0.0";
    let answer: Value = serde_json::from_str(&send(platform.address(), launch, &headers, "{\"size\": 1}")).unwrap();
    let cluster = answer["dn"].as_str().unwrap();
    platform.run(&["cluster", "wait", cluster, "--timeout", "300"]);
    for words in [
        ["bigdata_gateway", "a request was answered"],
        ["bigdata_chassis", "answered"],
        ["bigdata_framework", "nodes are placed"],
        ["bigdata_orchestrator", "a run ended"],
    ] {
        until(&format!("{words:?} stands in the log with the request and its trace"), || {
            let log = std::fs::read_to_string(data.path().join("log/bigdata.log")).unwrap();
            let is_it = |line: &str| ["\"follow-me\"", TRACE].iter().chain(&words).all(|word| line.contains(word));
            log.lines().any(is_it).then_some(())
        });
    }
    platform.run(&["cluster", "destroy", cluster, "--wait"]);
}

#[test]
fn nodes_go_on_where_they_are_asked_to() {
    let data = Data::new();
    let platform = data.up(&["--keep-nodes"]);
    let cluster = platform.launch(1);
    let node = platform.nodes(&cluster)[0].1;
    assert_eq!(platform.signal("-INT"), Some(0));
    until("the node goes on", || get(node, "/health"));
    let platform = data.up(&[]);
    adopted(&platform, &cluster);
    until("the node goes on", || get(node, "/health"));
    platform.run(&["cluster", "destroy", &cluster, "--wait"]);
}

#[test]
fn a_platform_that_was_killed_finds_its_nodes_again() {
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = platform.launch(2);
    let nodes = platform.nodes(&cluster);
    let processes = data.nodes();
    assert!(processes.len() >= 4, "an executor and a workload each: {processes:?}");
    assert_eq!(platform.signal("-KILL"), None);
    for (name, address) in &nodes {
        until(&format!("{name} goes on"), || get(*address, "/health"));
    }

    let platform = data.up(&[]);
    adopted(&platform, &cluster);
    data.are(&processes);
    assert_eq!(platform.nodes(&cluster), nodes);
    platform.run(&["cluster", "destroy", &cluster, "--wait"]);
    data.ended();
}

#[test]
fn nodes_need_no_way_to_the_program_and_outlive_its_upgrade() {
    let data = Data::new();
    // Nobody else passes this folder, as it is with root's home.
    let build = tempfile::tempdir().unwrap();
    let program = build.path().join("bigdata");
    std::fs::copy(PROGRAM, &program).unwrap();
    let platform = data.up_by(&program, &[]);
    let cluster = platform.launch(1);
    let processes = data.nodes();
    // Another build replaces it: bytes after the end of an executable change nothing but its content.
    let mut content = std::fs::read(&program).unwrap();
    content.push(0);
    std::fs::remove_file(&program).unwrap();
    let runs = |platform: &Platform| platform.run(&["node", "exec", &cluster, "node0", "--", "bigdata", "--version"]);
    let version = runs(&platform);
    std::fs::write(&program, content).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(platform.signal("-KILL"), None);

    let platform = data.up_by(&program, &[]);
    let installed = data.path().join("bin/bigdata");
    assert_eq!(installed.metadata().unwrap().len(), program.metadata().unwrap().len(), "the new build is installed");
    adopted(&platform, &cluster);
    data.are(&processes);
    assert_eq!(runs(&platform), version);
    platform.run(&["node", "restart", &cluster, "node0"]);
    comes_back(&platform, &cluster);
    platform.run(&["cluster", "destroy", &cluster, "--wait"]);
}

/// Healthy, every node answering.
fn comes_back(platform: &Platform, cluster: &str) {
    until("the cluster comes back", || {
        let shown = platform.json(&["cluster", "show", cluster]);
        assert_eq!(shown["data"]["status"], "ready");
        let nodes = platform.nodes(cluster);
        let answer = nodes.iter().all(|(_, address)| get(*address, "/health").is_some());
        (shown["data"]["health"] == "healthy" && answer).then_some(())
    });
}

/// The executors take orders again.
fn adopted(platform: &Platform, cluster: &str) {
    until("the executor is reached", || {
        let output = platform.try_run(&["node", "exec", cluster, "node0", "--", "true"]);
        output.status.success().then_some(())
    });
    comes_back(platform, cluster);
}
