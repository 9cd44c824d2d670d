//! Events that arrive when what they tell of is long over.

use crate::Scenario;
use crate::checks;
use crate::courier::Courier;
use crate::fleet::{FRAMEWORKS, Fleet, until_told};
use crate::scenarios::{destroyed, task_ids};
use serde_json::Value;

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[("events_that_are_late_change_nothing", late)];

/// Who reads the registry's truth on a timer, and how often here.
const READERS: [&str; 4] = [FRAMEWORKS[0], FRAMEWORKS[1], "orchestrator-1", "orchestrator-2"];
const OFTEN: [(&str, &str); 2] =
    [("BIGDATA__FRAMEWORK__RECONCILE_MS", "1000"), ("BIGDATA__ORCHESTRATOR__RECONCILE_INTERVAL_MS", "1000")];

/// Three clusters are launched and one of them is destroyed, before any word of it arrives first; of the third the late
/// words arrive while it is being destroyed.
fn late(fleet: &Fleet) {
    fleet.set(&READERS, &OFTEN, || {
        let mut courier = Courier::start(fleet);
        let [stays, goes, going] = ["size=2", "size=1", "size=1"].map(|size| begun(fleet, size));
        for dn in [&stays, &goes, &going] {
            fleet.ends_as(dn, "ready");
        }
        let tasks = task_ids(fleet);
        fleet.run(&["cluster", "destroy", &goes]);
        fleet.ends_as(&goes, "destroyed");
        courier.wait();
        fleet.run(&["cluster", "destroy", &going]);
        let before = [&stays, &goes].map(|dn| ways(fleet, dn));
        let late = courier.deliver(fleet);
        assert!(late > 20, "{late} events were late");

        fleet.ends_as(&going, "destroyed");
        assert_eq!([&stays, &goes].map(|dn| ways(fleet, dn)), before, "late words moved a cluster");
        fleet.ends_as(&stays, "ready");
        until_told(&format!("two tasks run still of {tasks:?}"), || {
            let left = task_ids(fleet);
            (left.len() == 2 && left.iter().all(|task| tasks.contains(task))).then_some(()).ok_or(format!("{left:?}"))
        });
        checks::nodes_serve(fleet, &stays);
        for dn in [&stays, &goes, &going] {
            checks::history_is_whole(fleet, dn);
        }
        checks::all_is_well(fleet, "late events");
        destroyed(fleet, &stays);
        for dn in [&stays, &goes, &going] {
            let said = messages(fleet, dn).filter(|message| message.contains("every lease is free")).count();
            assert_eq!(said, 1, "{dn} was released more than once: {:#?}", messages(fleet, dn).collect::<Vec<_>>());
        }
    });
}

fn begun(fleet: &Fleet, size: &str) -> String {
    fleet.json(&["launch", "reference", "1.0.0", size])["dn"].as_str().unwrap().to_owned()
}

fn events(fleet: &Fleet, dn: &str) -> Vec<Value> {
    fleet.json(&["cluster", "events", dn])["events"].as_array().unwrap().clone()
}

fn messages(fleet: &Fleet, dn: &str) -> impl Iterator<Item = String> {
    events(fleet, dn).into_iter().map(|event| event["message"].as_str().unwrap_or_default().to_owned())
}

/// The statuses that a cluster has come through, and what became of the operations that users asked for. The platform's own
/// come and go with a node that was out of sight for a moment.
fn ways(fleet: &Fleet, dn: &str) -> Vec<Value> {
    let operations = fleet.json(&["operation", "list", dn]);
    let of_users = operations["operations"].as_array().unwrap().iter().filter(|operation| operation["cause"].is_null());
    let ids: Vec<&str> = of_users.map(|operation| operation["id"].as_str().unwrap()).collect();
    let is_of_users = |event: &Value| {
        let message = event["message"].as_str().unwrap_or_default();
        message.ends_with("was asked for") || ids.iter().any(|id| message.contains(id))
    };
    let moves = |event: &Value| event["kind"] == "status" || (event["kind"] == "operation" && is_of_users(event));
    events(fleet, dn).into_iter().filter(moves).collect()
}
