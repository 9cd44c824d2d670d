//! Comparisons of renderings with what a cluster has.

use super::plan::{Comparison, Former, Present, StandIns, compare};
use bigdata_common::Name;
use bigdata_common::blueprint::{Blueprint, Command, Node};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn node(number: u32, env: Value) -> Value {
    json!({"cpu": 1.0, "mem": 64, "command": ["run", format!("--id={number}")], "env": env})
}

/// Nodes of these numbers, all of one service; each has this environment.
fn sized(numbers: &[u32], env: &Value) -> Blueprint {
    let nodes: serde_json::Map<String, Value> =
        numbers.iter().map(|number| (format!("node{number}"), node(*number, env.clone()))).collect();
    let names: Vec<&String> = nodes.keys().collect();
    let services = json!({"db": {"nodes": names}});
    serde_json::from_value(json!({"dnsname": "d", "nodes": nodes, "services": services})).unwrap()
}

fn former_of(blueprint: &Blueprint, stand_ins: StandIns) -> Former {
    let peers: BTreeSet<Name> = blueprint.nodes.keys().cloned().collect();
    let present = |(name, node): (&Name, &Node)| (name.clone(), Present { node: node.clone(), peers: peers.clone() });
    Former { nodes: blueprint.nodes.iter().map(present).collect(), services: blueprint.services.clone(), stand_ins }
}

fn former(numbers: &[u32]) -> Former {
    former_of(&sized(numbers, &json!({})), StandIns::new())
}

/// What the cluster has once the comparison has been carried out.
fn after(comparison: &Comparison) -> Former {
    former_of(&comparison.blueprint, comparison.stand_ins.clone())
}

fn texts<'a>(names: impl IntoIterator<Item = &'a Name>) -> Vec<&'a str> {
    names.into_iter().map(Name::as_str).collect()
}

fn named(names: &[&str]) -> Vec<Name> {
    names.iter().map(|text| name(text)).collect()
}

#[test]
fn out_and_in_again() {
    let out = compare(&former(&[1, 2]), &sized(&[1, 2, 3, 4], &json!({})), &[]).unwrap();
    assert_eq!((texts(&out.added), texts(&out.unchanged)), (vec!["node3", "node4"], vec!["node1", "node2"]));
    assert!(out.removed.is_empty() && out.changed.is_empty());
    let back = compare(&after(&out), &sized(&[1], &json!({})), &[]).unwrap();
    assert_eq!(texts(&back.removed), ["node4", "node3", "node2"]);
    assert_eq!((texts(&back.unchanged), back.added.len()), (vec!["node1"], 0));
}

#[test]
fn a_named_node_goes_and_another_stays_in_its_place() {
    let plan = compare(&former(&[1, 2, 3]), &sized(&[1, 2], &json!({})), &named(&["node1"])).unwrap();
    assert_eq!((texts(&plan.removed), plan.added.len(), plan.changed.len()), (vec!["node1"], 0, 0));
    assert_eq!(texts(plan.blueprint.nodes.keys()), ["node3", "node2"]);
    assert_eq!(texts(&plan.blueprint.services["db"].nodes), ["node3", "node2"]);
    // It stays what it was.
    let command = serde_json::to_value(&plan.blueprint.nodes["node3"].command).unwrap();
    assert_eq!(command, json!(["run", "--id=3"]));
    // The same size again plans nothing.
    let again = compare(&after(&plan), &sized(&[1, 2], &json!({})), &[]).unwrap();
    assert!(again.added.is_empty() && again.removed.is_empty() && again.changed.is_empty());
    assert_eq!(again.stand_ins, plan.stand_ins);
    // With three, each has its own place again.
    let out = compare(&after(&again), &sized(&[1, 2, 3], &json!({})), &[]).unwrap();
    assert_eq!((texts(&out.added), out.stand_ins.len()), (vec!["node1"], 0));
    assert!(out.removed.is_empty() && out.changed.is_empty());
    // A single place goes to the node that stands in it, unless that is named.
    let one = compare(&after(&again), &sized(&[1], &json!({})), &[]).unwrap();
    assert_eq!((texts(&one.removed), texts(&one.unchanged)), (vec!["node2"], vec!["node3"]));
    let other = compare(&after(&again), &sized(&[1], &json!({})), &named(&["node3"])).unwrap();
    assert_eq!((texts(&other.removed), texts(&other.unchanged)), (vec!["node3"], vec!["node2"]));
    // Another rendering of its place is a change of the node that stands there.
    let upgraded = compare(&after(&again), &sized(&[1, 2], &json!({"LEVEL": "2"})), &[]).unwrap();
    assert_eq!(texts(upgraded.changed.keys()), ["node3", "node2"]);
    assert_eq!(upgraded.changed["node3"], ["/env"]);
    assert!(upgraded.blueprint.nodes["node3"].env.contains_key("LEVEL"));
}

