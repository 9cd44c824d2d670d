//! The networks of containers, on a real Podman, each test in a network namespace of its own.

use crate::containers::{check, described, gone, launch_as, own, pid};
use crate::engine::{Engine, apart};
use crate::harness::{DEADLINE, Node, PAUSE};
use bigdata_common::internal::{ExecFrame, Interface, NodeSpecification};
use bigdata_common::{AttemptId, Name};
use bigdata_mesos::v1::TaskState;
use nix::sys::signal::{Signal, kill};
use reqwest::Method;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

/// An address of the machine on which ports are published.
const MACHINE: &str = "10.88.7.1";

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The network devices of the machine, the loopback one left out.
fn devices() -> Vec<String> {
    let listed = run("ip", &["-oneline", "link", "show"]);
    let names = listed.lines().filter_map(|line| line.split(": ").nth(1));
    names.filter(|name| *name != "lo").map(str::to_owned).collect()
}

/// Waits until the machine has these devices alone: the kernel removes those of a network that is gone in its own time.
async fn devices_left(expected: &[&str]) {
    let going = async {
        while devices() != expected {
            tokio::time::sleep(PAUSE).await;
        }
    };
    timeout(DEADLINE, going).await.unwrap_or_else(|_| panic!("{:?} are left", devices()));
}

/// Two nodes of a cluster.
fn two(json: &Value) -> [NodeSpecification; 2] {
    let mut document = json!({ "check": check(&json!({ "http": { "port": "web", "path": "/index.html" } })) });
    document.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
    let first = described(document);
    let mut second = first.clone();
    second.node = "node1".parse().unwrap();
    second.attempt.id = AttemptId(Uuid::new_v4());
    [first, second]
}

fn introduce(nodes: &mut [NodeSpecification; 2]) {
    let peers = nodes.each_ref().map(|node| (node.node.clone(), node.address.clone()));
    nodes.iter_mut().for_each(|node| node.peers = peers.iter().cloned().collect());
}

