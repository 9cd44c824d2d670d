//! Agents and clusters as a mixed fleet has them, by a seed.

use bigdata_common::blueprint::Blueprint;
use bigdata_common::internal::{ClusterState, Desired, Specification};
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_common::{ClusterDn, ClusterId, Name, ProductRef};
use bigdata_mesos::v1::{Attribute, DiskInfo, DiskSource, Resource};
use indexmap::IndexMap;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};

/// The source of a whole disk.
const MOUNT: i32 = 2;
/// Agents to a rack.
const RACK: usize = 40;

/// What an agent has, and what it says of itself.
pub(super) fn agent(number: usize, random: &mut SmallRng) -> (Vec<Resource>, Vec<Attribute>) {
    let cpus = *[4_u32, 8, 16, 32, 64].choose(random).unwrap_or(&8);
    let mem = f64::from(cpus) * f64::from(*[2048_u32, 4096, 8192].choose(random).unwrap_or(&4096));
    let mut resources = vec![
        Resource::scalar("cpus", f64::from(cpus)),
        Resource::scalar("mem", mem),
        Resource::scalar("disk", f64::from(random.random_range(100_000_u32..2_000_000))),
        Resource::ports([(31_000, 32_000), (8_000, 8_099)]),
    ];
    if random.random_ratio(1, 10) {
        let source = DiskSource { r#type: MOUNT, ..DiskSource::default() };
        let disk = Some(Box::new(DiskInfo { source: Some(source), ..DiskInfo::default() }));
        resources.push(Resource { disk, ..Resource::scalar("disk", 500_000.0) });
    }
    let first = u32::from_be_bytes([10, 0, 0, 0]) + u32::try_from(number).unwrap_or(0) * 64;
    let network = match random.random_range(0..5) {
        0 => format!("pool:{}/26", std::net::Ipv4Addr::from(first)),
        1 => "container".to_owned(),
        _ => "host".to_owned(),
    };
    let attributes = [
        ("bigdata_net", network),
        ("bigdata_containers", random.random_ratio(1, 2).to_string()),
        ("rack", format!("r{}", number / RACK)),
        ("zone", format!("z{}", number / RACK % 3)),
        ("disk", if random.random_ratio(1, 3) { "ssd".to_owned() } else { "hdd".to_owned() }),
        ("generation", format!("g{}", random.random_range(1..5))),
    ];
    (resources, attributes.into_iter().map(|(name, value)| Attribute::text(name, &value)).collect())
}

pub(super) fn cluster_id(number: u64) -> ClusterId {
    let name = |text: &str| text.parse::<Name>().expect("the text keeps the rule of names");
    let product = ProductRef { name: name("simulated"), version: name("1") };
    ClusterId::from(ClusterDn { user: name("bench"), product, number })
}

/// A cluster of 1 to 50 nodes: most are small, and a tenth has more than 20.
pub(super) fn size(random: &mut SmallRng) -> usize {
    match random.random_range(0..10) {
        0..=3 => 1,
        4..=6 => random.random_range(2..=5),
        7..=8 => random.random_range(6..=20),
        _ => random.random_range(21..=50),
    }
}

/// Nodes of up to three roles, each with needs and constraints of its own.
pub(super) fn nodes(size: usize, random: &mut SmallRng) -> Value {
    let roles: Vec<Value> = (0..random.random_range(1..=3)).map(|_| role(size, random)).collect();
    let node = |number: usize| (format!("n{number}"), roles[number % roles.len()].clone());
    Value::Object((0..size).map(node).collect::<Map<String, Value>>())
}

fn role(size: usize, random: &mut SmallRng) -> Value {
    let cpu = *[0.25, 0.5, 1.0, 1.0, 2.0, 4.0].choose(random).unwrap_or(&1.0);
    let mut node = json!({"cpu": cpu, "mem": random.random_range(256_u32..6_000), "command": "serve"});
    let mut constraints = Vec::new();
    if random.random_ratio(3, 10) {
        let zone = format!("z{}", random.random_range(0..3));
        constraints.push(json!({"operator": "equals", "attribute": "zone", "value": zone}));
    }
    if random.random_ratio(2, 10) {
        constraints.push(json!({"operator": "equals", "attribute": "disk", "value": "ssd"}));
    }
    if random.random_ratio(2, 10) {
        constraints.push(json!({"operator": "not_equals", "attribute": "generation", "value": "g1"}));
    }
    match random.random_range(0..10) {
        0..=2 => constraints.push(json!({"operator": "unique", "attribute": "hostname"})),
        3 if size <= 20 => constraints.push(json!({"operator": "unique", "attribute": "rack"})),
        _ => {}
    }
    node["constraints"] = Value::Array(constraints);
    let ports = (0..random.random_range(0..4_u16)).map(|number| {
        let fixed = random.random_ratio(1, 20);
        let port = 8_000 + number * 10 + random.random_range(0..10);
        (format!("p{number}"), json!({"port": port, "fixed": fixed}))
    });
    node["ports"] = Value::Object(ports.collect());
    if let Some((persistent, kind, size)) = match random.random_range(0..20) {
        0..=5 => Some((true, "volume", random.random_range(1_000_u32..20_000))),
        6..=9 => Some((false, "volume", random.random_range(100_u32..5_000))),
        10 if size <= 3 => Some((true, "whole", 100_000)),
        _ => None,
    } {
        node["disks"] = json!({"data": {"destination": "/data", "size": size, "persistent": persistent, "type": kind}});
    }
    if random.random_ratio(1, 10) {
        node["docker_image"] = json!("image:1");
        node.as_object_mut().map(|node| node.remove("command"));
    }
    node
}

pub(super) fn specification(id: &ClusterId, nodes: &Value) -> Specification {
    let blueprint: Blueprint = serde_json::from_value(json!({"dnsname": "bench", "nodes": nodes, "services": {}}))
        .expect("the simulated nodes are a blueprint");
    Specification {
        cluster: id.clone(),
        revision: 1,
        product: id.dn().product.clone(),
        product_revision: "1".to_owned(),
        blueprint,
        options: Map::new(),
        orchestrator: String::new(),
        reach_network: false,
        run_deadline_ms: 1_000,
    }
}

pub(super) fn cluster_state(id: &ClusterId, status: ClusterStatus) -> ClusterState {
    ClusterState {
        cluster: id.clone(),
        revision: 1,
        generation: 1,
        status,
        desired: Desired::Run,
        termination: Termination::Wipe,
        force: false,
        placement_deadline: None,
        origin: None,
        side_runs: Vec::new(),
        nodes: Default::default(),
        leaving: Vec::new(),
        run: None,
        observed: IndexMap::new(),
    }
}
