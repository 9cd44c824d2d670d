//! A cluster's life by the command line.

use crate::support::{Data, Platform, get, templates, until};
use serde_json::json;
use std::path::{Path, PathBuf};

#[test]
fn a_cluster_lives_and_leaves_nothing() {
    let data = Data::new();
    let platform = data.up(&["--no-catalog"]);
    register(&platform);
    dry_run(&platform);
    let cluster = platform.launch(2);
    assert_eq!(cluster, "clusters/local/reference/1.0.0/1");
    answers(&platform, &cluster);
    looks(&platform);
    works_on_a_node(&platform, &cluster);
    destroys(&platform, &data, &cluster);
}

fn register(platform: &Platform) {
    let folder = templates().join("reference/1.0.0");
    let folder = folder.to_str().unwrap();
    assert!(platform.run(&["product", "register", folder]).starts_with("products/reference/1.0.0 revision "));
    let first = platform.json(&["product", "register", folder]);
    let again = platform.json(&["product", "register", folder]);
    assert_eq!(first["revision"], again["revision"]);
    assert!(platform.run(&["product", "list"]).contains("Reference product: minimal"));
    let shown = platform.run(&["product", "show", "reference", "1.0.0"]);
    assert!(shown.contains("integer 1..100"), "{shown}");
    assert!(platform.fails(3, &["product", "show", "reference", "9"]).contains("BD0007"));
}

fn dry_run(platform: &Platform) {
    let plan = platform.json(&["launch", "reference", "1.0.0", "size=3", "--dry-run"]);
    assert_eq!(plan["blueprint"]["nodes"].as_object().unwrap().len(), 3);
    assert_eq!(plan["fits"]["fits"], true);
    let refused = platform.fails(2, &["launch", "reference", "1.0.0", "size=0", "colour=red"]);
    for part in ["BD0014", "size", "colour"] {
        assert!(refused.contains(part), "{part} is not in {refused}");
    }
    assert_eq!(platform.json(&["cluster", "list"])["clusters"], json!([]));
}

fn answers(platform: &Platform, cluster: &str) {
    let nodes = platform.nodes(cluster);
    assert_eq!(nodes.len(), 2);
    for (name, address) in &nodes {
        let said = get(*address, "/").unwrap();
        assert_eq!((said["name"].as_str(), said["cluster"].as_str()), (Some(name.as_str()), Some(cluster)));
        assert_eq!(said["peers"].as_object().unwrap().len(), 2);
        assert_eq!(get(*address, "/peers/check").unwrap()["unreachable"], json!({}));
    }
    let endpoints = platform.json(&["cluster", "endpoints", cluster]);
    let urls: Vec<&str> =
        endpoints["endpoints"].as_array().unwrap().iter().map(|it| it["url"].as_str().unwrap()).collect();
    assert_eq!(urls, nodes.iter().map(|(_, address)| format!("http://{address}/")).collect::<Vec<_>>());
}

