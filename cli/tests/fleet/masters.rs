//! Ways with a Mesos master that removes the framework, falls silent, takes offers back, or serves somebody else, too.

use crate::Scenario;
use crate::checks;
use crate::fleet::{AGENTS, Fleet, until, until_told};
use crate::proxy::{Proxy, behind_one};
use crate::rival::{REGISTRY, Rival, VOLUMES};
use crate::scenarios::{destroyed, launched, mesos_framework, task_ids};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("a_framework_that_was_removed_registers_anew_and_places_its_nodes_again", removed),
    ("a_rivals_tasks_and_volumes_are_reported_and_never_touched", rival),
    ("a_stream_that_falls_silent_is_left_for_another", silent),
    ("offers_that_are_rescinded_before_their_launch_arrives_cost_an_attempt", rescinded),
    ("a_master_that_stands_still_is_told_of_and_costs_no_node", frozen),
];

/// Mesos's.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Launches a cluster that cannot become ready yet.
fn begun(fleet: &Fleet) -> String {
    fleet.json(&["launch", "reference", "1.0.0", "size=1"])["dn"].as_str().unwrap().to_owned()
}

/// Whether it is explained by these words why the cluster waits.
fn is_explained(fleet: &Fleet, dn: &str, words: &str) -> Option<()> {
    fleet.ask(&format!("/explain/{dn}"))?["summary"].as_str()?.contains(words).then_some(())
}

/// An operator's call at the master ends the framework and every node; what is wanted is placed again by a new one.
fn removed(fleet: &Fleet) {
    let dn = launched(fleet, 2);
    let (former, tasks, leader) = (mesos_framework(fleet), task_ids(fleet), fleet.leader());
    let url = format!("{}/master/teardown", fleet.address("FLEET_MESOS"));
    let arguments = ["--silent", "--fail", "--data", &format!("frameworkId={former}"), &url];
    assert!(Command::new("curl").args(arguments).status().unwrap().success());
    until("the log tells of it", || {
        let log = fleet.log_of(leader);
        let told = |line: &str| line.contains("the master ended the subscription") && line.contains("\"ERROR\"");
        log.lines().any(told).then_some(())
    });
    let next = until("a new framework runs the nodes", || {
        let state = fleet.mesos();
        let framework = state["frameworks"].as_array()?.first()?.clone();
        (framework["tasks"].as_array()?.len() == tasks.len()).then_some(framework)
    });
    assert_ne!(next["id"], Value::from(former), "the framework that was removed is back");
    assert!(task_ids(fleet).iter().all(|task| !tasks.contains(task)), "an attempt has two lives");
    checks::nodes_serve(fleet, &dn);
    checks::history_is_whole(fleet, &dn);
    destroyed(fleet, &dn);
}

fn rival(fleet: &Fleet) {
    let rival = Rival::start(fleet);
    let before = rival.running();
    let dn = launched(fleet, 3);
    checks::nodes_serve(fleet, &dn);
    is_reported(fleet);
    fleet.control(&["kill", fleet.leader()]);
    checks::all_is_well(fleet, "a framework was killed beside a rival");
    is_reported(fleet);
    let second = launched(fleet, 1);
    for dn in [&dn, &second] {
        fleet.run(&["cluster", "destroy", dn]);
        fleet.ends_as(dn, "destroyed");
    }
    until("the rival's tasks run, of which none was begun anew", || (rival.running() == before).then_some(()));
    // One of ours may be listed for a moment after its end.
    until_told("Mesos has the rival's tasks and no other", || {
        let state = fleet.mesos();
        let tasks = |own: bool| {
            let frameworks = state["frameworks"].as_array().into_iter().flatten();
            let those = frameworks.filter(|framework| (framework["name"] == "bigdata") == own);
            those.map(|framework| framework["tasks"].as_array().map_or(0, Vec::len)).sum::<usize>()
        };
        ((tasks(true), tasks(false)) == (0, before.len())).then_some(()).ok_or(format!("{state:#}"))
    });
    // Of volumes Mesos tells there alone.
    until_told("Mesos has the rival's volumes", || {
        let agents = Value::from(fleet.agents());
        let has = |volume: &&str| agents.to_string().contains(*volume);
        VOLUMES.iter().all(has).then_some(()).ok_or(format!("{agents:#}"))
    });
    is_reported(fleet);
    rival.leave(fleet);
    // What was the rival's is listed until the framework sees the agents again.
    checks::nothing_of_ours_is_left(fleet);
}

