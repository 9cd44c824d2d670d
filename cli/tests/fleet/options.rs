//! What a fleet may be set to: TLS to RabbitMQ, an executor that Mesos fetches, a quota for its role.

use crate::Scenario;
use crate::fleet::{AGENTS, FRAMEWORKS, Fleet, programs, until, until_told};
use crate::scenarios::{destroyed, launched};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("services_speak_tls_to_a_rabbitmq_that_they_trust", tls),
    ("an_executor_that_mesos_fetches_is_run_if_its_sum_is_right", fetched),
    ("a_quota_that_is_used_up_is_told_and_its_end_lets_nodes_go_on", quota),
    ("what_others_have_reserved_is_told_and_its_end_lets_nodes_go_on", reserved),
];

/// Who speaks to RabbitMQ.
const SPEAKERS: [&str; 6] =
    ["registry-1", "registry-2", "framework-1", "framework-2", "orchestrator-1", "orchestrator-2"];
const BUS: &str = "BIGDATA__BUS__URL";

fn tls(fleet: &Fleet) {
    let (url, authority) = (fleet.address("FLEET_RABBITMQ_TLS"), fleet.address("FLEET_RABBITMQ_CA"));
    fleet.set(&SPEAKERS, &[(BUS, url), ("BIGDATA__BUS__CA_FILE", authority)], || {
        let dn = launched(fleet, 1);
        // One that is gone may be listed for a moment.
        until_told("every connection speaks TLS", || {
            let connections = fleet.rabbitmq(&["list_connections", "ssl"]);
            let protected = connections.lines().filter(|line| *line == "true").count();
            (protected >= SPEAKERS.len() && !connections.contains("false")).then_some(()).ok_or(connections)
        });
        destroyed(fleet, &dn);
    });

    // The system's authorities know nothing of it.
    fleet.control(&["stop", SPEAKERS[0]]);
    fleet.control_with(&["start", SPEAKERS[0]], &[(BUS, url)]);
    until("the broker is not trusted", || {
        let status = fleet.control(&["status"]);
        let line = status.lines().find(|line| line.starts_with(SPEAKERS[0]))?;
        line.contains("certificate").then_some(())
    });
    fleet.set(&SPEAKERS[..1], &[], || {});
}

