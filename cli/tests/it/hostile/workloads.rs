//! Nodes.

use super::{Arena, is_root};
use crate::support::get;
use serde_json::{Value, json};

/// What a node's end is told with that does not serve in time.
const NEVER_READY: &str = "health checks within 10 s";

/// A node that does this once it has said that it begins, and must serve within so many seconds to be ready.
fn node(does: &str, ready: u32) -> Value {
    json!({
        "nodes": { "solo": {
            "cpu": 0.1, "mem": 64, "command": format!("echo begun; {does}"), "restart": { "limit": 0 },
            "ports": { "http": 8080 }, "health": { "tcp": "http" },
            "disks": { "data": { "destination": "/data", "size": 16, "persistent": true } },
        } },
        "services": { "solo": { "nodes": ["solo"] } },
        "deadlines": { "placement": 60, "ready": ready },
    })
}

/// Runs each workload while a neighbour is launched: its cluster must fail with these words in the reason.
fn each_fails(attacks: &[(&str, &str, &str)]) {
    let arena = Arena::new("");
    for (name, does, reason) in attacks {
        let ready = if *reason == NEVER_READY { 10 } else { 300 };
        let dn = arena.launch(name, &node(does, ready), None);
        arena.has_begun(&dn);
        arena.goes_on();
        let failure = arena.failure(&dn);
        assert!(failure.contains(reason), "{name}: {reason:?} is not in {failure}");
        arena.leaves_nothing(&dn);
    }
    arena.keeps_no_file();
}

#[test]
fn workloads_that_take_all_they_can_get() {
    // What a node writes beyond its disk is not bounded, but it goes with the node.
    let fills = "head -c 100M /dev/zero > $BIGDATA_DISK_DATA/big; head -c 100M /dev/zero > big; exec sleep 1000";
    let attacks = [
        ("forks", "exec perl -e 'while (1) { fork }'", NEVER_READY),
        ("eats", "exec tail /dev/zero", "memory limit of 64 MiB"),
        ("floods", "exec yes flood", NEVER_READY),
        ("fills", fills, NEVER_READY),
    ];
    if !limits_memory() {
        println!("skipped: forks and eats. This machine lets no control group bound a node's memory for this user");
    }
    each_fails(if limits_memory() { &attacks } else { &attacks[2..] });
}

#[test]
fn workloads_that_will_not_end() {
    each_fails(&[
        ("leaves", "(setsid sh -c 'cd /; exec sleep 1000' </dev/null >/dev/null 2>&1 &); exit 0", "exited with code 0"),
        ("stays", "trap '' TERM INT HUP; while :; do sleep 1; done", NEVER_READY),
    ]);
}

/// Whether this machine bounds the memory of nodes: root may make control groups, others where it was delegated to them.
fn limits_memory() -> bool {
    is_root() && std::path::Path::new("/sys/fs/cgroup").is_dir()
}

/// A node that listens where another cluster's node does is refused, and the other serves on.
#[test]
fn a_workload_on_the_address_of_another() {
    let arena = Arena::new("");
    let neighbour = arena.platform.launch(1);
    let (name, address) = arena.platform.nodes(&neighbour).remove(0);
    let squats = format!("exec bigdata reference-node --listen {address} --name x");
    let dn = arena.launch("squats", &node(&squats, 300), None);
    let failure = arena.failure(&dn);
    for part in ["solo", &address.to_string()] {
        assert!(failure.contains(part), "{part:?} is not in {failure}");
    }
    // Where the machine allows it, it may not have the address even while nobody listens there.
    assert!(["in use", "not permitted"].iter().any(|words| failure.contains(words)), "{failure}");
    assert_eq!(get(address, "/").unwrap()["name"], name.as_str());
    arena.platform.run(&["cluster", "destroy", &neighbour, "--wait"]);
    arena.leaves_nothing(&dn);
}
