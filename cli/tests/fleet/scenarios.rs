//! Ways through the fleet that the sweep does not take.

use crate::Scenario;
use crate::checks;
use crate::fleet::{Fleet, until};
use std::time::{Duration, Instant};

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("a_cluster_becomes_ready_and_is_destroyed", whole_way),
    ("another_framework_takes_over_within_seconds", takeover),
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
    tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}
