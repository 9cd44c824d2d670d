//! Addresses of containers: leased from the pools of the settings, one per interface.

use super::{board, candidate, cluster, place, usual};
use crate::placement::evaluate::DOCKER_ATTRIBUTE;
use crate::placement::{Board, Candidate, Pools};
use serde_json::{Value, json};
use std::sync::Arc;

fn with_engine(name: &str, network: &str) -> Candidate {
    let mut candidate = candidate(name, Some(network), usual());
    candidate.attributes.insert(DOCKER_ATTRIBUTE.to_owned(), "true".to_owned());
    candidate
}

/// Agents with these names that connect containers with the networks `admin` (of every machine) and `storage` (of each).
fn fleet(names: &[&str]) -> Board {
    let mut board = board(names.iter().map(|name| with_engine(name, "container")).collect());
    let settings = json!({
        "admin": {"subnet": "10.1.0.0/29", "gateway": "10.1.0.1", "bridge": "br0"},
        "storage": {"subnet": "10.2.0.0/29"},
    });
    board.rules.pools = Arc::new(Pools::new(&serde_json::from_value(settings).unwrap()).unwrap());
    board
}

fn node(networks: &Value) -> Value {
    let ports = json!({"web": {"port": 80, "fixed": false}});
    json!({"cpu": 1.0, "mem": 100, "docker_image": "i", "networks": networks, "ports": ports})
}

fn both() -> Value {
    node(&json!({"eth1": {"networkname": "storage"}, "eth0": {"networkname": "admin"}}))
}

#[test]
fn every_interface_has_an_address_and_the_first_one_is_the_nodes() {
    let mut board = fleet(&["one"]);
    let slots = place(&mut board, json!({"a": both(), "b": both()})).unwrap();
    let of = |node: &str| {
        let slot = &slots[node];
        let interfaces = slot.interfaces.iter().map(|leased| {
            let interface = &leased.interface;
            format!("{} {} {}/{}", interface.name, leased.scope, interface.address, interface.prefix)
        });
        (slot.address.clone(), slot.pool.clone().unwrap(), interfaces.collect::<Vec<_>>())
    };
    let (address, pool, interfaces) = of("a");
    assert_eq!((address.as_str(), pool.as_str()), ("10.1.0.2", "network:admin"));
    assert_eq!(interfaces, ["eth0 network:admin 10.1.0.2/29", "eth1 network:storage@one 10.2.0.2/29"]);
    assert_eq!(of("b").2, ["eth0 network:admin 10.1.0.3/29", "eth1 network:storage@one 10.2.0.3/29"]);
    let (a, first) = (&slots["a"], &slots["a"].interfaces[0].interface);
    assert_eq!(
        (first.bridge.as_deref(), first.gateway.map(|it| it.to_string())),
        (Some("br0"), Some("10.1.0.1".into()))
    );
    assert_eq!((a.ports["web"], a.agent_ports.as_slice()), (80, &[80][..]), "its own port, and the control channel's");
}

#[test]
fn without_eth0_the_interface_that_sorts_first_is_the_nodes() {
    let networks = json!({"data1": {"networkname": "storage"}, "data0": {"networkname": "admin"}});
    let slots = place(&mut fleet(&["one"]), json!({"a": node(&networks)})).unwrap();
    assert_eq!(slots["a"].address, "10.1.0.2");
    let networks = json!({"data0": {"networkname": "admin"}, "eth0": {"networkname": "storage"}});
    let slots = place(&mut fleet(&["one"]), json!({"a": node(&networks)})).unwrap();
    assert_eq!(slots["a"].address, "10.2.0.2");
}

