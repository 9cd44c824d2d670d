//! An agent that dies for good, with its machine: another one takes the node whose product says so, and the loss of its disk
//! is told; a node whose product says nothing waits. Then the agent comes back after all, with what it had; so it does to
//! clusters that were destroyed meanwhile.

use crate::Scenario;
use crate::checks;
use crate::fleet::{Fleet, until, until_told};
use crate::products::kill_machine;
use crate::scenarios::{agent_of, destroyed, task_ids};
use serde_json::Value;
use std::time::{Duration, Instant};

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("another_agent_takes_a_node_whose_own_is_gone", gone),
    ("clusters_are_destroyed_while_their_agent_is_away", agent_away),
];

/// After how long without word of its agent another one takes the node.
const PATIENCE: Duration = Duration::from_secs(10);
const NODE: &str = "solo";
/// What a node is told to do: write its name to its disk, or say what stands there.
const MARK: [&str; 3] = ["sh", "-c", "echo here >\"$BIGDATA_DISK_DATA/mark\"; cat \"$BIGDATA_DISK_DATA/mark\""];
const LOOK: [&str; 3] = ["sh", "-c", "cat \"$BIGDATA_DISK_DATA/mark\" 2>/dev/null || echo nothing"];

/// A product whose only node has a persistent disk.
const TEMPLATE: &str = r#"{
  "nodes": {
    "solo": {
      "cpu": 0.1,
      "mem": 32,
      "command": "exec sleep 100000",
      "health": { "command": ["true"], "interval": 1 },
      {% if opts['rack'] %}
      "constraints": [{ "operator": "equals", "attribute": "rack", "value": "{{ opts['rack'] }}" }],
      {% endif %}
      {% if opts['after'] %}
      "replace": { "elsewhere": "{{ opts['after'] }}" },
      {% endif %}
      "disks": { "data": { "destination": "/data", "size": 16 } }
    }
  },
  "services": { "keeper": { "nodes": ["solo"] } }
}"#;

fn keeper(fleet: &Fleet) {
    let folder = fleet.path().join("keeper");
    std::fs::create_dir_all(&folder).unwrap();
    let product = r#"{"name": "keeper", "version": "1"}"#;
    let options = r#"{"optional": {"after": "", "rack": ""}}"#;
    for (file, text) in [("product.json", product), ("options.json", options), ("template.json", TEMPLATE)] {
        std::fs::write(folder.join(file), text).unwrap();
    }
    fleet.run(&["product", "register", folder.to_str().unwrap()]);
}

fn launched(fleet: &Fleet, option: &str) -> String {
    let dn = fleet.json(&["launch", "keeper", "1", option])["dn"].as_str().unwrap().to_owned();
    fleet.ends_as(&dn, "ready");
    until(&format!("the node of {dn} is written to"), || (told(fleet, &dn, &MARK) == "here").then_some(()));
    dn
}

/// What a command on the node answers.
fn told(fleet: &Fleet, dn: &str, command: &[&str]) -> String {
    fleet.run(&[&["node", "exec", dn, NODE, "--"], command].concat()).trim().to_owned()
}

fn node(fleet: &Fleet, dn: &str) -> Value {
    fleet.json(&["cluster", "nodes", dn])["nodes"][0].clone()
}

/// What the framework that leads lists of an agent as nobody's or given up: each with its reason.
fn left_on(fleet: &Fleet, agent: &Value) -> Option<Vec<(String, String)>> {
    let answer = fleet.get(&format!("{}/internal/v1/orphans", fleet.leader_url()))?;
    let orphans = answer["orphans"].as_array()?.iter().filter(|orphan| orphan["agent"] == *agent);
    let words = |orphan: &Value| Some((orphan["kind"].as_str()?.to_owned(), orphan["reason"].as_str()?.to_owned()));
    orphans.map(words).collect()
}

/// The id at Mesos of the agent of a node.
fn agent_id(fleet: &Fleet, node: &Value) -> Value {
    let of_node = |view: &&Value| view["host"] == node["host"];
    until("the node's agent is listed", || {
        Some(fleet.ask("/agents")?["agents"].as_array()?.iter().find(of_node)?["id"].clone())
    })
}

/// A destroy ends without the agent, with `--force` and without it, and tells what it leaves there; Mesos and the list of
/// orphans have just that. When the agent is back all of it is cleaned away.
fn agent_away(fleet: &Fleet) {
    keeper(fleet);
    let ends = launched(fleet, "rack=");
    let agent = agent_of(fleet, &ends, 0);
    let forced = launched(fleet, &format!("rack=r{}", agent.rsplit_once('-').unwrap().1));
    let nodes = [&ends, &forced].map(|dn| node(fleet, dn));
    let id = agent_id(fleet, &nodes[0]);
    assert_eq!(agent_id(fleet, &nodes[1]), id);
    let (registry, tasks) = (fleet.registry(), task_ids(fleet));
    checks::has_volumes(fleet, 2);
    fleet.control(&["kill", &agent]);
    fleet.run(&["cluster", "destroy", &ends]);
    fleet.run(&["cluster", "destroy", "--force", &forced]);
    for (dn, node) in [&ends, &forced].into_iter().zip(&nodes) {
        fleet.ends_as(dn, "destroyed");
        let left = fleet.cluster(dn)["data"]["leftovers"].clone();
        let words: Vec<&str> = left.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let tells = |words: &&str, what: &str| words.contains(what) && words.contains("its agent is away; it is");
        let task = format!("node {NODE}: task ");
        assert!(tasks.iter().any(|task| words[0].contains(task)), "{dn} leaves {left:#}");
        let volume = format!("(disk data of node {NODE}, 16 MiB) on agent {}", node["host"].as_str().unwrap());
        assert!(words.len() == 2 && tells(&words[0], &task) && tells(&words[1], &volume), "{dn} leaves {left:#}");
    }
    until("what was left is listed", || {
        let left = left_on(fleet, &id)?;
        let of = |kind: &str, words: &str| left.iter().filter(|(of, why)| of == kind && why.contains(words)).count();
        let both = of("volume", "which was released; it is destroyed when its agent offers it") == 2
            && of("task", "which was released while its agent was away; it is ended when the agent is back") == 2;
        (left.len() == 4 && both).then_some(())
    });
    assert!(!fleet.processes_of(&tasks).is_empty(), "nobody could have ended them");

    fleet.control(&["start", &agent]);
    checks::nothing_is_left(fleet);
    let agents = || fleet.agents().into_iter();
    let back = until("the agent is back as the one that it was", || agents().find(|agent| agent["id"] == id));
    assert_eq!(checks::reserved_on(&back, &registry), Vec::<String>::new());
    for dn in [&ends, &forced] {
        checks::history_is_whole(fleet, dn);
    }
}

