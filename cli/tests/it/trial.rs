//! A small product that shows what its script is told: nodes on persistent disks, and every change of a ready cluster.

use crate::support::Platform;
use serde_json::{Value, json};
use std::path::Path;

/// A node is told of the others where `peers` says so; `giant` wants one that fits nowhere.
const TEMPLATE: &str = r#"{
  "nodes": {
    {% for n in range(1, opts['size'] + 1) %}
    "node{{ n }}": {
      "cpu": 0.1,
      "mem": {{ opts['mem'] }},
      "command": "echo VERSION >> \"$DATA/starts\"; exec bigdata reference-node --listen @{address}:@{port:http} --name node{{ n }} --cluster trial --peers-file peers.json",
      "env": {
        "DATA": "@{disk:data}",
        "PEERS": "{% if opts['peers'] %}{% for m in range(1, opts['size'] + 1) %}@{address:node{{ m }}} {% endfor %}{% endif %}"
      },
      "disks": {"data": {"destination": "/data", "size": 16, "persistent": true}},
      "ports": {"http": {"port": 8080}},
      "health": {"http": {"port": "http", "path": "/health"}, "interval": 1}
    },
    {% endfor %}
    {% if opts['giant'] %}"giant": {"cpu": 0.1, "mem": 1000000, "command": "exec sleep 1000"},{% endif %}
  },
  "services": {"trial": {"nodes": [{% for n in range(1, opts['size'] + 1) %}"node{{ n }}",{% endfor %}]}}
}"#;

/// What it is told stands in the cluster's log. `hold` stays until a node has the file `go`; a node whose file `stays` says
/// `yes` is not to be upgraded.
const SCRIPT: &str = r#"#!/bin/sh
set -eu
echo "told $1 ${BIGDATA_EVENT:-$BIGDATA_ARGUMENTS}"
first=$(bigdata node list | while read -r name _; do echo "$name"; break; done)
case $1 in
    start | scale | upgrade | node-lost | node-replaced | check | say) ;;
    hold) until bigdata node get "$first" go >/dev/null 2>&1; do sleep 0.1; done ;;
    before-upgrade)
        node=$(echo "$BIGDATA_EVENT" | sed 's/.*"node":"\([^"]*\)".*/\1/')
        if [ "$(bigdata node get "$node" stays 2>/dev/null)" = yes ]; then
            echo "$node is not done with its work" >&2
            exit 3
        fi ;;
    backup) bigdata node exec "$first" -- sh -c 'cat "$DATA/starts"' | bigdata backup put --label full ;;
    restore) echo "restored $(bigdata backup get "$(echo "$BIGDATA_ARGUMENTS" | tr -d '{}" ' | cut -d: -f2)")" ;;
    rotate) bigdata output --secret password=rotated-canary ;;
    *) exit 64 ;;
esac
"#;

fn actions() -> Value {
    let text = |more: Value| json!({"type": "string", "required": more});
    json!({
        "say": {"arguments": {"word": text(json!(true))}, "busy": "wait", "deadline": "10m"},
        "hold": {"deadline": "10m"},
        "backup": {"changes": false, "deadline": "10m"},
        "restore": {"arguments": {"id": text(json!(true))}, "deadline": "10m"},
        "rotate": {"deadline": "10m"},
        "check": {"every": "2s", "deadline": "10m"},
        "before-upgrade": {"deadline": "10m"},
        "node-lost": {"deadline": "10m"},
        "node-replaced": {"deadline": "10m"},
    })
}

/// Registers the versions 1 and 2.
pub(crate) fn register(platform: &Platform) {
    for version in ["1", "2"] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), version);
        platform.run(&["product", "register", folder.path().to_str().unwrap()]);
    }
}

fn write(folder: &Path, version: &str) {
    let options = json!({
        "optional": {"size": 2, "mem": 32, "peers": false, "giant": false, "password": ""},
        "schema": {"password": {"type": "string", "secret": true, "generate": true}},
    });
    for (file, content) in [
        ("product.json", json!({"name": "trial", "version": version}).to_string()),
        ("template.yaml", TEMPLATE.replace("VERSION", version)),
        ("options.json", options.to_string()),
        ("actions.json", actions().to_string()),
        ("orchestrator", SCRIPT.to_owned()),
    ] {
        std::fs::write(folder.join(file), content).unwrap();
    }
}

/// What the script was told with this action, in its order.
pub(crate) fn told(platform: &Platform, action: &str) -> Vec<Value> {
    let logs = platform.run(&["cluster", "logs", "trial"]);
    let start = format!("told {action} ");
    logs.lines().filter_map(|line| serde_json::from_str(line.strip_prefix(&start)?).ok()).collect()
}

/// How often a node's workload was started on its disk, by the product's versions.
pub(crate) fn starts(platform: &Platform, node: &str) -> Vec<String> {
    let text = platform.run(&["node", "exec", "trial", node, "--", "sh", "-c", "cat \"$DATA/starts\""]);
    text.lines().map(str::to_owned).collect()
}

/// The names of the nodes.
pub(crate) fn names(platform: &Platform) -> Vec<String> {
    let list = platform.json(&["cluster", "nodes", "trial"]);
    list["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}