/// Every form of a name, and every table.
fn looks(platform: &Platform) {
    for name in ["reference", "reference/1", "reference/1.0.0/1", "clusters--local--reference--1__0__0--1"] {
        assert_eq!(platform.json(&["cluster", "show", name])["data"]["status"], "ready", "{name}");
    }
    assert!(platform.fails(3, &["cluster", "show", "reference/7"]).contains("BD0008"));
    let list = platform.run(&["cluster", "list"]);
    assert!(list.contains("clusters/local/reference/1.0.0/1") && list.contains("2/2"), "{list}");
    assert!(platform.run(&["cluster", "services", "reference"]).contains("node0 node1"));
    let events = platform.run(&["cluster", "events", "reference"]);
    let order = ["registered", "scheduling", "scheduled", "configuring", "configured", "ready"];
    let places: Vec<_> = order.iter().map(|status| events.find(status)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{events}");
    assert!(platform.run(&["cluster", "logs", "reference"]).contains("unreachable"));
    let operations = platform.json(&["operation", "list"]);
    let id = operations["operations"][0]["id"].as_str().unwrap();
    assert_eq!(platform.json(&["operation", "show", id])["status"], "succeeded");
    assert_eq!(platform.json(&["agents"])["agents"][0]["nodes"], 2);
    assert!(platform.run(&["explain", "reference"]).contains("clusters/local/reference/1.0.0/1"));
    assert!(platform.run(&["cluster", "wait", "reference"]).contains("ready"));
}

fn works_on_a_node(platform: &Platform, cluster: &str) {
    let exec = |script: &str| platform.try_run(&["node", "exec", cluster, "node0", "--", "sh", "-c", script]);
    let output = exec("echo out; echo err >&2; exit 7");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(output.status.code(), Some(7));
    // As shells have it.
    let missing = platform.fails(127, &["node", "exec", cluster, "node0", "--", "no-such-command"]);
    assert!(missing.contains("no-such-command") && missing.contains("not found"), "{missing}");
    platform.fails(126, &["node", "exec", cluster, "node0", "--", "/etc/passwd"]);
    platform.feed(&["node", "put", cluster, "node0", "a/b.txt", "--mode", "640"], "late @{address}\n");
    assert_eq!(platform.run(&["node", "get", cluster, "node0", "a/b.txt"]), "late @{address}\n");
    platform.feed(&["node", "put", cluster, "node0", "late.txt", "--late"], "@{address:node1}");
    let peer = platform.nodes(cluster)[1].1;
    assert_eq!(platform.run(&["node", "get", cluster, "node0", "late.txt"]), peer.ip().to_string());
    platform.fails(3, &["node", "get", cluster, "node0", "no-such-file"]);
    assert!(platform.fails(3, &["node", "exec", cluster, "node9", "--", "true"]).contains("BD0009"));
    assert!(platform.run(&["node", "logs", cluster, "node0"]).contains("listens on"));
    assert!(platform.run(&["node", "stats", cluster, "node0"]).contains("rss_bytes"));
    let node1 = || get(peer, "/health");
    platform.run(&["node", "stop", cluster, "node1"]);
    until("the workload stops", || node1().is_none().then_some(()));
    platform.run(&["node", "start", cluster, "node1"]);
    until("the workload starts", node1);
}

fn destroys(platform: &Platform, data: &Data, cluster: &str) {
    let nodes = platform.nodes(cluster);
    assert!(data.nodes().len() >= 4);
    assert!(platform.run(&["cluster", "destroy", cluster, "--wait"]).contains("destroyed"));
    data.ended();
    assert!(nodes.iter().all(|(_, address)| get(*address, "/").is_none()));
    let agent = &platform.json(&["agents"])["agents"][0];
    assert_eq!((&agent["nodes"], &agent["used"]["mem"]), (&json!(0), &json!(0.0)));
    until("the nodes' folders go", || folders(&data.path().join("engine/sandboxes")).is_empty().then_some(()));
    // It stays in the history, and destroying it again changes nothing.
    assert_eq!(platform.json(&["cluster", "show", cluster])["data"]["status"], "destroyed");
    assert!(platform.run(&["explain", cluster]).contains("destroyed"));
    assert!(platform.run(&["admin", "invariants"]).contains("yes"));
    assert_eq!(platform.run(&["admin", "parked"]), "");
    platform.run(&["cluster", "destroy", cluster]);
    assert_eq!(platform.json(&["cluster", "list"])["clusters"], json!([]));
    platform.run(&["product", "delete", "reference", "1.0.0"]);
    platform.fails(3, &["launch", "reference", "1.0.0"]);
    // Its addresses are free again.
    register(platform);
    let next = platform.launch(2);
    assert_eq!(next, "clusters/local/reference/1.0.0/2");
}

/// The folders of executors: FRAMEWORK/EXECUTOR/CONTAINER.
fn folders(sandboxes: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    below(sandboxes).iter().flat_map(|framework| below(framework)).collect()
}

#[test]
fn what_does_not_fit_is_explained() {
    let data = Data::new();
    let platform = data.up(&[]);
    let refused = platform.fails(1, &["launch", "reference", "1.0.0", "cpu=100", "--dry-run"]);
    assert!(refused.contains("does not fit"), "{refused}");
    let refused = platform.fails(1, &["launch", "reference", "1.0.0", "size=9", "cpu=100", "--dry-run"]);
    assert_eq!(refused.matches("needs").count(), 1, "a reason is told once: {refused}");
    let cluster = platform.run(&["launch", "reference", "1.0.0", "size=1", "cpu=100"]);
    let cluster = cluster.trim();
    let explanation = until("the placement is refused", || {
        let explanation = platform.json(&["explain", cluster]);
        let refusals = explanation["nodes"][0]["refusals"].as_array().cloned().unwrap_or_default();
        refusals.iter().any(|refusal| refusal["reason"] == "cpu").then_some(explanation)
    });
    assert_eq!(explanation["nodes"][0]["node"], "node0");
    let text = platform.run(&["explain", cluster]);
    assert!(text.contains("└─ node0 needs") && text.contains("cpu: 1 agent"), "{text}");
    let late = platform.fails(6, &["cluster", "wait", cluster, "--timeout", "1"]);
    assert!(late.contains("scheduling") && late.contains("bigdata explain"), "{late}");
    platform.run(&["cluster", "destroy", cluster, "--wait"]);
}

#[test]
fn secrets_are_shown_where_they_are_asked_for() {
    let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
    let platform = data.up(&["--no-catalog"]);
    let write = |file: &str, content: serde_json::Value| {
        std::fs::write(folder.path().join(file), content.to_string()).unwrap();
    };
    let node = json!({ "cpu": 0.1, "mem": 32, "command": "exec sleep 1000" });
    write("product.json", json!({ "name": "safe", "version": "1" }));
    write("template.json", json!({ "nodes": { "a": node }, "services": {} }));
    write(
        "options.json",
        json!({ "optional": { "password": "" }, "schema": { "password": { "type": "string", "secret": true } } }),
    );
    platform.run(&["product", "register", folder.path().to_str().unwrap()]);
    platform.run(&["launch", "safe", "1", "password=canary", "--wait"]);
    assert!(!platform.run(&["cluster", "show", "safe"]).contains("canary"));
    assert!(platform.run(&["cluster", "secrets", "safe"]).contains("password  canary"));
    assert_eq!(platform.json(&["cluster", "secrets", "safe"]), json!({ "secrets": { "password": "canary" } }));
    let events = platform.run(&["cluster", "events", "safe"]);
    assert!(events.contains("secrets were shown to local") && !events.contains("canary"), "{events}");
    assert!(!platform.log().contains("canary"));
    platform.run(&["cluster", "destroy", "safe", "--wait"]);
}

#[test]
fn a_launch_is_sent_twice_and_done_once() {
    let data = Data::new();
    let platform = data.up(&[]);
    let launch = |size: &'static str| ["launch", "reference", "1.0.0", size, "--idempotency-key", "k1"];
    let first = platform.json(&launch("size=1"));
    assert_eq!(platform.json(&launch("size=1"))["dn"], first["dn"]);
    assert!(platform.fails(4, &launch("size=2")).contains("BD0020"));
    platform.run(&["cluster", "wait", first["dn"].as_str().unwrap()]);
}