fn gone(fleet: &Fleet) {
    keeper(fleet);
    let goes = launched(fleet, &format!("after={}s", PATIENCE.as_secs()));
    let agent = agent_of(fleet, &goes, 0);
    let waits = launched(fleet, &format!("rack=r{}", agent.rsplit_once('-').unwrap().1));
    assert_eq!(agent_of(fleet, &waits, 0), agent);
    let (former, waiting, tasks) = (node(fleet, &goes), node(fleet, &waits), task_ids(fleet));
    let id = agent_id(fleet, &former);

    let began = Instant::now();
    kill_machine(fleet, &agent);
    let next = until("another agent has the node", || {
        let next = node(fleet, &goes);
        (next["status"] == "running" && next["attempt"] != former["attempt"]).then_some(next)
    });
    let took = began.elapsed();
    eprintln!("{} had the node of {} {:.1} s after its end", next["host"], former["host"], took.as_secs_f64());
    assert!(took >= PATIENCE && next["host"] != former["host"], "{took:?}: {next:#}");
    let volume = lost_volume(fleet, &goes);
    assert_eq!(told(fleet, &goes, &LOOK), "nothing", "its disk is not a new one");
    until("what was given up is listed", || {
        let left = left_on(fleet, &id)?;
        let of = |kind: &str, words: &str| left.iter().any(|(of, why)| of == kind && why.contains(words));
        let both = of("volume", "destroyed when its agent offers it") && of("task", "ended when the agent is back");
        (left.len() == 2 && both).then_some(())
    });
    is_waited_for(fleet, &waits, &waiting);
    until("no invariant is violated", || (fleet.ask("/admin/invariants")?["ok"] == true).then_some(()));

    fleet.control(&["start", &agent]);
    let back = until("the node that waited is back", || {
        let node = node(fleet, &waits);
        (node["status"] == "running" && node["attempt"] != waiting["attempt"]).then_some(node)
    });
    assert_eq!(back["host"], waiting["host"]);
    assert_eq!(told(fleet, &waits, &LOOK), "here", "its disk is another one");
    until("nothing that was given up is left", || left_on(fleet, &id)?.is_empty().then_some(()));
    let slaves = format!("{}/master/slaves", fleet.address("FLEET_MESOS"));
    until("Mesos has the former volume no more", || (!fleet.get(&slaves)?.to_string().contains(&volume)).then_some(()));
    until_told(&format!("two tasks run, and none of {tasks:?}"), || {
        let now = task_ids(fleet);
        (now.len() == 2 && now.iter().all(|task| !tasks.contains(task))).then_some(()).ok_or(format!("{now:?}"))
    });
    checks::are_gone("processes of former attempts", || fleet.processes_of(&tasks));
    for dn in [&goes, &waits] {
        until(&format!("{dn} is healthy"), || (fleet.cluster(dn)["data"]["health"] == "healthy").then_some(()));
        checks::history_is_whole(fleet, dn);
    }
    checks::all_is_well(fleet, "an agent was gone");
    fleet.run(&["cluster", "destroy", &goes]);
    fleet.ends_as(&goes, "destroyed");
    destroyed(fleet, &waits);
}

/// The volume that the cluster's history tells to be lost.
fn lost_volume(fleet: &Fleet, dn: &str) -> String {
    until(&format!("the history of {dn} tells what was lost"), || {
        let events = fleet.json(&["cluster", "events", dn]);
        let mut messages = events["events"].as_array()?.iter().filter_map(|event| event["message"].as_str());
        let told = messages.find(|words| words.contains("is given up, and destroyed should its agent offer it"))?;
        Some(told.split_once("volume ")?.1.split(' ').next()?.to_owned())
    })
}

/// A node whose product does not say that another agent may take it stays, and its cluster tells why.
fn is_waited_for(fleet: &Fleet, dn: &str, before: &Value) {
    let cluster = until(&format!("{dn} is unavailable"), || {
        let cluster = fleet.cluster(dn)["data"].clone();
        (node(fleet, dn)["status"] == "unreachable" && cluster["health"] == "unavailable").then_some(cluster)
    });
    assert_eq!((&cluster["status"], &node(fleet, dn)["attempt"]), (&Value::from("ready"), &before["attempt"]));
    assert!(cluster["health_reasons"].to_string().contains("its agent cannot be reached"), "{cluster:#}");
    let path = format!("/explain/{dn}");
    until("it is explained that the agent is waited for", || {
        let explanation = fleet.ask(&path)?;
        let nearest = explanation["nodes"][0]["refusals"][0]["nearest"].as_str()?;
        (nearest.contains("cannot be reached since") && nearest.ends_with("it is waited for")).then_some(())
    });
}
