//! Refusals each with its reason, and where nodes go.

mod networks;
mod withheld;

use super::evaluate::{DOCKER_ATTRIBUTE, Question};
use super::{Board, Candidate, Network, Request, Rules, Slot};
use bigdata_common::api::explain::NodeExplanation;
use bigdata_common::{ClusterId, Name, blueprint};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{DiskInfo, DiskSource, Labels, ReservationInfo, Resource};
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn candidate(name: &str, network: Option<&str>, resources: Vec<Resource>) -> Candidate {
    let mut attributes = BTreeMap::from([("rack".to_owned(), format!("rack-of-{name}"))]);
    if let Some(network) = network {
        attributes.insert("bigdata_net".to_owned(), network.to_owned());
    }
    Candidate {
        agent: name.to_owned(),
        host: name.to_owned(),
        address: format!("10.0.0.{}", name.len()),
        network: Network::of(&attributes),
        attributes,
        free: Arc::new(resources.iter().collect::<Resources>()),
        leased_ports: BTreeSet::new(),
        fresh: true,
        offered: true,
        leaving: None,
    }
}

fn usual() -> Vec<Resource> {
    vec![
        Resource::scalar("cpus", 4.0),
        Resource::scalar("mem", 1000.0),
        Resource::scalar("disk", 1000.0),
        Resource::ports([(80, 80), (31000, 31004)]),
    ]
}

fn board(candidates: Vec<Candidate>) -> Board {
    let mut board = Board::new(Rules {
        role: "bigdata".to_owned(),
        registry: "r".to_owned(),
        principal: None,
        executor_cpus: 0.1,
        executor_mem: 32.0,
        pools: Arc::default(),
    });
    candidates.into_iter().for_each(|candidate| board.put(candidate));
    board
}

fn cluster() -> ClusterId {
    ClusterId::parse_any("clusters/alice/demo/1.0/1").unwrap()
}

fn place(board: &mut Board, nodes: Value) -> Result<IndexMap<String, Slot>, Vec<NodeExplanation>> {
    let nodes: IndexMap<Name, blueprint::Node> = serde_json::from_value(nodes).unwrap();
    let request =
        |(name, node)| Request { name, node, attempt: 1, volumes: Vec::new(), last_agent: None, last_address: None };
    let requests: Vec<Request<'_>> = nodes.iter().map(request).collect();
    let slots = board.place(&cluster(), &requests, &[])?;
    Ok(nodes.keys().map(Name::to_string).zip(slots).collect())
}

#[test]
fn every_refusal_has_its_reason_and_its_nearest_miss() {
    let node = |more: Value| {
        let mut node = json!({"cpu": 1.0, "mem": 100, "command": "run"});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"n": node})
    };
    let disk =
        |kind: &str| json!({"disks": {"d": {"destination": "/d", "size": 5000, "persistent": true, "type": kind}}});
    let constraint = |operator: &str, value: &str| json!({"constraints": [{"operator": operator, "attribute": "hostname", "value": value}]});
    for (more, reason, words) in [
        (json!({"cpu": 4.5}), "cpu", "agent near lacks 0.6 CPUs"),
        (json!({"mem": 1380}), "mem", "agent near lacks 412 MiB of memory"),
        (disk("volume"), "disk", "agent near lacks 4000 MiB of disk"),
        (disk("whole"), "disk", "agent near has no whole disk of 5000 MiB free"),
        (
            json!({"ports": {"p": {"port": 22, "fixed": true}}}),
            "port",
            "agent near does not offer port 22 (p), which is fixed",
        ),
        (json!({"networks": {"eth0": {"networkname": "x", "address": "9.9.9.9"}}}), "address", "wants 9.9.9.9"),
        (constraint("equals", "other"), "attribute", "agent near has hostname near where other is wanted"),
        (constraint("not_equals", "near"), "attribute", "agent near has hostname near, which is not wanted"),
        (json!({"docker_image": "i", "command": null}), "runtime", "has no container engine"),
    ] {
        let mut board = board(vec![candidate("near", None, usual())]);
        let refused = place(&mut board, node(more.clone())).unwrap_err();
        let refusal = &refused[0].refusals[0];
        assert_eq!((refusal.reason.as_str(), refusal.agents), (reason, 1), "{more}");
        assert!(refusal.nearest.contains(words), "{refusal:?}");
    }
    let nobody = place(&mut board(Vec::new()), node(json!({}))).unwrap_err();
    assert_eq!(nobody[0].refusals[0].nearest, "no agent has made an offer yet");
    let mut away = candidate("away", None, usual());
    away.offered = false;
    let refused = place(&mut board(vec![away]), node(json!({}))).unwrap_err();
    assert_eq!(refused[0].refusals[0].reason, "offer");
}