/// A network that no earlier run of the test has left in the engine.
fn network(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn interface(name: &str, network: &str, address: [u8; 4], gateway: Option<[u8; 4]>, bridge: Option<&str>) -> Interface {
    let [a, b, c, _] = address;
    Interface {
        name: name.parse().unwrap(),
        network: self::network(network).parse().unwrap(),
        address: address.into(),
        subnet: [a, b, c, 0].into(),
        prefix: 24,
        gateway: gateway.map(Ipv4Addr::from),
        bridge: bridge.map(str::to_owned),
    }
}

fn connected(mut node: NodeSpecification, interfaces: Vec<Interface>) -> NodeSpecification {
    node.address = interfaces[0].address.to_string();
    node.interfaces = interfaces;
    node
}

/// What a node gets from `host`, by its own means: the page without its head.
async fn fetched(node: &Node, host: &str, port: u16) -> String {
    let line = format!("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 60 {host} {port}");
    let (stdout, stderr, last) = node.exec(json!({ "command": ["sh", "-c", line] })).await;
    assert_eq!(last, ExecFrame::Exit(0), "{host}:{port}: {stderr}");
    stdout.split_once("\r\n\r\n").map(|(_, page)| page.to_owned()).unwrap_or(stdout)
}

async fn fetched_by_the_machine(host: &str, port: u16) -> String {
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
    let answer = client.get(format!("http://{host}:{port}/index.html")).send().await.unwrap();
    answer.text().await.unwrap()
}

/// Waits until the engine has no network of the platform with this name.
async fn network_gone(engine: &Engine, name: &str, node: &Node) {
    let going = async {
        while engine.networks().iter().any(|network| network == name) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    timeout(DEADLINE, going).await.unwrap_or_else(|_| panic!("{name} stays: {}", node.said()));
}

#[tokio::test]
async fn a_clusters_bridge_publishes_its_ports_and_goes_with_its_last_node() {
    let Some(engine) = apart("container_networks::a_clusters_bridge_publishes_its_ports_and_goes_with_its_last_node")
    else {
        return;
    };
    run("ip", &["address", "add", &format!("{MACHINE}/32"), "dev", "lo"]);
    // What executors leave that are killed at the wrong moment.
    engine.run(&["network", "create", "--label", "bigdata_registry=test", "bigdata-left"]);
    let mut nodes = two(&json!({ "env": { "AT": "@{listen}:@{listen:web} for @{address}:@{port:web}" } }));
    let web: Name = "web".parse().unwrap();
    for (node, port) in nodes.iter_mut().zip([31_005, 31_006]) {
        node.address = MACHINE.to_owned();
        node.ports.insert(web.clone(), port);
    }
    introduce(&mut nodes);
    let [first, second] = nodes;
    let name = format!("bigdata-{}", first.cluster);
    let mut first = launch_as(first, None).await;
    let mut second = launch_as(second, None).await;
    // The check asks the machine's address, and the port that is published there; the image listens in its own network.
    first.wait_for(TaskState::Running).await;
    second.wait_for(TaskState::Running).await;
    assert_eq!(engine.networks().iter().filter(|network| **network == name).count(), 1);
    let (stdout, stderr, _) = first.exec(json!({ "command": ["sh", "-c", "echo $AT"] })).await;
    assert_eq!(stdout, format!("0.0.0.0:8080 for {MACHINE}:31005\n"), "{stderr}");
    assert_eq!(fetched(&first, "node1", 31_006).await, "here\n", "a peer by its name");
    assert_eq!(fetched(&second, "node0.demo.local", 31_005).await, "here\n");
    assert_eq!(fetched(&second, "node1", 8080).await, "here\n", "its own name is its own address");
    assert_eq!(fetched(&second, MACHINE, 31_006).await, "here\n", "its own published port");
    let links = run("ip", &["-d", "link"]);
    assert_eq!(links.matches("hairpin on").count(), 2, "every node's port of the bridge: {links}");
    network_gone(engine, "bigdata-left", &first).await;

    gone(&mut first, engine).await;
    assert_eq!(engine.networks(), [name], "the other node is on it");
    assert_eq!(fetched_by_the_machine(MACHINE, 31_006).await, "here\n");
    gone(&mut second, engine).await;
    assert_eq!(engine.networks(), Vec::<String>::new());
    devices_left(&[]).await;
    let rules = run("iptables-save", &[]);
    assert!(!rules.contains("31005") && !rules.contains("31006"), "nothing is published any more: {rules}");
}

#[tokio::test]
async fn two_networks_have_leased_addresses_under_the_names_of_the_template() {
    let Some(engine) = apart("container_networks::two_networks_have_leased_addresses_under_the_names_of_the_template")
    else {
        return;
    };
    let networks = json!({ "eth1": { "networkname": "storage" }, "eth0": { "networkname": "admin" } });
    let [first, second] = two(&json!({ "env": { "MODE": "everywhere" }, "networks": networks }));
    let both = |last: u8| {
        let gateway = Some([10, 101, 0, 1]);
        let admin = interface("eth0", "admin", [10, 101, 0, last], gateway, None);
        vec![admin, interface("eth1", "storage", [10, 102, 0, last], None, None)]
    };
    let mut nodes = [connected(first, both(7)), connected(second, both(8))];
    introduce(&mut nodes);
    let [first, second] = nodes;
    let (mut first, mut second) = (launch_as(first, None).await, launch_as(second, None).await);
    first.wait_for(TaskState::Running).await;
    second.wait_for(TaskState::Running).await;
    let addresses = json!({ "command": ["sh", "-c", "ip -o -4 address | awk '{ print $2, $4 }'; ip route | awk '/^default/ { print $1, $3, $5 }'"] });
    let (stdout, stderr, _) = first.exec(addresses.clone()).await;
    let expected = "lo 127.0.0.1/8\neth0 10.101.0.7/24\neth1 10.102.0.7/24\ndefault 10.101.0.1 eth0\n";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&stdout), sorted(expected), "{stderr}");
    let variables = "echo $BIGDATA_ADDRESS $BIGDATA_LISTEN_ADDRESS $BIGDATA_ADDRESS_ETH0 $BIGDATA_ADDRESS_ETH1";
    let (stdout, ..) = first.exec(json!({ "command": ["sh", "-c", variables] })).await;
    assert_eq!(stdout, "10.101.0.7 10.101.0.7 10.101.0.7 10.102.0.7\n");
    for host in ["node1", "node1.demo.local", "10.101.0.8", "10.102.0.8"] {
        assert_eq!(fetched(&first, host, 8080).await, "here\n", "{host}");
    }
    assert_eq!(fetched(&second, "node0", 8080).await, "here\n");
    assert_eq!(fetched_by_the_machine("10.101.0.7", 8080).await, "here\n", "the machine is the network's gateway");

    // Its check passes again after a restart in place, and after one of its executor.
    kill(pid(&first).await, Signal::SIGKILL).unwrap();
    first.wait("back", |_, report| report.restarts == 1 && report.started).await;
    assert_eq!(sorted(&first.exec(addresses).await.0), sorted(expected));
    second.start_again().await;
    second.wait_for(TaskState::Running).await;
    assert_eq!(fetched(&second, "node0", 8080).await, "here\n");

    gone(&mut first, engine).await;
    assert_eq!(engine.networks().len(), 2, "the other node is on them");
    gone(&mut second, engine).await;
    assert_eq!(engine.networks(), Vec::<String>::new());
    devices_left(&[]).await;
}