#[test]
fn named_nodes_that_cannot_go() {
    let words = |remove: &[&str], to: &[u32]| {
        let faults = compare(&former(&[1, 2, 3]), &sized(to, &json!({})), &named(remove)).unwrap_err();
        assert!(faults.iter().all(|fault| fault.pointer == "/remove"));
        faults.into_iter().map(|fault| fault.detail).collect::<Vec<_>>().join("; ")
    };
    assert!(words(&["node9"], &[1, 2]).contains("no node node9"));
    assert!(words(&["node1", "node1"], &[1]).contains("twice"));
    assert!(words(&["node1", "node2"], &[1, 2]).contains("1 of its nodes go, and 2"));
    assert!(words(&["node1"], &[1, 2, 3, 4]).contains("0 of its nodes go"));
    // Of other services, or with other resources.
    let mut unlike = former(&[1, 2, 3]);
    unlike.services["db"].nodes.pop();
    assert!(compare(&unlike, &sized(&[1, 2], &json!({})), &named(&["node1"])).is_err());
    let mut unlike = former(&[1, 2, 3]);
    unlike.nodes["node3"].node.mem = 128;
    assert!(compare(&unlike, &sized(&[1, 2], &json!({})), &named(&["node1"])).is_err());
}

#[test]
fn addresses_of_passing_nodes_are_no_difference_and_of_gone_ones_a_fault() {
    let peers = |numbers: &[u32]| {
        let addresses: Vec<String> = numbers.iter().map(|number| format!("@{{address:node{number}}}")).collect();
        json!({"PEERS": addresses.join(",")})
    };
    let two = former_of(&sized(&[1, 2], &peers(&[1, 2])), StandIns::new());
    let out = compare(&two, &sized(&[1, 2, 3], &peers(&[1, 2, 3])), &[]).unwrap();
    assert_eq!((texts(&out.added), out.changed.len()), (vec!["node3"], 0));
    let counted = sized(&[1, 2, 3], &json!({"PEERS": "3: @{address:node1},@{address:node2},@{address:node3}"}));
    assert_eq!(compare(&two, &counted, &[]).unwrap().changed["node1"], ["/env/PEERS"]);
    let back = compare(&after(&out), &sized(&[1, 2], &peers(&[1, 2])), &[]).unwrap();
    assert_eq!((texts(&back.removed), back.changed.len()), (vec!["node3"], 0));
    // node2 is told of node1, which node3 cannot stand for then.
    let faults = compare(&after(&out), &sized(&[1, 2], &peers(&[1, 2])), &named(&["node1"])).unwrap_err();
    assert!(faults.iter().any(|fault| fault.pointer == "/nodes/node2/env/PEERS"), "{faults:?}");
    assert!(faults.iter().all(|fault| fault.detail.contains("names the address of node1")), "{faults:?}");
}

#[test]
fn what_a_script_alone_reads_is_no_difference() {
    let mut rendered = sized(&[1], &json!({}));
    rendered.nodes["node1"].properties.insert("peers".to_owned(), json!(3));
    assert!(compare(&former(&[1]), &rendered, &[]).unwrap().changed.is_empty());
    rendered.nodes["node1"].mem = 128;
    rendered.nodes["node1"].stats = Some(Command::Shell("s".to_owned()));
    assert_eq!(compare(&former(&[1]), &rendered, &[]).unwrap().changed["node1"], ["/mem", "/stats"]);
}
