//! Ways through the fleet that the sweep does not take.

use crate::Scenario;
use crate::checks;
use crate::fleet::{FRAMEWORKS, Fleet, until};
use bigdata_chassis::testing::Stalls;
use std::time::{Duration, Instant};

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("a_cluster_becomes_ready_and_is_destroyed", whole_way),
    ("another_framework_takes_over_within_seconds", takeover),
    ("services_are_replaced_one_by_one_beside_a_live_cluster", upgrade),
    ("a_leader_that_stood_still_past_its_lease_is_none", zombie),
    ("a_running_node_outlives_its_agents_absence", agent_back_in_time),
];

/// Another replica leads within this time after the leader was killed.
const TAKEOVER_MAX: Duration = Duration::from_secs(30);
/// A lease that outlives what a busy machine may sleep: so whoever has it by right still has it afterwards.
pub(crate) const LONG_LEASE: (&str, &str) = ("BIGDATA__FRAMEWORK__LEASE_MS", "30000");

pub(crate) fn launched(fleet: &Fleet, size: u32) -> String {
    let size = format!("size={size}");
    let view = fleet.json(&["launch", "reference", "1.0.0", &size]);
    let dn = view["dn"].as_str().unwrap().to_owned();
    fleet.ends_as(&dn, "ready");
    dn
}

pub(crate) fn destroyed(fleet: &Fleet, dn: &str) {
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
    let (began, stalls) = (Instant::now(), Stalls::watch());
    fleet.control(&["kill", leader]);
    let next = until("another framework leads", || Some(fleet.leader()).filter(|next| *next != leader));
    let took = began.elapsed();
    eprintln!("{next} took over from {leader} after {:.1} s", took.as_secs_f64());
    stalls.assert_kept(TAKEOVER_MAX, took, "another framework led after");
    fleet.control(&["start", leader]);
    let second = launched(fleet, 1);
    assert_eq!(mesos_framework(fleet), before.0, "the framework's id has changed");
    let after = task_ids(fleet);
    assert!(before.1.iter().all(|task| after.contains(task)), "{before:?} {after:?}");
    fleet.run(&["cluster", "destroy", &second]);
    destroyed(fleet, &dn);
}

/// As an upgrade does it: each is stopped in order and another takes its place; no node is started anew, and no request
/// fails that another try does not mend. The others are of a newer build with migrations, where there is one.
fn upgrade(fleet: &Fleet) {
    const WITH_SCHEMA: [&str; 3] = ["registry", "framework", "orchestrator"];
    let dn = launched(fleet, 2);
    let before = task_ids(fleet);
    let versions = || WITH_SCHEMA.map(|service| fleet.schema_version(service));
    let (former, newer) = (versions(), fleet.upgrade());
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
    let grown = versions().iter().zip(&former).filter(|(now, then)| now > then).count();
    assert_eq!(grown, if newer { WITH_SCHEMA.len() } else { 0 }, "{former:?} {:?}", versions());
    eprintln!("schemas before and after: {former:?} {:?}", versions());
    checks::nodes_serve(fleet, &dn);
    let second = launched(fleet, 1);
    fleet.run(&["cluster", "destroy", &second]);
    destroyed(fleet, &dn);
}

/// The agent of a node, as a part of the fleet.
pub(crate) fn agent_of(fleet: &Fleet, dn: &str, node: usize) -> String {
    until(&format!("the node {node} of {dn} has an agent"), || {
        let list = fleet.json(&["cluster", "nodes", dn]);
        Some(format!("mesos-agent-{}", list["nodes"][node]["host"].as_str()?.rsplit_once('.')?.1))
    })
}

/// The framework's lease: whose it is, and how often one was taken.
#[derive(Debug)]
struct Lease {
    holder: String,
    token: i64,
}

impl Lease {
    fn read(fleet: &Fleet) -> Self {
        until("the lease is read", || {
            let row = fleet.value("SELECT holder || ' ' || token FROM framework.leadership");
            let (holder, token) = row.split_once(' ')?;
            Some(Self { holder: holder.to_owned(), token: token.parse().ok()? })
        })
    }

    /// Whether it is its holder's still, who may have let it run out on a slow machine and have taken it again.
    fn is_kept(&self, now: &Self) -> bool {
        now.holder == self.holder && now.token >= self.token
    }
}

/// Another replica leads while the former leader stands still. When that one goes on, it says that it leads no more, and the
/// lease and the subscription stay the other's.
fn zombie(fleet: &Fleet) {
    fleet.set(&FRAMEWORKS, &[LONG_LEASE], || stands_still(fleet));
}

fn stands_still(fleet: &Fleet) {
    const ENDED: &str = "another replica leads, or may: this one follows";
    let dn = launched(fleet, 1);
    let (leader, former, before) = (fleet.leader(), Lease::read(fleet), (mesos_framework(fleet), task_ids(fleet)));
    let said = || fleet.log_of(leader).matches(ENDED).count();
    let said_before = said();
    fleet.control(&["kill", leader, "STOP"]);
    // A request to the one that stands still would wait for it.
    let is_another = |now: &Lease| now.holder != former.holder && now.token > former.token;
    let held = until("another framework has the lease", || Some(Lease::read(fleet)).filter(is_another));
    let second = launched(fleet, 1);
    let meanwhile = Lease::read(fleet);
    assert!(held.is_kept(&meanwhile), "{held:?} {meanwhile:?}");
    let tasks = task_ids(fleet);
    fleet.control(&["kill", leader, "CONT"]);
    until(&format!("{leader} says that it leads no more"), || (said() > said_before).then_some(()));
    assert_ne!(fleet.leader(), leader);
    let third = launched(fleet, 1);
    let now = Lease::read(fleet);
    assert!(meanwhile.is_kept(&now), "{leader} has touched the lease: {meanwhile:?} {now:?}");
    assert_eq!(mesos_framework(fleet), before.0);
    let after = task_ids(fleet);
    assert!(before.1.iter().all(|task| tasks.contains(task)), "{before:?} {tasks:?}");
    assert!(tasks.iter().all(|task| after.contains(task)) && after.len() == 3, "{tasks:?} {after:?}");
    checks::nodes_serve(fleet, &dn);
    for dn in [&dn, &second] {
        fleet.run(&["cluster", "destroy", dn]);
        fleet.ends_as(dn, "destroyed");
    }
    destroyed(fleet, &third);
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

/// The id of the framework that Mesos knows; there is one.
pub(crate) fn mesos_framework(fleet: &Fleet) -> String {
    let state = fleet.mesos();
    let frameworks = state["frameworks"].as_array().unwrap();
    assert_eq!(frameworks.len(), 1, "{state:#}");
    frameworks[0]["id"].as_str().unwrap().to_owned()
}

/// Its tasks; those of an agent that missed a few pings for a moment, too.
pub(crate) fn task_ids(fleet: &Fleet) -> Vec<String> {
    let framework = fleet.mesos()["frameworks"][0].clone();
    let tasks =
        ["tasks", "unreachable_tasks"].into_iter().flat_map(|kind| framework[kind].as_array().into_iter().flatten());
    let mut ids: Vec<String> = tasks.map(|task| task["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}
