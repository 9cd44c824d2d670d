//! Nodes that are containers, on Mesos agents whose machines have a Podman each.

use crate::Scenario;
use crate::checks;
use crate::engines::{Container, Engine, IMAGE, renew};
use crate::fleet::{AGENTS, FRAMEWORKS, Fleet, until, until_told};
use crate::products::kill_machine;
use crate::scenarios::{agent_of, destroyed};
use crate::sweep::task_of;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("a_container_is_refused_where_no_agent_has_an_engine", refused),
    ("containers_on_agents_outlive_faults_and_leave_nothing", boxes),
];

/// The networks of containers: one that the machines' bridges carry, and one that ends at each machine.
const NETWORKS: [(&str, &str); 5] = [
    ("BIGDATA__FRAMEWORK__NETWORKS__ADMIN__SUBNET", "10.112.0.0/24"),
    ("BIGDATA__FRAMEWORK__NETWORKS__ADMIN__RANGE", "10.112.0.64/26"),
    ("BIGDATA__FRAMEWORK__NETWORKS__ADMIN__BRIDGE", "br-lan"),
    ("BIGDATA__FRAMEWORK__NETWORKS__STORAGE__SUBNET", "10.117.0.0/24"),
    ("BIGDATA__FRAMEWORK__NETWORKS__STORAGE__GATEWAY", "10.117.0.1"),
];
/// After how long without word of its agent another one takes a node of the product `linked`.
const PATIENCE: Duration = Duration::from_secs(15);

/// Registers a product whose nodes serve their names; the template says the rest of them. A look that a busy machine answers too
/// late ends none of them for good.
fn register(fleet: &Fleet, name: &str, nodes: &Value) {
    let folder = fleet.path().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let node = |rest: &Value| {
        let mut node = json!({
            "cpu": 0.2, "mem": 48, "docker_image": IMAGE, "ports": {"web": 8080},
            "health": {"http": {"port": "web", "path": "/name"}, "interval": 1},
            "stats": ["echo", "{\"requests\": 7}"], "restart": {"limit": 20},
        });
        node.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        node
    };
    let nodes: serde_json::Map<String, Value> =
        nodes.as_object().unwrap().iter().map(|(name, rest)| (name.clone(), node(rest))).collect();
    std::fs::write(folder.join("product.json"), json!({"name": name, "version": "1"}).to_string()).unwrap();
    std::fs::write(folder.join("template.json"), json!({"nodes": nodes}).to_string()).unwrap();
    fleet.run(&["product", "register", folder.to_str().unwrap()]);
}

fn refused(fleet: &Fleet) {
    register(fleet, "lone-box", &json!({"solo": {}}));
    until_told("it is said that no agent has an engine", || {
        let output = fleet.command(&["launch", "lone-box", "1"]).output().unwrap();
        assert!(!output.status.success(), "a container is launched where nothing runs it");
        let said = String::from_utf8(output.stderr).unwrap();
        let is_told = said.contains("BD0035") && said.contains("none of the 3 agents has a container engine");
        is_told.then_some(()).ok_or(said)
    });
}

fn boxes(fleet: &Fleet) {
    if !fleet.has_machines() {
        return eprintln!("left out: the agents have no machines of their own (BIGDATA_FLEET_MACHINES=1)");
    }
    let mut engines = Engine::all(fleet);
    // Before the frameworks: one that has just begun to lead looks at the agents at once.
    renew(fleet, Some(&engines));
    fleet.set(&FRAMEWORKS, &NETWORKS, || {
        published(fleet, &engines);
        linked(fleet, &mut engines);
        renew(fleet, None);
    });
}

/// A command of a node; what it wrote, where it succeeded, and what it said, where not.
fn told(fleet: &Fleet, dn: &str, node: &str, line: &str) -> Result<String, String> {
    let output = fleet.command(&["node", "exec", dn, node, "--", "sh", "-c", line]).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    if output.status.success() { Ok(stdout) } else { Err(stderr) }
}

/// Whether a node gets this name from where it asks.
fn reaches(fleet: &Fleet, dn: &str, from: &str, host: &str, port: &Value, name: &str) -> Option<()> {
    let line = format!("printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {host} {port} | tail -n 1");
    (told(fleet, dn, from, &line).ok()?.trim() == name).then_some(())
}

fn nodes(fleet: &Fleet, dn: &str) -> Vec<Value> {
    fleet.json(&["cluster", "nodes", dn])["nodes"].as_array().unwrap().clone()
}