#[test]
fn what_an_engine_makes_is_unique_on_its_machine_and_what_a_bridge_carries_in_the_fleet() {
    let mut board = fleet(&["one", "two"]);
    let mut on = |agent: &str| {
        let mut node = both();
        node["constraints"] = json!([{"operator": "equals", "attribute": "hostname", "value": agent}]);
        let slots = place(&mut board, json!({"a": node})).unwrap();
        slots["a"].interfaces.iter().map(|leased| leased.interface.address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(on("one"), ["10.1.0.2", "10.2.0.2"]);
    assert_eq!(on("two"), ["10.1.0.3", "10.2.0.2"]);
}

#[test]
fn addresses_of_others_are_left_and_the_last_ones_come_back() {
    let mut board = fleet(&["one"]);
    board.lease("network:admin", "10.1.0.2");
    let key = |pool: &str, address: &str, node: &str| (pool.to_owned(), address.to_owned(), node.parse().unwrap());
    board.remember(
        &cluster(),
        vec![
            key("network:admin", "10.1.0.3", "other"),
            key("network:admin", "10.1.0.5", "a"),
            key("network:storage@one", "10.2.0.4", "a"),
        ],
    );
    let slots = place(&mut board, json!({"a": both(), "b": both()})).unwrap();
    let of = |node: &str| -> Vec<String> {
        slots[node].interfaces.iter().map(|leased| leased.interface.address.to_string()).collect()
    };
    assert_eq!(of("a"), ["10.1.0.5", "10.2.0.4"]);
    assert_eq!(of("b"), ["10.1.0.4", "10.2.0.2"]);
}

#[test]
fn what_was_taken_for_nodes_that_do_not_all_fit_is_given_back() {
    let mut board = fleet(&["one"]);
    let picture = board.picture();
    assert!(place(&mut board, json!({"a": both(), "b": both(), "c": both(), "d": both()})).is_err(), "four CPUs");
    assert_eq!(board.picture(), picture);
}

#[test]
fn a_fixed_address_is_kept_or_refused_with_its_reason() {
    let fixed = |address: &str| node(&json!({"eth0": {"networkname": "admin", "address": address}}));
    let mut board = fleet(&["one"]);
    let slots = place(&mut board, json!({"a": fixed("10.1.0.6")})).unwrap();
    assert_eq!(slots["a"].address, "10.1.0.6");
    for (address, words) in [
        ("10.1.0.6", "agent one: eth0 wants 10.1.0.6 of the network admin, which another node has"),
        (
            "10.1.0.1",
            "agent one: eth0 wants 10.1.0.1, which is none that nodes may have of the network admin (10.1.0.0/29)",
        ),
        (
            "10.9.0.1",
            "agent one: eth0 wants 10.9.0.1, which is none that nodes may have of the network admin (10.1.0.0/29)",
        ),
        (
            "fd00::7",
            "agent one: eth0 wants fd00::7, which is none that nodes may have of the network admin (10.1.0.0/29)",
        ),
    ] {
        let refused = place(&mut board, json!({"b": fixed(address)})).unwrap_err();
        let refusal = &refused[0].refusals[0];
        assert_eq!((refusal.reason.as_str(), refusal.nearest.as_str()), ("address", words));
    }
    for number in 2..6 {
        board.lease("network:admin", &format!("10.1.0.{number}"));
    }
    let refused = place(&mut board, json!({"b": both()})).unwrap_err();
    assert_eq!(refused[0].refusals[0].nearest, "agent one: the network admin has no free address in 10.1.0.0/29");
}

#[test]
fn a_network_that_is_no_pool_is_named_with_the_setting() {
    let refusal = |networks: Value| {
        let refused = place(&mut fleet(&["one"]), json!({"a": node(&networks)})).unwrap_err();
        (refused[0].refusals[0].reason.clone(), refused[0].refusals[0].nearest.clone())
    };
    let (reason, words) = refusal(json!({"eth0": {"networkname": "admin"}, "eth1": {"networkname": "backup"}}));
    assert_eq!(reason, "network");
    assert_eq!(
        words,
        "agent one gives containers addresses of the networks in the framework's setting networks (admin, storage), and \
         eth1 wants \"backup\": set framework.networks.backup, or change the template"
    );
    let (reason, words) = refusal(json!({"eth0": {"networkname": "admin"}, "eth1": {"networkname": "admin"}}));
    assert_eq!(reason, "network");
    assert!(
        words.ends_with("connects a container with a network once, and eth0 and eth1 are both of \"admin\""),
        "{words}"
    );
}

#[test]
fn interfaces_are_words_where_nodes_are_processes_or_have_no_networks() {
    let process = json!({
        "cpu": 1.0, "mem": 100, "command": "run", "ports": {"web": {"port": 80, "fixed": false}},
        "networks": {"eth0": {"networkname": "nobody-knows"}},
    });
    let bare = node(&json!({}));
    let slots = place(&mut fleet(&["one"]), json!({"process": process, "bare": bare})).unwrap();
    for name in ["process", "bare"] {
        let slot = &slots[name];
        assert!(slot.interfaces.is_empty() && slot.pool.is_none());
        assert_eq!((slot.address.as_str(), slot.agent_ports.len()), ("10.0.0.3", 2), "the agent's address and ports");
    }
    assert_ne!(slots["process"].ports["web"], slots["bare"].ports["web"]);
    let mut loopback = board(vec![with_engine("one", "loopback:m:127.64.0.0/24")]);
    let slots = place(&mut loopback, json!({"a": both()})).unwrap();
    assert!(slots["a"].interfaces.is_empty());
    assert_eq!(slots["a"].address, "127.64.0.1");
    let mut without = fleet(&[]);
    without.put(candidate("one", Some("container"), usual()));
    let mut with_command = both();
    with_command["command"] = json!("run");
    let refused = place(&mut without, json!({"a": with_command})).unwrap_err();
    assert_eq!(refused[0].refusals[0].reason, "runtime");
}
