//! Products' scripts.

use super::{Arena, CANARY, is_root};
use crate::support::{put, until};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// Bounds that are reached soon.
const SETTINGS: &str = "[orchestrator.limits]\nfile_bytes = 33554432\naddress_space_bytes = 536870912\n";

/// What a script is told that reaches its time limit.
const TOO_LONG: &str = "ran longer than";

/// One node at rest; the script has so many seconds.
fn at_rest(start: u32) -> Value {
    json!({
        "nodes": { "solo": { "cpu": 0.1, "mem": 32, "command": "exec sleep 1000" } },
        "services": { "solo": { "nodes": ["solo"] } },
        "deadlines": { "start": start },
    })
}

/// The same for a script that ends otherwise, however slow the machine is.
fn patient() -> Value {
    at_rest(600)
}

/// A script whose `start` does this once it has said that it begins.
fn script(does: &str) -> String {
    format!("#!/bin/bash\n[ \"$1\" = start ] || exit 64\necho begun\n{does}\n")
}

/// Runs each script while a neighbour is launched: it must fail with all these words in its reason.
fn each_fails(attacks: &[(&str, &str, &[&str])]) {
    let arena = Arena::new(SETTINGS);
    for (name, does, reason) in attacks {
        let template = if reason.contains(&TOO_LONG) { at_rest(6) } else { patient() };
        let dn = arena.launch(name, &template, Some(&script(does)));
        arena.has_begun(&dn);
        arena.goes_on();
        let failure = arena.failure(&dn);
        for part in ["configuring"].iter().chain(*reason) {
            assert!(failure.contains(part), "{name}: {part:?} is not in {failure}");
        }
        arena.leaves_nothing(&dn);
    }
    arena.keeps_no_file();
}

#[test]
fn scripts_that_take_all_they_can_get() {
    if !is_root() {
        println!(
            "skipped: the fork bomb. Without root a script shares its user, whose processes cannot be counted apart"
        );
    }
    // Shells end when they cannot fork; this goes on trying.
    let bomb = "exec perl -e 'while (1) { fork }'";
    let attacks: [(&str, &str, &[&str]); 4] = [
        ("forks", bomb, &[TOO_LONG]),
        ("floods", "exec yes flood", &[TOO_LONG, "flood"]),
        ("fills", "exec head -c 1G /dev/zero > big", &["file"]),
        ("eats", "exec tail /dev/zero", &["memory exhausted"]),
    ];
    each_fails(&attacks[usize::from(!is_root())..]);
}

#[test]
fn a_script_that_stays_ends_with_its_cluster() {
    let arena = Arena::new(SETTINGS);
    let stays = "trap '' TERM INT HUP\n(setsid sleep 1000 &)\nwhile :; do sleep 1; done";
    let dn = arena.launch("stays", &patient(), Some(&script(stays)));
    arena.has_begun(&dn);
    arena.leaves_nothing(&dn);
}

