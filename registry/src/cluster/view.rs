//! How a cluster is shown. Pure.

use super::health;
use super::record::{Cluster, Observed};
use crate::lifecycle::State;
use crate::options::MASK;
use crate::store::nodes::NodeRow;
use bigdata_common::api::cluster::{
    ClusterEntry, ClusterView, DiskView, EndpointList, EndpointView, NetworkView, NodeView, OutputView, ServiceView,
};
use bigdata_common::blueprint::{Blueprint, Node};
use bigdata_common::event::Output;
use bigdata_common::status::{ClusterStatus, NodeStatus};
use bigdata_common::{ClusterDn, Name, Timestamp};

/// The cluster in the older system's shape, with its health as it is now.
pub fn entry(cluster: &Cluster, health: &Observed, now: Timestamp) -> ClusterEntry {
    ClusterEntry { result: "success".to_owned(), uri: cluster.id.dn().to_string(), data: view(cluster, health, now) }
}

fn age(at: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    at.map(|at| now.millis_since(at) / 1000)
}

fn view(cluster: &Cluster, health: &Observed, now: Timestamp) -> ClusterView {
    let dn = cluster.id.dn();
    let (reason, failed_during) = match &cluster.state {
        State::Failed { during, reason, .. } => (Some(reason.clone()), Some(*during)),
        State::Registered | State::Scheduling if !cluster.waiting.is_empty() => {
            (Some(format!("waits for places: {}", cluster.waiting.join("; "))), None)
        }
        State::Registered
        | State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Destroying { .. }
        | State::Destroyed { .. } => (None, None),
    };
    let leftovers = match &cluster.state {
        State::Destroyed { leftovers } => leftovers.clone(),
        _ => Vec::new(),
    };
    ClusterView {
        name: cluster.dnsname.clone(),
        dn: dn.clone(),
        id: cluster.id.clone(),
        status: cluster.state.status(),
        reason,
        failed_during,
        health: health.health,
        health_reasons: health.reasons.clone(),
        health_observed_at: health.at,
        health_age_s: age(health.at, now),
        user: dn.user.clone(),
        product: dn.product.clone(),
        product_revision: cluster.product_revision.clone(),
        options: cluster.options.clone(),
        termination: cluster.termination,
        nodes: cluster.nodes,
        nodes_running: cluster.nodes_running,
        created_at: cluster.created_at,
        phases: cluster.phases.clone(),
        operation: cluster.operation,
        leftovers,
    }
}

/// A node: what the template says of it and what was observed.
pub fn node(dn: &ClusterDn, declared: &Node, row: &NodeRow, now: Timestamp) -> NodeView {
    let observation = row.observation.as_ref();
    let host = observation.map(|observation| observation.host.clone()).unwrap_or_default();
    let address = observation.map(|observation| observation.address.clone()).unwrap_or_default();
    let disk = |(name, disk): (&Name, &bigdata_common::blueprint::Disk)| DiskView {
        name: name.clone(),
        host: host.clone(),
        destination: disk.destination.clone(),
        size: disk.size,
        persistent: disk.persistent,
    };
    let network = |(name, network): (&Name, &bigdata_common::blueprint::Network)| NetworkView {
        name: name.clone(),
        networkname: network.networkname.clone(),
        address: address.clone(),
    };
    NodeView {
        dn: dn.node(&row.name),
        name: row.name.clone(),
        cpu: declared.cpu,
        mem: declared.mem,
        status: row.status,
        health: health::of_node(row, now),
        ports: observation.map(|observation| observation.ports.clone()).unwrap_or_default(),
        attempt: observation.map_or(0, |observation| observation.attempt.number),
        restarts: observation.map_or(0, |observation| observation.restarts),
        reason: row.silent_seconds(now).map(health::silence).or_else(|| row.said().map(str::to_owned)),
        last_lines: observation.map(|observation| observation.last_lines.clone()).unwrap_or_default(),
        observed_at: row.observed_at,
        observed_age_s: age(row.observed_at, now),
        disks: declared.disks.iter().map(disk).collect(),
        networks: declared.networks.iter().map(network).collect(),
        host,
        address,
    }
}

/// The services, each with what its nodes come to.
pub fn services(cluster: &Cluster, blueprint: &Blueprint, rows: &[NodeRow]) -> Vec<ServiceView> {
    let dn = cluster.id.dn();
    let ended = matches!(cluster.state.status(), ClusterStatus::Destroying | ClusterStatus::Destroyed);
    let runs = |name: &Name| rows.iter().any(|row| row.name == *name && row.status == NodeStatus::Running);
    let status = |nodes: &[Name]| {
        let running = nodes.iter().filter(|name| runs(name)).count();
        match running {
            0 if ended => "stopped",
            0 if nodes.is_empty() => "running",
            count if count == nodes.len() => "running",
            0 if !cluster.has_reached(ClusterStatus::Scheduled) => "pending",
            0 => "stopped",
            _ if !cluster.has_reached(ClusterStatus::Scheduled) => "pending",
            _ => "degraded",
        }
    };
    let service = |(name, service): (&Name, &bigdata_common::blueprint::Service)| ServiceView {
        dn: dn.service(name),
        name: name.clone(),
        status: status(&service.nodes).to_owned(),
        nodes: service.nodes.clone(),
        properties: service.properties.clone(),
    };
    blueprint.services.iter().map(service).collect()
}

/// What the script published.
pub fn endpoints(outputs: &[Output]) -> EndpointList {
    let endpoint = |output: &Output| {
        let role = output.endpoint.as_ref()?.role.clone();
        Some(EndpointView { name: output.key.clone(), role, url: output.value.clone()? })
    };
    let shown = |output: &Output| OutputView {
        name: output.key.clone(),
        value: if output.secret { MASK.to_owned() } else { output.value.clone().unwrap_or_default() },
        secret: output.secret,
    };
    EndpointList {
        endpoints: outputs.iter().filter(|output| !output.secret).filter_map(endpoint).collect(),
        outputs: outputs.iter().filter(|output| output.endpoint.is_none() || output.secret).map(shown).collect(),
    }
}
