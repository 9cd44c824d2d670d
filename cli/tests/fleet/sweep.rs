//! A fault at a random moment of a launch, of a change and of a destroy: every accepted request finishes, none twice, nothing
//! leaks.

use crate::Scenario;
use crate::checks;
use crate::faults::{self, Fault};
use crate::fleet::{Fleet, until, until_told};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("faults_cost_time_and_nothing_else", |fleet| {
        register(fleet, "lasting", "#!/bin/sh\n");
        sweep(fleet, launch_and_destroy);
    }),
    ("faults_during_a_scale_and_an_upgrade_cost_time_and_nothing_else", |fleet| {
        register(fleet, "lasting", "#!/bin/sh\n");
        sweep(fleet, scale_and_upgrade);
    }),
    ("faults_during_a_retry_and_a_reconfiguration_cost_time_and_nothing_else", |fleet| {
        register(fleet, "fickle", FICKLE);
        sweep(fleet, retry_and_reconfigure);
    }),
];

/// Moments after a request within which the fault strikes: a launch and a destroy take less.
const WINDOW_MILLIS: u64 = 1500;
/// The same for changes, which go from node to node.
const CHANGE_MILLIS: u64 = 4000;
/// What the fickle product's script does first: without its trace on a node it fails.
const FICKLE: &str = "#!/bin/sh\n\
    if [ \"${1-}\" = start ] && ! bigdata node get node0 trace >/dev/null 2>&1; then\n\
    echo x | bigdata node put node0 trace\necho 'no luck today' >&2\nexit 3\nfi\n";

pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The faults to choose from.
fn faults(rounds: u64) -> Vec<&'static Fault> {
    let named = std::env::var("BIGDATA_FLEET_FAULT").ok();
    let long: &[Fault] = if rounds == 0 || named.is_some() { faults::LONG } else { &[] };
    let all = faults::ALL.iter().chain(long);
    let chosen: Vec<&Fault> =
        all.filter(|fault| named.as_ref().is_none_or(|name| fault.name.contains(name.as_str()))).collect();
    assert!(!chosen.is_empty(), "there is no fault {named:?}");
    chosen
}