#[test]
fn the_nearest_of_many_is_told() {
    let small = vec![Resource::scalar("cpus", 4.0), Resource::scalar("mem", 50.0)];
    let mut board = board(vec![candidate("small", None, small), candidate("large", None, usual())]);
    let refused = place(&mut board, json!({"n": {"cpu": 1.0, "mem": 1000, "command": "run"}})).unwrap_err();
    let refusal = &refused[0].refusals[0];
    assert_eq!((refusal.agents, refusal.nearest.as_str()), (2, "agent large lacks 32 MiB of memory"));
}

#[test]
fn a_whole_that_does_not_fit_takes_nothing() {
    let mut board = board(vec![candidate("one", Some("loopback:m:127.64.0.0/24"), usual())]);
    let before = board.picture();
    let node = json!({"cpu": 3.0, "mem": 100, "command": "run"});
    let refused = place(&mut board, json!({"a": node, "b": node})).unwrap_err();
    assert_eq!(refused.len(), 1, "one of the two has a place");
    assert_eq!(board.picture(), before);
}

#[test]
fn unique_nodes_are_found_places_even_when_the_first_choice_is_wrong() {
    // The node without a constraint would take the agent that the bound one needs.
    let tight = vec![Resource::scalar("cpus", 1.2), Resource::scalar("mem", 150.0)];
    let mut board = board(vec![candidate("x", None, tight.clone()), candidate("yy", None, tight)]);
    let unique = json!([{"operator": "unique", "attribute": "rack"}]);
    let slots = place(
        &mut board,
        json!({
            "a": {"cpu": 1.0, "mem": 100, "command": "r", "constraints": unique},
            "b": {"cpu": 1.0, "mem": 100, "command": "r", "constraints": unique},
        }),
    )
    .unwrap();
    assert_ne!(slots["a"].candidate, slots["b"].candidate);
    let bound = json!([{"operator": "equals", "attribute": "hostname", "value": "x"}]);
    let mut other = board.clone();
    for index in 0..2 {
        let tight = [Resource::scalar("cpus", 1.2), Resource::scalar("mem", 150.0)];
        other.replace_free(index, Arc::new(tight.iter().collect()));
    }
    let slots = place(
        &mut other,
        json!({
            "free": {"cpu": 1.0, "mem": 110, "command": "r"},
            "bound": {"cpu": 1.0, "mem": 100, "command": "r", "constraints": bound},
        }),
    )
    .unwrap();
    assert_eq!((slots["bound"].candidate, slots["free"].candidate), (0, 1));
}

#[test]
fn ports_come_from_the_offer_where_the_address_is_shared() {
    let mut board = board(vec![candidate("one", None, usual())]);
    let ports = json!({"web": {"port": 80, "fixed": true}, "rpc": {"port": 9000, "fixed": false}});
    let node = json!({"cpu": 1.0, "mem": 100, "command": "r", "ports": ports});
    let slots = place(&mut board, json!({"a": node})).unwrap();
    assert_eq!((slots["a"].ports["web"], slots["a"].ports["rpc"]), (80, 31001));
    assert_eq!((slots["a"].agent_ports.as_slice(), slots["a"].address.as_str()), (&[31000, 80, 31001][..], "10.0.0.3"));
    let again = place(&mut board, json!({"b": node})).unwrap_err();
    assert_eq!(again[0].refusals[0].reason, "port", "a fixed port fits once per agent");
}

#[test]
fn addresses_are_unique_remembered_and_the_last_one_comes_back() {
    let pool = Some("loopback:m:127.64.0.0/29");
    let mut board = board(vec![candidate("one", pool, usual()), candidate("two", pool, usual())]);
    let key = |address: &str, node: &str| ("loopback:m".to_owned(), address.to_owned(), node.parse().unwrap());
    board.lease("loopback:m", "127.64.0.1");
    board.remember(&cluster(), vec![key("127.64.0.2", "other"), key("127.64.0.5", "back")]);
    let node: blueprint::Node = serde_json::from_value(json!({"cpu": 0.1, "mem": 10, "command": "r"})).unwrap();
    let (new, back): (Name, Name) = ("new".parse().unwrap(), "back".parse().unwrap());
    let request = |name, last| Request {
        name,
        node: &node,
        attempt: 1,
        volumes: Vec::new(),
        last_agent: None,
        last_address: last,
    };
    let requests = [request(&new, None), request(&back, Some(("loopback:m", "127.64.0.5")))];
    let slots = board.place(&cluster(), &requests, &[]).unwrap();
    let addresses: Vec<&str> = slots.iter().map(|slot| slot.address.as_str()).collect();
    assert_eq!(addresses, ["127.64.0.3", "127.64.0.5"]);
}