fn sum_of(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// A product whose nodes need nothing that is not on every machine.
fn plain(fleet: &Fleet) {
    let folder = fleet.path().join("plain");
    std::fs::create_dir_all(&folder).unwrap();
    let node = json!({ "cpu": 0.1, "mem": 32, "command": "exec sleep 1000", "health": { "command": ["true"] } });
    let template = json!({ "nodes": { "solo": node }, "services": { "plain": { "nodes": ["solo"] } } });
    std::fs::write(folder.join("product.json"), r#"{"name": "plain", "version": "1"}"#).unwrap();
    std::fs::write(folder.join("template.json"), template.to_string()).unwrap();
    fleet.run(&["product", "register", folder.to_str().unwrap()]);
}

fn fetched(fleet: &Fleet) {
    plain(fleet);
    let program = fleet.path().join("fetched");
    std::fs::copy(programs().join("bigdata-executor"), &program).unwrap();
    let uri = format!("file://{}", program.display());
    let with = |sum: &str, body: &dyn Fn(&str)| {
        let settings =
            [("BIGDATA__FRAMEWORK__EXECUTOR_URI", uri.as_str()), ("BIGDATA__FRAMEWORK__EXECUTOR_SHA256", sum)];
        fleet.set(&FRAMEWORKS, &settings, || {
            let view = fleet.json(&["launch", "plain", "1"]);
            body(view["dn"].as_str().unwrap());
        });
    };
    with(&sum_of(&program), &|dn| {
        fleet.ends_as(dn, "ready");
        let of_sandbox = |pid: &String| {
            let file = std::fs::read_link(Path::new("/proc").join(pid).join("exe")).unwrap_or_default();
            file.starts_with(fleet.path().join("mesos")) && file.ends_with("bigdata-executor")
        };
        until("an executor runs from its sandbox", || fleet.node_processes().iter().any(of_sandbox).then_some(()));
        destroyed(fleet, dn);
    });
    with(&"0".repeat(64), &|dn| {
        fleet.ends_as(dn, "failed");
        let reason = fleet.cluster(dn)["data"]["reason"].to_string();
        assert!(reason.contains("executor_sha256"), "{reason}");
        destroyed(fleet, dn);
    });
}

/// Asks Mesos's master for something as an operator does; whether it was done.
fn operate(fleet: &Fleet, call: &Value) -> bool {
    let (call, url) = (call.to_string(), format!("{}/api/v1", fleet.address("FLEET_MESOS")));
    let arguments = ["--silent", "--fail", "--header", "Content-Type: application/json", "--data", &call, &url];
    Command::new("curl").args(arguments).status().unwrap().success()
}

/// Sets how many CPUs the framework's role may have; none: as many as there are. Whether it was done.
fn limit(fleet: &Fleet, cpus: Option<f64>) -> bool {
    let limits = cpus.map_or(json!({}), |cpus| json!({ "cpus": { "value": cpus } }));
    let quota = json!({ "force": true, "quota_configs": [{ "role": "bigdata", "limits": limits }] });
    operate(fleet, &json!({ "type": "UPDATE_QUOTA", "update_quota": quota }))
}

fn quota(fleet: &Fleet) {
    // A node of the reference product takes 0.15 with its executor.
    until("the role has a quota", || limit(fleet, Some(0.2)).then_some(()));
    let first = launched(fleet, 1);
    let second = fleet.json(&["launch", "reference", "1.0.0", "size=1"])["dn"].as_str().unwrap().to_owned();
    let path = format!("/explain/{second}");
    let refusal = until("the quota is told", || {
        let explanation = fleet.ask(&path)?;
        let refusals = explanation["nodes"].as_array()?.first()?["refusals"].as_array()?.clone();
        refusals.into_iter().find(|refusal| refusal["reason"] == "quota")
    });
    assert_eq!(refusal["nearest"], "the quota of the role bigdata leaves 0.05 of 0.2 CPUs, and the node needs 0.15");
    until("the role's quota is lifted", || limit(fleet, None).then_some(()));
    fleet.ends_as(&second, "ready");
    fleet.run(&["cluster", "destroy", &second]);
    destroyed(fleet, &first);
}

/// What an agent has, less what nodes could do with: CPUs of another registry in the same role.
fn of_others(agent: &Value) -> Value {
    let label = json!({ "key": "bigdata_registry", "value": "elsewhere" });
    let reservation = json!({ "type": "DYNAMIC", "role": "bigdata", "labels": { "labels": [label] } });
    let cpus = agent["resources"]["cpus"].as_f64().unwrap() - 0.05;
    json!([{ "name": "cpus", "type": "SCALAR", "scalar": { "value": cpus }, "reservations": [reservation] }])
}

/// Reserves an agent's CPUs for others, or lets them go. Whether it was done.
fn reserve(fleet: &Fleet, verb: &str, agent: &Value) -> bool {
    let what = json!({ "agent_id": { "value": agent["id"] }, "resources": of_others(agent) });
    let kind = format!("{verb}_RESOURCES");
    operate(fleet, &json!({ "type": kind, kind.to_lowercase(): what }))
}

fn reserved(fleet: &Fleet) {
    let agents = until("the master lists every agent", || {
        let active: Vec<Value> = fleet.agents().into_iter().filter(|agent| agent["active"] == true).collect();
        (active.len() == AGENTS.len()).then_some(active)
    });
    for agent in &agents {
        // What an earlier test has used is free with the end of its executors.
        until("an agent's CPUs are reserved", || reserve(fleet, "RESERVE", agent).then_some(()));
    }
    let dn = fleet.json(&["launch", "reference", "1.0.0", "size=1"])["dn"].as_str().unwrap().to_owned();
    let refusals = until("whose the CPUs are is told", || {
        let explanation = fleet.ask(&format!("/explain/{dn}"))?;
        let refusals = explanation["nodes"].as_array()?.first()?["refusals"].as_array()?.clone();
        // Until its offers come, an agent is one that offers nothing.
        let is_told = |refusal: &Value| refusal["reason"] == "role" && refusal["agents"] == agents.len();
        refusals.iter().any(is_told).then_some(refusals)
    });
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    let words = refusals[0]["nearest"].as_str().unwrap();
    assert!(words.contains("lacks 0.1 CPUs, and has reserved 3.95 for the registry elsewhere"), "{words}");
    for agent in &agents {
        until("an agent's CPUs are free again", || reserve(fleet, "UNRESERVE", agent).then_some(()));
    }
    fleet.ends_as(&dn, "ready");
    destroyed(fleet, &dn);
}
