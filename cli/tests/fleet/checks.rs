//! What must hold whatever happened.

use crate::fleet::{Fleet, until};
use serde_json::Value;
use std::time::{Duration, Instant};

/// The longest that it may take until what was in flight has settled.
const SETTLED: Duration = Duration::from_secs(30);

/// Every part is ready again, and no invariant is violated.
pub(crate) fn all_is_well(fleet: &Fleet, when: &str) {
    fleet.control(&["up"]);
    let deadline = Instant::now() + SETTLED;
    // What was in flight settles first: a violation is one that stays.
    loop {
        let answer = fleet.ask("/admin/invariants");
        if answer.as_ref().is_some_and(|answer| answer["ok"] == true) {
            return;
        }
        assert!(Instant::now() < deadline, "after {when}: {answer:#?}{}", fleet.log());
        std::thread::park_timeout(Duration::from_millis(500));
    }
}

/// The events of a cluster have no gap.
pub(crate) fn history_is_whole(fleet: &Fleet, dn: &str) {
    let events = fleet.json(&["cluster", "events", dn]);
    for (at, event) in events["events"].as_array().unwrap().iter().enumerate() {
        assert_eq!(event["sequence"], at as u64 + 1, "{dn}: a gap in {events:#}");
    }
}

/// Every node of a ready cluster answers with its name, at its address, and knows its peers.
pub(crate) fn nodes_serve(fleet: &Fleet, dn: &str) {
    until(&format!("the nodes of {dn} serve"), || {
        let list = fleet.json(&["cluster", "nodes", dn]);
        let nodes = list["nodes"].as_array().unwrap();
        let serves = |node: &Value| {
            let address = format!("http://{}:{}/", node["address"].as_str()?, node["ports"]["http"]);
            let answer = fleet.get(&address)?;
            let peers = answer["peers"].as_object()?.len();
            (answer["name"] == node["name"] && peers == nodes.len()).then_some(())
        };
        nodes.iter().all(|node| serves(node).is_some()).then_some(())
    });
}

/// Mesos runs no task of ours, and no process of a node is left.
pub(crate) fn nothing_is_left(fleet: &Fleet) {
    until("Mesos runs nothing of ours", || {
        let state = fleet.get(&format!("{}/master/state", fleet.address("FLEET_MESOS")))?;
        let frameworks = state["frameworks"].as_array()?;
        frameworks.iter().all(|framework| framework["tasks"].as_array().is_some_and(Vec::is_empty)).then_some(())
    });
    until("no process of a node is left", || fleet.node_processes().is_empty().then_some(()));
}
