//! How a cluster is shown. Pure.

use super::health;
use super::record::{Cluster, Observed};
use crate::connect;
use crate::lifecycle::State;
use crate::options::MASK;
use crate::store::nodes::NodeRow;
use bigdata_common::api::cluster::{
    ClusterEntry, ClusterView, DiskView, EndpointList, EndpointView, NetworkView, NodeView, OutputView, ServiceView,
};
use bigdata_common::blueprint::{Blueprint, Node};
use bigdata_common::event::{EndpointRole, Output};
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
    let leased = |name: &Name| {
        let mut interfaces = observation.iter().flat_map(|observation| &observation.interfaces);
        interfaces.find(|interface| interface.name == *name).map(|interface| interface.address.clone())
    };
    let network = |(name, network): (&Name, &bigdata_common::blueprint::Network)| NetworkView {
        name: name.clone(),
        networkname: network.networkname.clone(),
        // Where a node has no interfaces of its own, all are the one that it has.
        address: leased(name).unwrap_or_else(|| address.clone()),
    };
    NodeView {
        dn: dn.node(&row.name),
        name: row.name.clone(),
        cpu: declared.cpu,
        mem: declared.mem,
        status: shown_status(row),
        leaving: row.leaving,
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

/// One that leaves is on its way out from the moment on from which it is wanted no more.
fn shown_status(row: &NodeRow) -> NodeStatus {
    match row.status {
        NodeStatus::Pending | NodeStatus::Queued | NodeStatus::Launching | NodeStatus::Running if row.leaving => {
            NodeStatus::Stopping
        }
        status => status,
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
pub fn endpoints(dn: &ClusterDn, outputs: &[Output]) -> EndpointList {
    let endpoint = |output: &Output| {
        let EndpointRole { role, connect } = output.endpoint.clone()?;
        let line = connect.as_ref().and_then(|connect| connect::line(dn, connect));
        Some(EndpointView { name: output.key.clone(), role, url: output.value.clone()?, connect, line })
    };
    // What the script withdrew is kept without a value, so that an older word of it that comes late is known as such.
    let shown = |output: &Output| {
        let value = if output.secret { MASK.to_owned() } else { output.value.clone()? };
        Some(OutputView { name: output.key.clone(), value, secret: output.secret })
    };
    EndpointList {
        endpoints: outputs.iter().filter(|output| !output.secret).filter_map(endpoint).collect(),
        outputs: outputs.iter().filter(|output| output.endpoint.is_none() || output.secret).filter_map(shown).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_interface_has_its_leased_address_or_else_the_nodes() {
        let declared: Node = serde_json::from_value(json!({
            "cpu": 1.0, "mem": 64, "docker_image": "i",
            "networks": {"eth0": {"networkname": "admin"}, "eth1": {"networkname": "storage"}},
        }))
        .unwrap();
        let observation = |interfaces: serde_json::Value| {
            json!({
                "status": "running", "attempt": {"id": uuid::Uuid::from_u128(1), "number": 1}, "agent": "a", "host": "h",
                "address": "10.1.0.7", "interfaces": interfaces, "ports": {}, "passing": null, "observed_at": Timestamp::from_millis(0),
                "restarts": 0, "reason": null, "gave_up": false,
            })
        };
        let shown = |interfaces: serde_json::Value| -> Vec<String> {
            let row = NodeRow {
                name: "n".parse().unwrap(),
                status: NodeStatus::Running,
                health_declared: false,
                passing: None,
                observed_at: None,
                observation: Some(serde_json::from_value(observation(interfaces)).unwrap()),
                holds_ms: None,
                silent: false,
                wish: bigdata_common::internal::NodeWish { revision: 1, incarnation: 0, elsewhere: false },
                leaving: false,
                told: None,
            };
            let dn = bigdata_common::ClusterId::parse_any("clusters/ann/demo/1.0/1").unwrap().dn().clone();
            let networks = node(&dn, &declared, &row, Timestamp::from_millis(0)).networks;
            networks.into_iter().map(|it| format!("{} {} {}", it.name, it.networkname, it.address)).collect()
        };
        let leased = json!([
            {"name": "eth0", "network": "admin", "address": "10.1.0.7"},
            {"name": "eth1", "network": "storage", "address": "10.2.0.9"},
        ]);
        assert_eq!(shown(leased), ["eth0 admin 10.1.0.7", "eth1 storage 10.2.0.9"]);
        assert_eq!(shown(json!([])), ["eth0 admin 10.1.0.7", "eth1 storage 10.1.0.7"]);
    }
}