/// What a script may not read, and what it then tells of it.
#[test]
fn a_script_reads_nothing_that_is_not_its_own() {
    let arena = Arena::new("");
    let data = arena.data.path();
    for folder in ["keys", "db", "log"] {
        std::fs::write(data.join(folder).join("planted"), CANARY).unwrap();
    }
    // Another cluster, whose script stands still: with a secret in its node, its workload's memory and its own folder.
    let victim = json!({
        "nodes": { "solo": { "cpu": 0.1, "mem": 32, "command": "exec sleep 1000", "env": { "PASSWORD": CANARY } } },
        "services": { "solo": { "nodes": ["solo"] } },
    });
    let hides = format!("echo {CANARY} | bigdata node put solo planted\necho {CANARY} > planted\nexec sleep 1000");
    let victim = arena.launch("victim", &victim, Some(&script(&hides)));
    let planted = |folder: &str| {
        let output = Command::new("find").arg(data.join(folder)).args(["-name", "planted"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().next().map(str::to_owned)
    };
    let of_node = until("the node holds it", || planted("engine"));
    let of_script = until("the script holds it", || planted("run"));
    let workload = until("the workload runs", || {
        let holds = |pid: &&str| {
            let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(CANARY)
        };
        let processes = arena.processes();
        processes.iter().filter_map(|it| it.split(' ').next()).find(holds).map(str::to_owned)
    });
    let of = |path: &str| data.join(path).display().to_string();
    let mut paths = [
        "keys/planted",
        "db/planted",
        "log/planted",
        "internal.token",
        "control.key",
        "engine.secret",
        "keys/registry.key",
    ]
    .map(of)
    .to_vec();
    paths.extend([of_node, of_script, format!("/proc/{workload}/environ"), of("db/registry.db")]);
    assert!(paths.iter().all(|path| std::fs::read(path).is_ok()), "not all is there: {paths:?}");

    let mut does: Vec<String> = paths.iter().map(|path| format!("cat {path}")).collect();
    does.extend(["", "keys", "db", "run/runs", "engine/sandboxes"].map(|folder| format!("ls {}", of(folder))));
    let mut attack = does.iter().map(|line| format!("{line} && echo SEEN {line}\n")).collect::<String>();
    attack.push_str("exit 1");
    let dn = arena.launch("snoops", &patient(), Some(&script(&attack)));
    arena.failure(&dn);
    let log = arena.platform.run(&["cluster", "logs", &dn]);
    let refused = log.lines().filter(|line| line.contains("Permission denied") || line.contains("No such file"));
    // The last of them is the reason of the failure, too.
    assert_eq!(refused.count(), does.len() + 1, "{log}");
    assert!(!log.contains("SEEN") && !log.contains(CANARY), "{log}");
    arena.platform.run(&["cluster", "destroy", &victim, "--wait"]);
    arena.leaves_nothing(&dn);
}

#[test]
fn a_script_reaches_no_socket_but_its_own() {
    let arena = Arena::new("");
    let victim = arena.launch("victim", &patient(), Some(&script("exec sleep 1000")));
    arena.has_begun(&victim);
    let sockets = super::below(&arena.data.path().join("run/runs"), 2);
    let socket = sockets.iter().find(|path| path.ends_with("socket")).unwrap();
    assert!(UnixStream::connect(socket).is_ok(), "the socket is not there");
    let url = &arena.platform.url;
    let mut attack = format!("BIGDATA_SOCKET={} bigdata node list && echo SEEN\n", socket.display());
    attack.push_str(&format!("bigdata --url {url} cluster list && echo SEEN\n"));
    let gateway = ("gateway".to_owned(), arena.platform.address());
    for (_, address) in arena.services().into_iter().chain([gateway]) {
        attack.push_str(&format!(": < /dev/tcp/{}/{} && echo SEEN\n", address.ip(), address.port()));
    }
    attack.push_str("exit 1");
    let dn = arena.launch("reaches", &patient(), Some(&script(&attack)));
    arena.failure(&dn);
    let log = arena.platform.run(&["cluster", "logs", &dn]);
    assert!(!log.contains("SEEN"), "{log}");
    let other = if is_root() { "Permission denied" } else { "BD0002" };
    assert!(log.lines().any(|line| line.starts_with("error:") && line.contains(other)), "{log}");
    assert!(log.matches("socket: Operation not permitted").count() >= 5, "{log}");
    arena.platform.run(&["cluster", "destroy", &victim, "--wait"]);
    arena.leaves_nothing(&dn);
}

/// Where an operator gave a script the network, the services ask it for a token that it does not have.
#[test]
fn a_script_with_the_network_is_nobody_to_the_services() {
    let arena = Arena::new("");
    let mut attack = String::new();
    for token in ["", "authorization: Bearer $BIGDATA_TOKEN\\r\\n"] {
        for (service, address) in arena.services() {
            let path = match service.as_str() {
                "registry" => "/internal/v1/clusters",
                "framework" => "/bigdata/api/v1/agents",
                "orchestrator" => "/internal/v1/clusters/clusters--local--networks--1--1/outputs",
                // The engine tells of the nodes, and starts programs as the platform's user.
                "engine" => "/state",
                _ => continue,
            };
            attack.push_str(&format!(
                "exec 3<>/dev/tcp/{}/{}\n\
                 printf \"GET {path} HTTP/1.1\\r\\nhost: {address}\\r\\n{token}connection: close\\r\\n\\r\\n\" >&3\n\
                 read -r -u 3 line; echo \"{service} $line\"\n",
                address.ip(),
                address.port()
            ));
        }
    }
    attack.push_str("exit 1");
    arena.register("networks", &patient(), Some(&script(&attack)));
    put(arena.platform.address(), "/bigdata/api/v1/products/networks/1/reach", "\"network\"");
    let dn = arena.platform.json(&["launch", "networks", "1"])["dn"].as_str().unwrap().to_owned();
    arena.failure(&dn);
    let log = arena.platform.run(&["cluster", "logs", &dn]);
    let refused = log.lines().filter(|line| !line.starts_with('[') && line.contains(" HTTP/1.1 401"));
    assert_eq!(refused.count(), 8, "{log}");
    arena.leaves_nothing(&dn);
}