/// The container of a node, and its engine; there is one.
fn container(engines: &[Engine<'_>], node: &str) -> Option<(usize, Container)> {
    let all =
        engines.iter().enumerate().flat_map(|(at, engine)| engine.containers().into_iter().map(move |it| (at, it)));
    let mut found = all.filter(|(_, container)| container.node == node);
    found.next().filter(|_| found.next().is_none())
}

/// No engine has anything of a cluster, and the platform knows of nothing that is left.
fn nothing_is_left(fleet: &Fleet, engines: &[Engine<'_>]) {
    checks::are_gone("things of the engines", || engines.iter().flat_map(Engine::left).collect());
    checks::all_is_well(fleet, "a cluster of containers is destroyed");
    until("nothing is listed as left", || (fleet.ask("/admin/orphans")?["orphans"] == json!([])).then_some(()));
}

/// One on each agent, whose ports are published there.
fn published(fleet: &Fleet, engines: &[Engine<'_>]) {
    let data = json!({
        "disks": {"data": {"destination": "/var/lib/data", "size": 64}},
        "constraints": [{"operator": "unique", "attribute": "hostname"}],
    });
    register(fleet, "boxes", &json!({"node0": data, "node1": data, "node2": data}));
    until("the agents tell of their engines", || {
        let agents = fleet.ask("/agents")?;
        let has_engine = |agent: &&Value| agent["attributes"]["bigdata_containers"] == "true";
        (agents["agents"].as_array()?.iter().filter(has_engine).count() == engines.len()).then_some(())
    });
    let dn = fleet.json(&["launch", "boxes", "1"])["dn"].as_str().unwrap().to_owned();
    fleet.ends_as(&dn, "ready");
    works(fleet, &dn);
    survives(fleet, engines, &dn);
    checks::history_is_whole(fleet, &dn);
    destroyed(fleet, &dn);
    nothing_is_left(fleet, engines);
}

fn works(fleet: &Fleet, dn: &str) {
    let nodes = nodes(fleet, dn);
    for node in nodes.iter().skip(1) {
        let name = node["name"].as_str().unwrap();
        until(&format!("node0 reaches {name}"), || reaches(fleet, dn, "node0", name, &node["ports"]["web"], name));
    }
    let line = ["node", "exec", dn, "node1", "--", "sh", "-c", "echo o; echo e >&2; exit 7"];
    // A busy engine may not tell in time how it ended, which is said in words: any code that is told is the command's.
    let output = until_told("how a command ended", || {
        let output = fleet.command(&line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.lines().any(|line| line.starts_with("error: ")) { Err(said) } else { Ok(output) }
    });
    let streams = (output.stdout.as_slice(), output.stderr.as_slice(), output.status.code());
    assert_eq!(streams, (&b"o\n"[..], &b"e\n"[..], Some(7)));
    until("a file is put", || {
        let put = ["node", "put", dn, "node2", "/opt/new/told"];
        let mut put = fleet.command(&put).stdin(Stdio::piped()).spawn().unwrap();
        // One that was refused has closed its input before.
        let written = put.stdin.take().unwrap().write_all(b"by a file\n");
        (put.wait().unwrap().success() && written.is_ok()).then_some(())
    });
    assert_eq!(fleet.run(&["node", "get", dn, "node2", "/opt/new/told"]), "by a file\n");
    let there = || told(fleet, dn, "node2", "cat /opt/new/told").ok();
    assert_eq!(until("the file is read there", there), "by a file\n");
    // The node's command has five seconds for them.
    let stats = until_told("a node's figures", || {
        let stats = fleet.json(&["node", "stats", dn, "node1"]);
        if stats["workload"].is_object() { Ok(stats) } else { Err(stats) }
    });
    assert!(stats["isolation"].as_str().unwrap().starts_with("container (Podman"), "{stats}");
    assert!(stats["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{stats}");
    assert_eq!(stats["workload"]["requests"], 7, "{stats}");
    let address = format!("at {}", nodes[1]["address"].as_str().unwrap());
    until("a node's log is told", || fleet.run(&["node", "logs", dn, "node1"]).contains(&address).then_some(()));
}

/// An executor is killed, an agent, and a container: each comes back as it must, with its data.
fn survives(fleet: &Fleet, engines: &[Engine<'_>], dn: &str) {
    const NODES: [&str; 3] = ["node0", "node1", "node2"];
    const LOOK: &str = "cat /var/lib/data/mark; ls /own 2>/dev/null || true";
    for node in NODES {
        let write = || told(fleet, dn, node, "echo kept >/var/lib/data/mark; echo own >/own").ok();
        until(&format!("{node} is written to"), write);
    }
    let before = nodes(fleet, dn);
    let had = NODES.map(|node| until(&format!("{node} has a container"), || container(engines, node)));
    let (at, _) = had[1];
    fleet.kill_task(&until("node0 has a task", || task_of(fleet, "node0")));
    assert!(Command::new("kill").args(["-KILL", &had[2].1.pid]).status().unwrap().success());
    fleet.control(&["kill", engines[at].agent]);
    engines[at].start_agent();
    let comes_back = |at: usize, is_it: &dyn Fn(&Container) -> bool, files: &str| {
        until(&format!("{} is back", NODES[at]), || {
            let (_, container) = container(engines, NODES[at]).filter(|(_, container)| is_it(container))?;
            (told(fleet, dn, NODES[at], LOOK).ok()? == files).then_some(container)
        })
    };
    comes_back(0, &|now| now.id != had[0].1.id, "kept\n");
    comes_back(1, &|now| *now == had[1].1, "kept\n/own\n");
    comes_back(2, &|now| now.id == had[2].1.id && now.pid != had[2].1.pid, "kept\n/own\n");
    engines[had[2].0].remove(&had[2].1.id);
    comes_back(2, &|now| now.id != had[2].1.id, "kept\n");
    until("the cluster is healthy", || (fleet.cluster(dn)["data"]["health"] == "healthy").then_some(()));
    let now = nodes(fleet, dn);
    let stays = |at: usize| now[at]["attempt"] == before[at]["attempt"];
    assert!(!stays(0) && stays(1) && stays(2), "{before:#?} {now:#?}");
    for node in ["node0", "node2"] {
        let port = &now[1]["ports"]["web"];
        until(&format!("{node} reaches node1"), || reaches(fleet, dn, node, "node1", port, "node1"));
    }
}

/// Two of them on one machine and one on another, in two networks; that one's machine dies, and comes back when another has
/// taken its place.
fn linked(fleet: &Fleet, engines: &mut [Engine<'_>]) {
    let networks = json!({"eth0": {"networkname": "admin"}, "eth1": {"networkname": "storage"}});
    let rack = |operator: &str| json!([{"operator": operator, "attribute": "rack", "value": "r1"}]);
    let near = json!({"networks": networks, "constraints": rack("equals")});
    let replace = json!({"elsewhere": format!("{}s", PATIENCE.as_secs())});
    let far = json!({"networks": networks, "constraints": rack("not_equals"), "replace": replace});
    register(fleet, "linked", &json!({"a": near, "b": near, "far": far}));
    let dn = fleet.json(&["launch", "linked", "1"])["dn"].as_str().unwrap().to_owned();
    fleet.ends_as(&dn, "ready");
    let [_, b, former] = until("the nodes' addresses are told", || addresses(fleet, &dn));
    for (host, name) in [("b", "b"), (&b[1], "b"), ("far", "far"), (&former[0], "far")] {
        until(&format!("a reaches {name} at {host}"), || reaches(fleet, &dn, "a", host, &8080.into(), name));
    }
    until("far reaches b", || reaches(fleet, &dn, "far", "b", &8080.into(), "b"));
    assert_eq!(reaches(fleet, &dn, "far", &b[1], &8080.into(), "b"), None, "that network ends at the machine");

    let (agent, attempt) = (agent_of(fleet, &dn, 2), nodes(fleet, &dn)[2]["attempt"].clone());
    let dead = AGENTS.iter().position(|name| *name == agent).unwrap();
    let began = Instant::now();
    kill_machine(fleet, &agent);
    engines[dead].die();
    until("another agent has the node", || {
        let next = &nodes(fleet, &dn)[2];
        (next["status"] == "running" && next["attempt"] != attempt).then_some(())
    });
    let took = began.elapsed();
    eprintln!("another agent had the container {:.1} s after the end of its machine", took.as_secs_f64());
    assert!(took >= PATIENCE && agent_of(fleet, &dn, 2) != agent, "{took:?}");
    // The former one may live on unseen: its address is not given away, and peers learn the new one when they start.
    until("far reaches b from its new place", || reaches(fleet, &dn, "far", "b", &8080.into(), "b"));
    let now = until("a reaches far at its new address", || {
        let [_, _, now] = addresses(fleet, &dn)?;
        reaches(fleet, &dn, "a", &now[0], &8080.into(), "far").map(|()| now)
    });
    assert_ne!(now[0], former[0]);
    fleet.run(&["node", "restart", &dn, "a"]);
    until("a knows far by its name again", || reaches(fleet, &dn, "a", "far", &8080.into(), "far"));

    engines[dead].revive();
    assert!(engines[dead].left().iter().any(|left| left.starts_with("container")), "the machine has kept nothing");
    let mut tidying = engines[dead].tidy();
    engines[dead].start_agent();
    checks::history_is_whole(fleet, &dn);
    destroyed(fleet, &dn);
    assert!(tidying.wait().unwrap().success());
    nothing_is_left(fleet, engines);
}

/// Each node's addresses, in the order of its interfaces; None where one has none now.
fn addresses(fleet: &Fleet, dn: &str) -> Option<[Vec<String>; 3]> {
    let of = |node: &Value| -> Option<Vec<String>> {
        let networks = node["networks"].as_array().filter(|networks| networks.len() == 2)?.iter();
        networks.map(|network| network["address"].as_str().map(str::to_owned)).collect()
    };
    nodes(fleet, dn).iter().map(of).collect::<Option<Vec<_>>>()?.try_into().ok()
}
