//! The control plane's database is lost while nodes run: on an empty one nothing begins anew, and the backup is restored as
//! docs/runbook.md says.

use crate::Scenario;
use crate::checks;
use crate::fleet::{Fleet, until};
use crate::scenarios::{launched, mesos_framework, task_ids};
use serde_json::Value;
use std::process::Command;

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("a_lost_database_is_told_of_and_its_backup_restored", lost),
    ("a_database_of_another_registry_is_told_of", foreign),
];

/// Whatever uses the database.
const USERS: [&str; 6] = ["registry-1", "registry-2", "framework-1", "framework-2", "orchestrator-1", "orchestrator-2"];

/// Runs one of Postgres's programs; it must succeed.
fn postgres(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Stops what uses the database, does something to it, and starts all of them again.
fn without_users(fleet: &Fleet, body: impl FnOnce()) {
    fleet.control(&[&["stop"], &USERS[..]].concat());
    body();
    fleet.control(&[&["start"], &USERS[..]].concat());
}

fn empty(fleet: &Fleet) {
    fleet.sql("DROP SCHEMA registry, framework, orchestrator CASCADE");
}

/// What a framework says on `/ready`, as soon as these words stand there.
fn refusal(fleet: &Fleet, words: &str) -> String {
    until(&format!("a framework is not ready since {words}"), || {
        let said = |url: &str| {
            let output = Command::new("curl").args(["--silent", "--max-time", "5", &format!("{url}/ready")]).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        fleet.address("FLEET_FRAMEWORK").split(',').map(said).find(|answer| answer.contains(words))
    })
}

/// A new cluster of one node, and the node's task.
fn launched_with_task(fleet: &Fleet) -> (String, String) {
    let before = task_ids(fleet);
    let dn = launched(fleet, 1);
    let task = task_ids(fleet).into_iter().find(|task| !before.contains(task));
    (dn, task.unwrap())
}

fn node(fleet: &Fleet, dn: &str) -> Value {
    fleet.json(&["cluster", "nodes", dn])["nodes"][0].clone()
}

/// One cluster stays, another is destroyed after the backup, a third one launched after it.
fn lost(fleet: &Fleet) {
    let ((stays, kept), goes) = (launched_with_task(fleet), launched(fleet, 1));
    let (framework, former) = (mesos_framework(fleet), node(fleet, &goes));
    let dump = fleet.path().join("bigdata.dump").display().to_string();
    let database = fleet.address("FLEET_POSTGRES");
    postgres("pg_dump", &["--format=custom", &format!("--file={dump}"), database]);
    let (_, unknown) = launched_with_task(fleet);
    fleet.run(&["cluster", "destroy", &goes]);
    fleet.ends_as(&goes, "destroyed");
    // Its task may have been listed for a moment longer.
    let tasks = until("the tasks of two clusters are left", || Some(task_ids(fleet)).filter(|tasks| tasks.len() == 2));

    without_users(fleet, || empty(fleet));
    let words = refusal(fleet, "restore the database's backup");
    assert!(words.contains("framework.adopt_nothing") && tasks.iter().any(|task| words.contains(task)), "{words}");
    assert_eq!((mesos_framework(fleet), task_ids(fleet)), (framework.clone(), tasks.clone()), "it began anew");

    without_users(fleet, || {
        empty(fleet);
        postgres("pg_restore", &["--no-owner", "--dbname", database, &dump]);
    });
    fleet.control(&[&["wait"], &USERS[..]].concat());
    until("what was launched since the backup is listed", || {
        let answer = fleet.ask("/admin/orphans")?;
        let is_unknown = |orphan: &&Value| orphan["id"] == *unknown;
        let orphan = answer["orphans"].as_array()?.iter().find(is_unknown)?;
        orphan["reason"].as_str()?.contains("the framework's database does not know it").then_some(())
    });
    until("what was destroyed since the backup is back, and its node started anew", || {
        let node = node(fleet, &goes);
        (node["status"] == "running" && node["attempt"] != former["attempt"]).then_some(())
    });
    assert_eq!(mesos_framework(fleet), framework);
    let now = task_ids(fleet);
    assert!(now.contains(&kept) && now.contains(&unknown), "{now:?}, and before {tasks:?}");
    checks::nodes_serve(fleet, &stays);
    fleet.ends_as(&stays, "ready");
    // As an operator ends it: on its agent.
    fleet.kill_task(&unknown);
    fleet.run(&["cluster", "destroy", &goes]);
    fleet.ends_as(&goes, "destroyed");
    let next = launched(fleet, 1);
    checks::nodes_serve(fleet, &next);
    for dn in [&stays, &next] {
        fleet.run(&["cluster", "destroy", dn]);
        fleet.ends_as(dn, "destroyed");
        checks::history_is_whole(fleet, dn);
    }
    checks::nothing_is_left(fleet);
}

/// The registry's part of the database is another's, and the framework's is not.
fn foreign(fleet: &Fleet) {
    let dn = launched(fleet, 1);
    let (framework, tasks, own) = (mesos_framework(fleet), task_ids(fleet), fleet.registry());
    let is_now = |id: &str| fleet.sql(&format!("UPDATE registry.registry_facts SET value = '{id}' WHERE name = 'id'"));
    without_users(fleet, || is_now("11111111-2222-4333-8444-555555555555"));
    let words = refusal(fleet, "belong to");
    assert!(words.contains(&own), "{words}");
    assert_eq!((mesos_framework(fleet), task_ids(fleet)), (framework.clone(), tasks.clone()));
    without_users(fleet, || is_now(&own));
    fleet.control(&[&["wait"], &USERS[..]].concat());
    checks::nodes_serve(fleet, &dn);
    assert_eq!((mesos_framework(fleet), task_ids(fleet)), (framework, tasks));
    crate::scenarios::destroyed(fleet, &dn);
}
