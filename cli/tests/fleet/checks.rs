//! What must hold whatever happened.

use crate::fleet::{AGENTS, Fleet, until, until_told};
use serde_json::Value;
use std::path::Path;

/// Every part is ready again, no invariant is violated, no event was parked, and Mesos agrees on what is used.
pub(crate) fn all_is_well(fleet: &Fleet, when: &str) {
    fleet.control(&["up"]);
    // What was in flight settles first: a violation is one that stays.
    until_told(&format!("every invariant holds after {when}"), || {
        let answer = fleet.ask("/admin/invariants").unwrap_or_default();
        if answer["ok"] == true { Ok(()) } else { Err(format!("{answer:#}")) }
    });
    let parked = until("every service tells what it has parked", || fleet.ask("/admin/parked"));
    assert!(!parked.to_string().contains("event_id"), "after {when}: {parked:#}{}", fleet.log());
    allocations_fit(fleet, when);
}

/// What the framework says of each agent is within what Mesos says of it: neither its resources nor what is used of them is
/// made up.
fn allocations_fit(fleet: &Fleet, when: &str) {
    /// Sums of decimal fractions differ from what they are sums of.
    const ROUNDING: f64 = 1e-6;
    let over = |view: &Value, truth: &Value| {
        let more = |name: &&str| view[*name].as_f64().unwrap_or(0.0) > truth[*name].as_f64().unwrap_or(0.0) + ROUNDING;
        ["cpus", "mem", "disk"].into_iter().find(more)
    };
    until(&format!("the framework's agents are those of Mesos after {when}"), || {
        let (agents, mesos) = (fleet.ask("/agents")?, fleet.mesos());
        let agrees = |truth: &Value| {
            let view = agents["agents"].as_array()?.iter().find(|view| view["id"] == truth["id"])?;
            let fits = over(&view["total"], &truth["resources"]).is_none()
                && over(&view["used"], &truth["used_resources"]).is_none()
                && over(&truth["used_resources"], &truth["resources"]).is_none();
            fits.then_some(())
        };
        mesos["slaves"].as_array()?.iter().all(|truth| agrees(truth).is_some()).then_some(())
    });
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

/// [`nothing_of_ours_is_left`], and the framework lists nothing that is nobody's.
pub(crate) fn nothing_is_left(fleet: &Fleet) {
    nothing_of_ours_is_left(fleet);
    are_gone("entries of the list of orphans", || {
        let answer = until("the orphans are listed", || fleet.ask("/admin/orphans"));
        answer["orphans"].as_array().unwrap().iter().map(Value::to_string).collect()
    });
}

/// Mesos runs no task, none of its agents has anything that is reserved with our registry's label or is a volume of it, and
/// no process of a node is left. All of that as Mesos and the machine tell it, whatever the framework remembers.
pub(crate) fn nothing_of_ours_is_left(fleet: &Fleet) {
    are_gone("tasks at Mesos", || {
        let state = fleet.mesos();
        let of = |framework: &Value| {
            let task = |task: &Value| format!("{} ({}) of {}", task["id"], task["name"], framework["name"]);
            framework["tasks"].as_array().unwrap().iter().map(task).collect::<Vec<_>>()
        };
        state["frameworks"].as_array().unwrap().iter().flat_map(of).collect()
    });
    let registry = fleet.registry();
    are_gone(&format!("reservations and volumes of the registry {registry} at Mesos"), || {
        let agents = fleet.agents();
        let here = agents.iter().filter(|agent| agent["active"] == true).count();
        let missing = AGENTS.len().saturating_sub(here);
        // Of one that is away nothing is told.
        let missing = (missing > 0).then(|| format!("whatever {missing} agents have that are away"));
        agents.iter().flat_map(|agent| reserved_on(agent, &registry)).chain(missing).collect()
    });
    let command = |pid: String| {
        let line = std::fs::read(Path::new("/proc").join(&pid).join("cmdline")).unwrap_or_default();
        format!("{pid} {}", String::from_utf8_lossy(&line).replace('\0', " "))
    };
    are_gone("processes of nodes", || fleet.node_processes().into_iter().map(command).collect());
}

/// Mesos has so many volumes with our registry's label, and nothing else that is reserved with it: what is not there would
/// not be missed afterwards either.
pub(crate) fn has_volumes(fleet: &Fleet, count: usize) {
    let registry = fleet.registry();
    until(&format!("Mesos has {count} volumes of the registry {registry}, and nothing else"), || {
        let found: Vec<String> = fleet.agents().iter().flat_map(|agent| reserved_on(agent, &registry)).collect();
        (found.len() == count && found.iter().all(|words| !words.contains("volume null"))).then_some(())
    });
}

/// What an agent has that carries this registry's label, in words: volumes, and what is merely reserved.
pub(crate) fn reserved_on(agent: &Value, registry: &str) -> Vec<String> {
    let labelled = |entry: &&Value| {
        let reservations = entry["reservations"].as_array().into_iter().flatten();
        let mut labels = reservations.flat_map(|one| one["labels"]["labels"].as_array().into_iter().flatten());
        labels.any(|label| label["key"] == "bigdata_registry" && label["value"] == registry)
    };
    let in_words = |entry: &Value| {
        let (id, cluster) = (&entry["disk"]["persistence"]["id"], entry["reservations"].to_string());
        format!("{} of {}: volume {id}, {cluster}", entry["name"], agent["hostname"])
    };
    // Those in use are among them.
    let roles = agent["reserved_resources_full"].as_object().into_iter().flat_map(|roles| roles.values());
    roles.flat_map(|entries| entries.as_array().into_iter().flatten()).filter(labelled).map(in_words).collect()
}

/// Polls until there are none of them; tells which are left else.
pub(crate) fn are_gone(what: &str, left: impl Fn() -> Vec<String>) {
    until_told(&format!("no {what} are left"), || {
        let left = left();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    });
}