fn sweep(fleet: &Fleet, round_of: fn(&Fleet, &Fault, &str, &mut SmallRng)) {
    let rounds = number("BIGDATA_FLEET_ROUNDS").unwrap_or(4);
    let seed = number("BIGDATA_FLEET_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let mut random = SmallRng::seed_from_u64(seed);
    let mut order = faults(rounds);
    order.shuffle(&mut random);
    let rounds = if rounds == 0 { order.len() } else { usize::try_from(rounds).unwrap() };
    eprintln!("fleet sweep: {rounds} rounds with BIGDATA_FLEET_SEED={seed}");
    for (round, fault) in order.iter().cycle().take(rounds).enumerate() {
        let began = Instant::now();
        round_of(fleet, fault, &format!("fleet-{seed}-{round}"), &mut random);
        eprintln!("round {round}: {} ({:.1} s)", fault.name, began.elapsed().as_secs_f64());
    }
}

/// One cluster's life, with the fault at its beginning and at its end.
fn launch_and_destroy(fleet: &Fleet, fault: &Fault, key: &str, random: &mut SmallRng) {
    let launch = ["launch", "lasting", "1", "size=2", "--idempotency-key", key];
    struck(fleet, &launch, WINDOW_MILLIS, fault, random);
    // What was accepted is finished; what was not is asked for again, under the same key: in the end there is one.
    let dn = fleet.json(&launch)["dn"].as_str().unwrap().to_owned();
    fleet.ends_as(&dn, "ready");
    checks::nodes_serve(fleet, &dn);
    checks::history_is_whole(fleet, &dn);
    checks::has_volumes(fleet, 1);
    checks::all_is_well(fleet, fault.name);
    struck(fleet, &["cluster", "destroy", &dn], WINDOW_MILLIS, fault, random);
    fleet.run(&["cluster", "destroy", &dn]);
    fleet.ends_as(&dn, "destroyed");
    checks::history_is_whole(fleet, &dn);
    checks::nothing_is_left(fleet);
    checks::all_is_well(fleet, fault.name);
}

/// Sends a request, and lets the fault strike at a random moment within so many milliseconds after it.
fn struck(fleet: &Fleet, request: &[&str], window: u64, fault: &Fault, random: &mut SmallRng) {
    let mut client = fleet.begin(request);
    std::thread::park_timeout(Duration::from_millis(random.random_range(0..window)));
    fault.strike(fleet);
    let _ = client.kill();
    let _ = client.wait();
}

/// The fault while nodes come, while each is started anew with another option, and while one goes.
fn scale_and_upgrade(fleet: &Fleet, fault: &Fault, key: &str, random: &mut SmallRng) {
    let launch = ["launch", "lasting", "1", "size=1", "mem=48", "--idempotency-key", &format!("{key}-changes")];
    let dn = fleet.json(&launch)["dn"].as_str().unwrap().to_owned();
    fleet.ends_as(&dn, "ready");
    for (request, size, mem) in
        [(["scale", &dn, "size=3"], 3, 48), (["upgrade", &dn, "mem=40"], 3, 40), (["scale", &dn, "size=2"], 2, 40)]
    {
        struck(fleet, &request, CHANGE_MILLIS, fault, random);
        until_told(&format!("{request:?} is done"), || {
            let (view, list) = (fleet.cluster(&dn)["data"].take(), fleet.json(&["cluster", "nodes", &dn]));
            let nodes = list["nodes"].as_array().unwrap();
            let fits = |node: &Value| node["mem"] == mem && node["leaving"] != true && node["status"] == "running";
            let rests = view["status"] == "ready" && view["operation"].is_null();
            if rests && nodes.len() == size && nodes.iter().all(fits) && view["health"] == "healthy" {
                return Ok(());
            }
            if rests && (nodes.len() != size || nodes.iter().any(|node| node["mem"] != mem)) {
                // It was not accepted, or its script could not reach a node: another try mends that.
                let _ = fleet.begin(&request).wait();
            }
            Err(format!("{view:#} {list:#}"))
        });
        checks::nodes_serve(fleet, &dn);
        checks::history_is_whole(fleet, &dn);
        checks::has_volumes(fleet, 1);
        checks::all_is_well(fleet, fault.name);
    }
    fleet.run(&["cluster", "destroy", &dn]);
    fleet.ends_as(&dn, "destroyed");
    checks::history_is_whole(fleet, &dn);
    checks::nothing_is_left(fleet);
}

/// Registers a product like the reference, whose script begins with these words. Its second node has a persistent disk, the
/// others have none.
fn register(fleet: &Fleet, name: &str, script: &str) {
    const PLAIN: &str = "\"ports\": {";
    const WITH_DISK: &str =
        r#"{% if n == 1 %}"disks": { "data": { "destination": "/data", "size": 16 } },{% endif %} "ports": {"#;
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/reference/1.0.0");
    let read = |file: &str| std::fs::read_to_string(model.join(file)).unwrap();
    let folder = fleet.path().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let template = read("template.json").replace(PLAIN, WITH_DISK);
    assert!(template.contains(WITH_DISK), "the reference product's template reads differently: {template}");
    for (file, text) in [
        ("product.json", format!(r#"{{"name": "{name}", "version": "1"}}"#)),
        ("options.json", read("options.json")),
        ("template.json", template),
        ("orchestrator", format!("{script}{}", read("orchestrator"))),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
    fleet.run(&["product", "register", folder.to_str().unwrap()]);
}

/// The fault while a failed cluster is taken up again, and while a node that was lost is fitted in again.
fn retry_and_reconfigure(fleet: &Fleet, fault: &Fault, key: &str, random: &mut SmallRng) {
    let launch = ["launch", "fickle", "1", "size=2", "--idempotency-key", &format!("{key}-fickle")];
    let dn = fleet.json(&launch)["dn"].as_str().unwrap().to_owned();
    fleet.ends_as(&dn, "failed");
    let retry = ["cluster", "retry", &dn];
    struck(fleet, &retry, WINDOW_MILLIS, fault, random);
    until("the retry succeeds", || {
        let view = fleet.cluster(&dn);
        if view["data"]["status"] == "failed" {
            // It was not accepted, or its script could not reach the node: another try mends that.
            let _ = fleet.begin(&retry).wait();
        }
        (view["data"]["status"] == "ready").then_some(())
    });
    checks::nodes_serve(fleet, &dn);
    checks::all_is_well(fleet, fault.name);

    let former = until("node1 has a task", || task_of(fleet, "node1"));
    fleet.kill_task(&former);
    std::thread::park_timeout(Duration::from_millis(random.random_range(0..WINDOW_MILLIS)));
    fault.strike(fleet);
    until("the node has another attempt", || task_of(fleet, "node1").filter(|task| *task != former));
    checks::nodes_serve(fleet, &dn);
    fleet.ends_as(&dn, "ready");
    checks::history_is_whole(fleet, &dn);
    checks::has_volumes(fleet, 1);
    fleet.run(&["cluster", "destroy", &dn]);
    fleet.ends_as(&dn, "destroyed");
    checks::history_is_whole(fleet, &dn);
    checks::nothing_is_left(fleet);
    checks::all_is_well(fleet, fault.name);
}

/// The task of the only node of that name.
pub(crate) fn task_of(fleet: &Fleet, node: &str) -> Option<String> {
    let state = fleet.mesos();
    let tasks = state["frameworks"]
        .as_array()?
        .iter()
        .flat_map(|framework| framework["tasks"].as_array().into_iter().flatten());
    let task = tasks.into_iter().find(|task| task["name"] == node)?;
    Some(task["id"].as_str()?.to_owned())
}
