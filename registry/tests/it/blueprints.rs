//! Rendered documents: what is understood, and every fault in its place.

use bigdata_common::ClusterId;
use bigdata_common::blueprint::{Command, Constraint, DiskKind, PortRef, Probe, Start};
use bigdata_common::status::Termination;
use bigdata_registry::blueprint::{NODES_MAX, Read, read};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

fn id() -> ClusterId {
    "clusters--ann--demo--1__0--1".parse().unwrap()
}

fn secrets() -> BTreeSet<String> {
    BTreeSet::from(["password".to_owned()])
}

fn understood(document: &Value) -> Read {
    read(document, &id(), &secrets()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn pointers(document: &Value) -> Vec<String> {
    let faults = read(document, &id(), &secrets()).err().unwrap_or_default();
    assert!(faults.iter().all(|fault| !fault.detail.is_empty()));
    faults.into_iter().map(|fault| fault.pointer).collect()
}

/// A document of one node with these fields beside what it needs.
fn with(fields: Value) -> Value {
    let mut node = json!({"cpu": 1, "mem": 64, "command": "sleep 9", "ports": {"http": 8080}, "disks": {"data": {"destination": "/d"}}});
    let (Value::Object(node), Value::Object(fields)) = (&mut node, fields) else { panic!("objects") };
    node.extend(fields);
    json!({"nodes": {"n": node}})
}

#[test]
fn what_containers_alone_can_say() {
    let credentials = json!({"username": "u", "password": "@{secret:password}"});
    let node = |file: &str| json!({"nodes": {"n": {"cpu": 1, "mem": 64, "docker_image": "i", "files": {file: "x"}, "image_credentials": credentials}}});
    let read = understood(&node("/etc/a.conf"));
    let node_read = &read.blueprint.nodes["n"];
    assert!(node_read.files.contains_key("/etc/a.conf"));
    assert_eq!(node_read.image_credentials.as_ref().unwrap().username, "u");
    assert_eq!(pointers(&node("/etc/../a.conf")), ["/nodes/n/files/~1etc~1..~1a.conf"]);
}

#[test]
fn everything_that_can_be_said() {
    let document = json!({
        "dnsname": "my.cluster",
        "nodes": {"n": {
            "cpu": "0.5", "mem": "128", "docker_image": "i:1", "docker_opts": "-e X=@{port:http} --init",
            "command": ["run", "@{address}", "@{port:http}", "@{address:n}", "@{disk:data}", "@@{literal}",
                        "@{listen}:@{listen:http}"],
            "env": {"A": 1, "B": true, "PW": "@{secret:password}"},
            "files": {"etc/a.conf": "x=@{address}", "b": {"content": "y", "mode": "0640"}},
            "disks": {"data": {"destination": "/data"}, "big": {"destination": "/b", "size": 5, "persistent": false, "type": "whole"}},
            "networks": {"eth0": {"networkname": "admin", "type": "dynamic", "address": "_"},
                         "eth1": {"networkname": "s", "type": "static", "address": "10.0.0.7"},
                         "eth2": {"networkname": "s", "address": ""}},
            "ports": {"http": 8080, "rpc": {"port": 9000, "fixed": true}},
            "check": {"command": "true", "deadline": 5},
            "health": {"http": {"port": "http", "path": "/up"}, "interval": 0.5, "failures": 2},
            "start": "script",
            "constraints": [{"operator": "unique", "attribute": "hostname"}],
            "required_node": "c13-1",
            "restart": {"limit": 7, "window": 60, "backoff_ms": 10},
            "tags": "a,b", "extra": {"x": 1}
        }},
        "services": {"s": {"nodes": ["n"], "a.b": 1}, "none": {"nodes": []}},
        "termination": "keep-data", "on_failure": {"keep": 5}, "deadlines": {"placement": 1, "ready": 2.5},
        "status": "_", "extra": 1
    });
    let read = understood(&document);
    let node = &read.blueprint.nodes["n"];
    assert_eq!((node.cpu, node.mem, node.start), (0.5, 128, Start::Script));
    assert!(matches!(&node.command, Some(Command::Arguments(words)) if words.len() == 7));
    assert_eq!(node.env["A"], "1");
    assert_eq!((node.files["b"].mode, node.files["etc/a.conf"].mode), (0o640, 0o600));
    assert_eq!((node.disks["data"].size, node.disks["data"].persistent), (1024, true));
    assert_eq!((node.disks["big"].kind, node.disks["big"].persistent), (DiskKind::Whole, false));
    assert_eq!(node.networks["eth1"].address.as_deref(), Some("10.0.0.7"));
    assert!(node.networks["eth0"].address.is_none() && node.networks["eth2"].address.is_none());
    assert!(node.ports["rpc"].fixed && !node.ports["http"].fixed);
    let health = node.health.as_ref().unwrap();
    assert_eq!((health.interval_ms, health.failures), (500, 2));
    assert_eq!(health.probe, Probe::Http { port: PortRef::Name("http".parse().unwrap()), path: "/up".to_owned() });
    assert_eq!(node.check.as_ref().unwrap().deadline_ms, 5000);
    assert!(matches!(&node.constraints[1], Constraint::Equals { attribute, .. } if attribute == "hostname"));
    assert_eq!((node.restart.limit, node.restart.window_ms, node.restart.backoff_ms), (7, 60_000, 10));
    assert!(node.properties.contains_key("tags") && node.properties.contains_key("extra"));
    assert_eq!(read.blueprint.services["s"].properties["a.b"], json!(1));
    assert_eq!(read.termination, Some(Termination::KeepData));
    assert_eq!(
        (read.life.keep_ms, read.life.placement_ms, read.life.ready_ms, read.life.start_ms),
        (5000, 1000, 2500, 1_800_000)
    );
    assert_eq!(read.warnings.len(), 2, "{:?}", read.warnings);
}

#[test]
fn the_older_forms_of_check_ports() {
    let named = PortRef::Name("http".parse().unwrap());
    for (value, wanted) in [
        (json!("8080,22"), vec![named.clone(), PortRef::Number(22)]),
        (json!(" 22 "), vec![PortRef::Number(22)]),
        (json!(8080), vec![named.clone()]),
        (json!([8080, "22"]), vec![named.clone(), PortRef::Number(22)]),
        (json!(["http"]), vec![named.clone()]),
    ] {
        let read = understood(&with(json!({"check_ports": value})));
        assert_eq!(read.blueprint.nodes["n"].health.as_ref().unwrap().probe, Probe::Tcp(wanted), "{value}");
    }
    assert!(understood(&with(json!({"check_ports": ""}))).blueprint.nodes["n"].health.is_none());
    let read = understood(&with(json!({"port": "22"})));
    assert_eq!(read.blueprint.nodes["n"].ports["main"].port, 22);
    assert_eq!(read.blueprint.dnsname, id().to_string());
}

#[test]
fn every_fault_in_its_place() {
    for (fields, wanted) in [
        (json!({"cpu": 0}), "/nodes/n/cpu"),
        (json!({"cpu": "many"}), "/nodes/n/cpu"),
        (json!({"mem": 1.5}), "/nodes/n/mem"),
        (json!({"mem": -1}), "/nodes/n/mem"),
        (json!({"mem": null}), "/nodes/n"),
        (json!({"command": []}), "/nodes/n/command"),
        (json!({"command": [1]}), "/nodes/n/command"),
        (json!({"command": "@{adress}"}), "/nodes/n/command"),
        (json!({"command": ["a", "@{port:https}"]}), "/nodes/n/command/1"),
        (json!({"command": ["@{listen}", "@{listen:https}"]}), "/nodes/n/command/1"),
        (json!({"env": {"A": "@{secret:other}"}}), "/nodes/n/env/A"),
        (json!({"image_credentials": {"username": "u", "password": "plain"}}), "/nodes/n/image_credentials/password"),
        (json!({"image_credentials": {"password": "@{secret:other}"}}), "/nodes/n/image_credentials/password"),
        (json!({"files": {"/etc/a.conf": "x"}}), "/nodes/n/files/~1etc~1a.conf"),
        (json!({"env": {"A": "@{address:m}"}}), "/nodes/n/env/A"),
        (json!({"env": {"A": "@{open"}}), "/nodes/n/env/A"),
        (json!({"env": {"A=B": "x"}}), "/nodes/n/env/A=B"),
        (json!({"env": {"A": [1]}}), "/nodes/n/env/A"),
        (json!({"files": {"a/b": "@{disk:no}"}}), "/nodes/n/files/a~1b"),
        (json!({"files": {"../x": ""}}), "/nodes/n/files/..~1x"),
        (json!({"files": {"/etc/passwd": ""}}), "/nodes/n/files/~1etc~1passwd"),
        (json!({"files": {"a": {"content": "", "mode": "9"}}}), "/nodes/n/files/a/mode"),
        (json!({"docker_opts": "-e X=@{secret:other}"}), "/nodes/n/docker_opts"),
        (json!({"docker_opts": "-u @{secret:password}"}), "/nodes/n/docker_opts"),
        (json!({"docker_opts": "-e @{address}=1"}), "/nodes/n/docker_opts"),
        (json!({"docker_opts": "--priveleged"}), "/nodes/n/docker_opts"),
        (json!({"docker_opts": "--name x"}), "/nodes/n/docker_opts"),
        (json!({"docker_opts": "-v data:/d"}), "/nodes/n/docker_opts"),
        (json!({"docker_opts": "-v /somewhere:/d"}), "/nodes/n/docker_opts"),
        (json!({"docker_opts": "-v /somewhere:/bigdata/work"}), "/nodes/n/docker_opts"),
        (json!({"disks": 2}), "/nodes/n/disks"),
        (json!({"disks": {"d": {}}}), "/nodes/n/disks/d/destination"),
        (json!({"disks": {"d": {"destination": "/d", "size": 0}}}), "/nodes/n/disks/d/size"),
        (json!({"disks": {"D": {"destination": "/d"}}}), "/nodes/n/disks/D"),
        (json!({"networks": {"eth0": {}}}), "/nodes/n/networks/eth0/networkname"),
        (json!({"networks": {"eth0": {"networkname": "a", "address": "X"}}}), "/nodes/n/networks/eth0/address"),
        (json!({"networks": {"eth0": {"networkname": "a", "type": "static"}}}), "/nodes/n/networks/eth0/address"),
        (json!({"networks": {"eth0": {"networkname": "a", "type": "odd"}}}), "/nodes/n/networks/eth0/type"),
        (json!({"ports": {"http": 0}}), "/nodes/n/ports/http"),
        (json!({"ports": {"http": 70000}}), "/nodes/n/ports/http"),
        (json!({"port": "X"}), "/nodes/n/port"),
        (json!({"check": {}}), "/nodes/n/check"),
        (json!({"check": {"tcp": 1, "command": "x"}}), "/nodes/n/check"),
        (json!({"health": {"tcp": "https"}}), "/nodes/n/health/tcp"),
        (json!({"health": {"http": {"port": 80, "path": "up"}}}), "/nodes/n/health/http/path"),
        (json!({"health": {"tcp": 1, "intervall": 1}}), "/nodes/n/health/intervall"),
        (json!({"check_ports": "22,x"}), "/nodes/n/check_ports/1"),
        (json!({"start": "later"}), "/nodes/n/start"),
        (json!({"constraints": [{"operator": "like", "attribute": "a"}]}), "/nodes/n/constraints/0"),
        (json!({"restart": {"limits": 1}}), "/nodes/n/restart/limits"),
    ] {
        let found = pointers(&with(fields.clone()));
        assert!(found.iter().any(|pointer| pointer.starts_with(wanted)), "{fields}: {found:?}");
    }
}

#[test]
fn faults_of_the_whole() {
    for (document, wanted) in [
        (json!([]), ""),
        (json!({}), "/nodes"),
        (json!({"nodes": {}}), "/nodes"),
        (json!({"nodes": {"n": {"cpu": 1, "mem": 1}}}), "/nodes/n"),
        (json!({"nodes": {"N": {"cpu": 1, "mem": 1, "command": "x"}}}), "/nodes/N"),
        (json!({"nodes": {"n": 1}}), "/nodes/n"),
        (
            json!({"nodes": {"n": {"cpu": 1, "mem": 1, "command": "x"}}, "services": {"s": {"nodes": ["m"]}}}),
            "/services/s/nodes/0",
        ),
        (
            json!({"nodes": {"n": {"cpu": 1, "mem": 1, "command": "x"}}, "services": {"s": {"nodes": ["n", "n"]}}}),
            "/services/s/nodes/1",
        ),
        (json!({"nodes": {"n": {"cpu": 1, "mem": 1, "command": "x"}}, "services": []}), "/services"),
        (json!({"nodes": {"n": {"cpu": 1, "mem": 1, "command": "x"}}, "dnsname": "a b"}), "/dnsname"),
        (json!({"nodes": {"n": {"cpu": 1, "mem": 1, "command": "x"}}, "termination": "never"}), "/termination"),
        (json!({"nodes": {"n": {"cpu": 1, "mem": 1, "command": "x"}}, "deadlines": {"start": -1}}), "/deadlines/start"),
        (json!({"nodes": {"n": {"cpu": 1, "mem": 1, "command": "x"}}, "deadlines": {"begin": 1}}), "/deadlines/begin"),
        (
            json!({"nodes": {"n": {"cpu": 1, "mem": 1, "command": "x"}}, "on_failure": {"keep": "long"}}),
            "/on_failure/keep",
        ),
    ] {
        assert!(pointers(&document).contains(&wanted.to_owned()), "{document}: {:?}", pointers(&document));
    }
    // All at once.
    let many = json!({"nodes": {"a": {"cpu": 0, "mem": 0}, "b": {}}, "services": {"s": {"nodes": ["c"]}}});
    assert!(pointers(&many).len() >= 6, "{:?}", pointers(&many));
}

#[test]
fn a_cluster_has_at_most_a_thousand_nodes() {
    let nodes = |count: usize| {
        let node = |number| (format!("n{number}"), json!({"cpu": 1, "mem": 1, "command": "x"}));
        json!({"nodes": (0..count).map(node).collect::<Map<_, _>>()})
    };
    assert_eq!(understood(&nodes(NODES_MAX)).blueprint.nodes.len(), NODES_MAX);
    assert_eq!(pointers(&nodes(10_000)), ["/nodes"]);
}

#[test]
fn stats_and_what_becomes_of_a_lost_node() {
    use bigdata_common::blueprint::Replace;
    let read = understood(&with(json!({"stats": ["stats", "@{address}"], "replace": {"elsewhere": "60s"}})));
    let node = &read.blueprint.nodes["n"];
    assert_eq!(node.stats, Some(Command::Arguments(vec!["stats".to_owned(), "@{address}".to_owned()])));
    assert_eq!(node.replace, Replace::Elsewhere { after_ms: 60_000 });
    let waits = understood(&with(json!({"replace": "wait"})));
    assert_eq!((waits.blueprint.nodes["n"].replace, &waits.blueprint.nodes["n"].stats), (Replace::Wait, &None));
    assert!(waits.blueprint.nodes["n"].properties.is_empty());
    for (fields, pointer) in [
        (json!({"stats": 7}), "/nodes/n/stats"),
        (json!({"stats": []}), "/nodes/n/stats"),
        (json!({"stats": "x @{address:gone}"}), "/nodes/n/stats"),
        (json!({"replace": "elsewhere"}), "/nodes/n/replace"),
        (json!({"replace": {"elsewhere": "soon"}}), "/nodes/n/replace/elsewhere"),
        (json!({"replace": {"elsewhere": 0}}), "/nodes/n/replace/elsewhere"),
        (json!({"replace": {}}), "/nodes/n/replace/elsewhere"),
        (json!({"replace": {"elsewhere": 5, "after": 1}}), "/nodes/n/replace/after"),
    ] {
        assert_eq!(pointers(&with(fields.clone())), [pointer], "{fields}");
    }
}

#[test]
fn disks_that_are_certain_ones_of_a_machine_are_whole() {
    for (says, kind, warnings) in [
        (json!("True"), DiskKind::Whole, 1),
        (json!("False"), DiskKind::Whole, 1),
        (json!(""), DiskKind::Volume, 0),
        (json!(null), DiskKind::Volume, 0),
    ] {
        let read = understood(&with(json!({"use_custom_disks": says})));
        assert_eq!(read.blueprint.nodes["n"].disks["data"].kind, kind, "{says}");
        assert_eq!(read.warnings.len(), warnings, "{says}: {:?}", read.warnings);
    }
}