/// The rival's volumes stand among the orphans: one with whose it is, the other with that nobody says so.
fn is_reported(fleet: &Fleet) {
    until("the rival's volumes are reported", || {
        let orphans = fleet.get(&format!("{}/internal/v1/orphans", fleet.leader_url()))?;
        let orphans = orphans["orphans"].as_array()?;
        let is_told = |(volume, words): (&str, &str)| {
            let of_volume = |orphan: &&Value| orphan["id"].as_str().is_some_and(|id| id.contains(volume));
            orphans
                .iter()
                .filter(of_volume)
                .any(|orphan| orphan["reason"].as_str().is_some_and(|it| it.contains(words)))
        };
        VOLUMES.into_iter().zip([REGISTRY, "it carries no registry's label"]).all(is_told).then_some(())
    });
}

/// Nothing arrives on the connections that there are, and nobody closes them: two heartbeats are missed, and another
/// subscription is made.
fn silent(fleet: &Fleet) {
    behind_one(fleet, |proxy| {
        let dn = launched(fleet, 1);
        let before = (mesos_framework(fleet), task_ids(fleet));
        let began = Instant::now();
        proxy.swallow();
        let second = begun(fleet);
        until("the silence is told of", || is_explained(fleet, &second, "no word from Mesos since"));
        fleet.ends_as(&second, "ready");
        let took = began.elapsed();
        eprintln!("a launch that waited for the end of the silence was ready after {:.1} s", took.as_secs_f64());
        assert!(took > HEARTBEAT && proxy.swallowed() > 0, "nothing was lost");
        let after = task_ids(fleet);
        assert_eq!(mesos_framework(fleet), before.0);
        assert!(before.1.iter().all(|task| after.contains(task)), "{before:?} {after:?}");
        checks::nodes_serve(fleet, &dn);
        fleet.run(&["cluster", "destroy", &second]);
        destroyed(fleet, &dn);
    });
}

/// The agents are killed while the launch on their offers is under way.
fn rescinded(fleet: &Fleet) {
    behind_one(fleet, |proxy: &Proxy| {
        proxy.hold_launches(true);
        let dn = begun(fleet);
        until("a launch is under way", || (proxy.held() > 0).then_some(()));
        for agent in AGENTS {
            fleet.control(&["kill", agent]);
        }
        until("the offers are taken back", || {
            let state = fleet.mesos();
            let offers = |framework: &Value| framework["offers"].as_array().is_some_and(Vec::is_empty);
            (state["activated_slaves"] == 0.0 && state["frameworks"].as_array()?.iter().all(offers)).then_some(())
        });
        proxy.hold_launches(false);
        until("the launch is found to have failed", || {
            let events = fleet.json(&["cluster", "events", &dn]);
            events.to_string().contains("was not launched, or lost").then_some(())
        });
        for agent in AGENTS {
            fleet.control(&["start", agent]);
        }
        fleet.ends_as(&dn, "ready");
        checks::nodes_serve(fleet, &dn);
        checks::history_is_whole(fleet, &dn);
        destroyed(fleet, &dn);
    });
}

/// The master is stopped, and its connections stay open.
fn frozen(fleet: &Fleet) {
    let dn = launched(fleet, 2);
    let before = (mesos_framework(fleet), task_ids(fleet));
    fleet.control(&["kill", "mesos-master", "STOP"]);
    let second = begun(fleet);
    until("it is told that the master is away", || is_explained(fleet, &second, "the Mesos master is away"));
    checks::nodes_serve(fleet, &dn);
    fleet.control(&["kill", "mesos-master", "CONT"]);
    fleet.ends_as(&second, "ready");
    let after = task_ids(fleet);
    assert_eq!(mesos_framework(fleet), before.0);
    assert!(before.1.iter().all(|task| after.contains(task)), "{before:?} {after:?}");
    fleet.run(&["cluster", "destroy", &second]);
    destroyed(fleet, &dn);
}
