//! Launches that fail, what is told of them, and what helps.

use crate::support::{Data, Platform, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// A product of one node, as a folder.
fn product(folder: &Path, name: &str, command: &str, orchestrator: Option<&str>) -> String {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    // Where there is no script, ready waits for a port that nobody listens on.
    let health = if orchestrator.is_none() { json!({ "tcp": 9 }) } else { Value::Null };
    let template = json!({
        "nodes": { "solo": { "cpu": 0.1, "mem": 32, "command": command, "restart": { "limit": 0 }, "health": health } },
        "services": { "solo": { "nodes": ["solo"] } },
    });
    let write = |file: &str, text: String| std::fs::write(folder.join(file), text).unwrap();
    write("product.json", json!({ "name": name, "version": "1" }).to_string());
    write("template.json", template.to_string());
    write("options.json", json!({ "required": {}, "optional": {}, "advanced": {}, "descriptions": {} }).to_string());
    if let Some(text) = orchestrator {
        write("orchestrator", text.to_owned());
    }
    folder.display().to_string()
}

fn register(platform: &Platform, folder: &str) {
    platform.run(&["product", "register", folder]);
}

#[test]
fn a_script_that_fails_fails_the_launch_and_may_be_tried_again() {
    let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
    let platform = data.up(&["--no-catalog"]);
    // It fails on its first run and finds its trace on the second.
    let script = "#!/bin/sh\nset -e\n[ \"$1\" = start ] || exit 64\n\
        if bigdata node get solo trace >/dev/null 2>&1; then\n\
        bigdata output --secret password=canary; bigdata output user=ann; exit 0\nfi\n\
        echo x | bigdata node put solo trace\necho 'no luck today' >&2\nexit 3\n";
    register(&platform, &product(folder.path(), "unlucky", "exec sleep 1000", Some(script)));
    let failed = platform.fails(1, &["launch", "unlucky", "1", "--wait"]);
    for part in ["failed during configuring", "exited with code 3", "no luck today", "bigdata cluster retry"] {
        assert!(failed.contains(part), "{part} is not in {failed}");
    }
    assert!(platform.run(&["cluster", "logs", "unlucky"]).contains("no luck today"));
    assert_eq!(platform.json(&["cluster", "show", "unlucky"])["data"]["failed_during"], "configuring");
    assert_eq!(platform.run(&["node", "exec", "unlucky", "solo", "--", "cat", "trace"]), "x\n");
    assert!(platform.run(&["cluster", "retry", "unlucky", "--wait"]).contains("ready"));
    assert!(platform.fails(4, &["cluster", "retry", "unlucky"]).contains("BD0018"));
    let outputs = platform.run(&["cluster", "endpoints", "unlucky"]);
    assert!(outputs.contains("ann") && outputs.contains("********") && !outputs.contains("canary"), "{outputs}");
    assert!(!platform.run(&["cluster", "events", "unlucky"]).contains("canary"));
    assert!(!platform.log().contains("canary"));
    platform.run(&["cluster", "destroy", "unlucky", "--wait"]);
}

#[test]
fn a_workload_that_ends_fails_the_launch_with_its_last_lines() {
    let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
    let platform = data.up(&["--no-catalog"]);
    register(&platform, &product(folder.path(), "brief", "echo out of luck >&2; exit 9", None));
    let failed = platform.fails(1, &["launch", "brief", "1", "--wait"]);
    assert!(failed.contains("failed during"), "{failed}");
    let nodes = platform.json(&["cluster", "nodes", "brief"]);
    assert!(nodes.to_string().contains("out of luck"), "{nodes}");
    platform.run(&["cluster", "destroy", "brief", "--wait"]);
    data.ended();
}

#[test]
fn a_launch_is_cancelled_by_its_operation() {
    let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
    let platform = data.up(&["--no-catalog"]);
    let script = "#!/bin/sh\n[ \"$1\" = start ] || exit 64\necho begun\nexec sleep 1000\n";
    register(&platform, &product(folder.path(), "endless", "exec sleep 1000", Some(script)));
    let launched = platform.json(&["launch", "endless", "1"]);
    let (cluster, operation) = (launched["dn"].as_str().unwrap(), launched["operation"].as_str().unwrap());
    until("the script runs", || platform.run(&["cluster", "logs", cluster]).contains("begun").then_some(()));
    platform.run(&["operation", "cancel", operation]);
    assert_eq!(platform.json(&["operation", "show", operation])["status"], "cancelled");
    until("the cluster is no longer configured", || {
        let status = platform.json(&["cluster", "show", cluster])["data"]["status"].clone();
        (status != "configuring").then_some(())
    });
    platform.run(&["cluster", "destroy", cluster, "--wait"]);
}

#[test]
fn streams_tell_what_happens_while_it_does() {
    let data = Data::new();
    let platform = data.up(&[]);
    let launched = platform.json(&["launch", "reference", "1.0.0", "size=1"]);
    let cluster = launched["dn"].as_str().unwrap();
    let follow = |words: &[&str], wanted: &dyn Fn(&Value) -> bool| {
        let mut child = platform.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen: Vec<u64> = Vec::new();
        for line in lines {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            seen.push(event["sequence"].as_u64().unwrap());
            if wanted(&event) {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>(), "{words:?}");
    };
    follow(&["cluster", "events", "-f", cluster, "--json"], &|event| event["status"] == "ready");
    follow(&["cluster", "logs", "-f", cluster, "--json"], &|line| line["line"].as_str().unwrap().contains("100 %"));
}