#[test]
fn what_others_have_labelled_is_not_used() {
    let foreign = Labels::from_iter([("bigdata_registry", "another")]);
    let reserved = ReservationInfo::dynamic("bigdata", None, Some(foreign));
    let mine = ReservationInfo::dynamic("bigdata", None, None);
    let mut resources = vec![Resource::scalar("cpus", 4.0), Resource::scalar("mem", 1000.0)];
    resources.push(Resource::scalar("disk", 500.0).reserved(reserved));
    let disk = json!({"d": {"destination": "/d", "size": 100, "persistent": false, "type": "volume"}});
    let node = json!({"n": {"cpu": 1.0, "mem": 100, "command": "r", "disks": disk}});
    assert!(place(&mut board(vec![candidate("one", None, resources.clone())]), node.clone()).is_err());
    resources.push(Resource::scalar("disk", 100.0).reserved(mine));
    assert!(place(&mut board(vec![candidate("one", None, resources)]), node).is_ok());
}

#[test]
fn an_image_goes_where_an_engine_is() {
    let mut with_engine = candidate("engine", None, usual());
    with_engine.attributes.insert(DOCKER_ATTRIBUTE.to_owned(), "true".to_owned());
    let mut board = board(vec![candidate("bare", None, usual()), with_engine]);
    let slots = place(&mut board, json!({"n": {"cpu": 1.0, "mem": 100, "docker_image": "i"}})).unwrap();
    assert_eq!(slots["n"].candidate, 1);
}

#[test]
fn a_glance_sees_nothing_that_a_close_look_does_not_find() {
    const MOUNT: i32 = 2;
    let source = Some(DiskSource { r#type: MOUNT, ..DiskSource::default() });
    let disk = Some(Box::new(DiskInfo { source, ..DiskInfo::default() }));
    let whole = Resource { disk, ..Resource::scalar("disk", 2000.0) };
    let with_whole: Vec<Resource> = usual().into_iter().chain([whole]).collect();
    let (mut unseen, mut leaving) = (candidate("unseen", None, usual()), candidate("leaving", None, usual()));
    (unseen.fresh, leaving.leaving) = (false, Some("from noon".to_owned()));
    let board = board(vec![
        candidate("usual", None, usual()),
        candidate("whole", None, with_whole),
        candidate("bare", None, usual().into_iter().filter(|entry| entry.name != "disk").collect()),
        unseen,
        leaving,
    ]);
    let disk = |name: &str, kind: &str, size: u32, persistent: bool| json!({name: {"destination": format!("/{name}"), "size": size, "persistent": persistent, "type": kind}});
    let mut both = disk("a", "volume", 600, true);
    both.as_object_mut().unwrap().extend(disk("b", "volume", 600, false).as_object().unwrap().clone());
    let disks = [
        json!({}),
        both,
        disk("a", "volume", 900, false),
        disk("a", "volume", 1100, true),
        disk("a", "whole", 1500, false),
        disk("a", "whole", 2500, true),
    ];
    let mut seen = BTreeSet::new();
    for (disks, cpu, mem) in disks.iter().flat_map(|disks| [(disks, 1.0, 100), (disks, 5.0, 100), (disks, 1.0, 2000)]) {
        let node = json!({"cpu": cpu, "mem": mem, "command": "r", "disks": disks});
        let (name, node): (Name, blueprint::Node) = ("n".parse().unwrap(), serde_json::from_value(node).unwrap());
        let request =
            Request { name: &name, node: &node, attempt: 1, volumes: Vec::new(), last_agent: None, last_address: None };
        let question = Question { board: &board, cluster: &cluster(), request: &request, peers: &[] };
        let needs = question.needs();
        for index in 0..board.len() {
            let (glance, found) = (question.glance(index, &needs), question.ask(index));
            let found = found.err().map(|miss| miss.reason);
            assert_eq!(glance.map(|(reason, _)| reason), found, "{disks} {cpu} {mem} on {index}");
            assert_eq!(question.passes(index, &needs), found.is_none());
            seen.extend(found);
        }
    }
    assert_eq!(seen, BTreeSet::from(["cpu", "disk", "mem", "offer"]));
}

#[test]
fn a_hundred_nodes_are_spread_evenly() {
    let large = vec![Resource::scalar("cpus", 100.0), Resource::scalar("mem", 100_000.0)];
    let mut board = board((0..10).map(|number| candidate(&format!("a{number}"), None, large.clone())).collect());
    let nodes: serde_json::Map<String, Value> =
        (0..100).map(|number| (format!("n{number}"), json!({"cpu": 1.0, "mem": 100, "command": "r"}))).collect();
    let slots = place(&mut board, Value::Object(nodes)).unwrap();
    for agent in 0..10 {
        assert_eq!(slots.values().filter(|slot| slot.candidate == agent).count(), 10);
    }
}
