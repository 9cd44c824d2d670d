//! Ways through the fleet that the sweep does not take.

use crate::Scenario;
use crate::checks;
use crate::fleet::{Fleet, until};
use std::time::{Duration, Instant};

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("a_cluster_becomes_ready_and_is_destroyed", whole_way),
    ("another_framework_takes_over_within_seconds", takeover),
    ("services_are_replaced_one_by_one_beside_a_live_cluster", upgrade),
    ("a_cluster_is_destroyed_while_an_agent_is_away", agent_away),
    ("a_running_node_outlives_its_agents_absence", agent_back_in_time),
];

fn launched(fleet: &Fleet, size: u32) -> String {
    let size = format!("size={size}");
    let view = fleet.json(&["launch", "reference", "1.0.0", &size]);
    let dn = view["dn"].as_str().unwrap().to_owned();
    fleet.ends_as(&dn, "ready");
    dn
}

fn destroyed(fleet: &Fleet, dn: &str) {
    fleet.run(&["cluster", "destroy", dn]);
    fleet.ends_as(dn, "destroyed");
    checks::nothing_is_left(fleet);
}

fn whole_way(fleet: &Fleet) {
    let dn = launched(fleet, 3);
    checks::nodes_serve(fleet, &dn);
    checks::history_is_whole(fleet, &dn);
    destroyed(fleet, &dn);
}

/// The nodes do not notice, and the framework keeps its id at Mesos.
fn takeover(fleet: &Fleet) {
    let dn = launched(fleet, 2);
    let before = (mesos_framework(fleet), task_ids(fleet));
    let leader = fleet.leader();
    fleet.control(&["kill", leader]);
    let began = Instant::now();
    let next = until("another framework leads", || Some(fleet.leader()).filter(|next| *next != leader));
    let took = began.elapsed();
    eprintln!("{next} took over from {leader} after {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(15), "{took:?}");
    fleet.control(&["start", leader]);
    let second = launched(fleet, 1);
    assert_eq!(mesos_framework(fleet), before.0, "the framework's id has changed");
    let after = task_ids(fleet);
    assert!(before.1.iter().all(|task| after.contains(task)), "{before:?} {after:?}");
    fleet.run(&["cluster", "destroy", &second]);
    destroyed(fleet, &dn);
}

/// As an upgrade does it: each is stopped in order and another takes its place; no node is started anew, and no request
/// fails that another try does not mend.
fn upgrade(fleet: &Fleet) {
    let dn = launched(fleet, 2);
    let before = task_ids(fleet);
    for service in ["registry", "framework", "orchestrator", "gateway"] {
        for number in [1, 2] {
            let name = format!("{service}-{number}");
            fleet.control(&["stop", &name]);
            assert_eq!(fleet.cluster(&dn)["data"]["status"], "ready", "while {name} is replaced");
            fleet.control(&["start", &name]);
            fleet.control(&["wait", &name]);
        }
    }
    assert_eq!(task_ids(fleet), before, "a node was started anew");
    checks::nodes_serve(fleet, &dn);
    let second = launched(fleet, 1);
    fleet.run(&["cluster", "destroy", &second]);
    destroyed(fleet, &dn);
}

/// The agent of a node, as a part of the fleet.
fn agent_of(fleet: &Fleet, dn: &str, node: usize) -> String {
    let list = fleet.json(&["cluster", "nodes", dn]);
    let host = list["nodes"][node]["host"].as_str().unwrap_or_else(|| panic!("no host in {list:#}"));
    format!("mesos-agent-{}", host.rsplit_once('.').unwrap().1)
}

/// The destroy ends, and what was left on the agent is cleaned up when it is back.
fn agent_away(fleet: &Fleet) {
    let dn = launched(fleet, 3);
    let agent = agent_of(fleet, &dn, 0);
    fleet.control(&["kill", &agent]);
    fleet.run(&["cluster", "destroy", &dn]);
    fleet.ends_as(&dn, "destroyed");
    fleet.control(&["start", &agent]);
    checks::nothing_is_left(fleet);
}

/// Unreachable is not dead: the node goes on, as the same attempt.
fn agent_back_in_time(fleet: &Fleet) {
    let dn = launched(fleet, 3);
    let (before, agent) = (task_ids(fleet), agent_of(fleet, &dn, 0));
    fleet.control(&["kill", &agent]);
    until("the cluster's health tells of it", || (fleet.cluster(&dn)["data"]["health"] != "healthy").then_some(()));
    checks::history_is_whole(fleet, &dn);
    fleet.control(&["start", &agent]);
    until("the cluster is healthy again", || (fleet.cluster(&dn)["data"]["health"] == "healthy").then_some(()));
    assert_eq!(task_ids(fleet), before);
    checks::nodes_serve(fleet, &dn);
    destroyed(fleet, &dn);
}

/// The ids of the frameworks that Mesos knows; there is one.
fn mesos_framework(fleet: &Fleet) -> String {
    let state = fleet.get(&format!("{}/master/state", fleet.address("FLEET_MESOS"))).unwrap();
    let frameworks = state["frameworks"].as_array().unwrap();
    assert_eq!(frameworks.len(), 1, "{state:#}");
    frameworks[0]["id"].as_str().unwrap().to_owned()
}

fn task_ids(fleet: &Fleet) -> Vec<String> {
    let state = fleet.get(&format!("{}/master/state", fleet.address("FLEET_MESOS"))).unwrap();
    let tasks = state["frameworks"][0]["tasks"].as_array().unwrap();
    let mut ids: Vec<String> = tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}
