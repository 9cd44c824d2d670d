//! What a test that failed tells of the fleet, for whoever has nothing but its output.

use crate::fleet::Fleet;
use serde_json::Value;
use std::process::Command;

/// Lines of an executor's log.
const LINES: usize = 6;
/// Logs that were not written to for so long, in minutes, are of tests before.
const OLD: &str = "-15";

/// Writes what is wrong with each node, and what their executors and the services complained of last.
pub(crate) fn tell(fleet: &Fleet) {
    for cluster in clusters(fleet) {
        let data = &cluster["data"];
        eprintln!("{} is {} ({}): {}", data["dn"], data["status"], data["health"], data["reason"]);
        let nodes = data["dn"].as_str().and_then(|dn| asked(fleet, &["cluster", "nodes", dn])).unwrap_or_default();
        for node in nodes["nodes"].as_array().into_iter().flatten() {
            let [name, status, attempt, host, reason] =
                ["name", "status", "attempt", "host", "reason"].map(|field| &node[field]);
            eprintln!("  {name} {status}, attempt {attempt} on {host}: {reason}, health {}", node["health"]);
        }
    }
    executors(fleet);
    eprintln!("{}", fleet.log());
}

/// The last complaints of every executor that wrote something lately.
fn executors(fleet: &Fleet) {
    let folder = fleet.path().join("mesos");
    let logs = ["-path", "*/runs/*/stderr", "-mmin", OLD];
    let found = Command::new("find").arg(&folder).args(logs).output().unwrap();
    for path in String::from_utf8_lossy(&found.stdout).lines() {
        let log = std::fs::read(path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
        if !lines.is_empty() {
            let executor = path.rsplit('/').nth(3).unwrap_or(path);
            eprintln!("--- {executor}\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"));
        }
    }
}

fn clusters(fleet: &Fleet) -> Vec<Value> {
    let listed = asked(fleet, &["cluster", "list"]);
    listed.and_then(|mut listed| Some(listed["clusters"].as_array_mut()?.drain(..).collect())).unwrap_or_default()
}

/// Asked once: where nothing answers, that is a part of the trouble.
fn asked(fleet: &Fleet, arguments: &[&str]) -> Option<Value> {
    let output = fleet.command(arguments).arg("--json").output().unwrap();
    if !output.status.success() {
        eprintln!("bigdata {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).ok()
}