#[tokio::test]
async fn a_bridge_of_the_machine_carries_a_network_that_the_machine_is_no_part_of() {
    let Some(engine) =
        apart("container_networks::a_bridge_of_the_machine_carries_a_network_that_the_machine_is_no_part_of")
    else {
        return;
    };
    run("ip", &["link", "add", "br-lan", "type", "bridge"]);
    run("ip", &["link", "set", "br-lan", "up"]);
    let networks = json!({ "lan": { "networkname": "lan" }, "eth0": { "networkname": "extra" } });
    let [first, second] = two(&json!({ "env": { "MODE": "everywhere" }, "networks": networks }));
    let both = |last: u8| {
        let gateway = Some([10, 103, 0, 254]);
        let lan = interface("lan", "lan", [10, 103, 0, last], gateway, Some("br-lan"));
        vec![lan, interface("eth0", "extra", [10, 104, 0, last], None, None)]
    };
    let mut nodes = [connected(first, both(7)), connected(second, both(8))];
    introduce(&mut nodes);
    let mut lost = connected(nodes[0].clone(), vec![interface("eth0", "lan", [10, 105, 0, 7], None, Some("br-none"))]);
    lost.attempt.id = AttemptId(Uuid::new_v4());
    let [first, second] = nodes;
    let (mut first, mut second) = (launch_as(first, None).await, launch_as(second, None).await);
    // The check passes though no way leads there from the machine.
    first.wait_for(TaskState::Running).await;
    second.wait_for(TaskState::Running).await;
    assert_eq!(run("ip", &["route", "show", "10.103.0.0/24"]), "");
    let (stdout, _, _) = first.exec(json!({ "command": ["ip", "-o", "-4", "address"] })).await;
    for (name, address) in [("lan", "10.103.0.7/24"), ("eth0", "10.104.0.7/24")] {
        let is_it = |line: &str| line.contains(&format!(" {name} ")) && line.contains(address);
        assert!(stdout.lines().any(is_it), "{name}: {stdout}");
    }
    for host in ["node1", "10.103.0.8", "10.104.0.8"] {
        assert_eq!(fetched(&first, host, 8080).await, "here\n", "{host}");
    }
    let (_, health) = second.control(Method::GET, "/v1/health", "").await;
    assert!(health.contains("\"started\":true"), "{health}");
    gone(&mut first, engine).await;
    gone(&mut second, engine).await;
    assert_eq!(engine.networks(), Vec::<String>::new());
    devices_left(&["br-lan"]).await;

    let mut node = launch_as(lost, None).await;
    let (status, _) = node.wait_for(TaskState::Failed).await;
    let message = status.message.unwrap();
    assert!(
        message.contains(&format!("the network {} cannot be made: ", network("lan"))) && message.contains("br-none"),
        "{message}"
    );
    node.over().await;
    assert_eq!(engine.containers(&own(&node)), Vec::<String>::new());
}
