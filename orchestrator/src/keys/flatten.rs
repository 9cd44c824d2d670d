//! The keys of a run's cluster.

use crate::document::{Document, DocumentNode, members};
use crate::registry::Material;
use bigdata_common::api::cluster::NodeView;
use bigdata_common::blueprint::{DiskKind, Node, PortRef, Probe};
use bigdata_common::{ClusterDn, Name};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What stands where the older system knew no value yet.
const UNSET: &str = "_";

/// Every key of the run's cluster and product, in the order of the keys. `told` is what the script has written itself: it
/// counts where the platform keeps no value of its own.
///
/// Nodes that leave are left out: a script of the older system would configure them. Secrets stand in the properties of
/// nodes and services, which the script configures by, as in `BIGDATA_CLUSTER`; `docker_opts` names them (`@{secret:…}`),
/// since the engine has been given them already.
pub(crate) fn keys(
    material: &Material,
    document: &Document,
    told: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let root = document.dn.to_string();
    let mut keys = Keys::default();
    for member in members(material).into_iter().filter(|member| !member.is_leaving) {
        let Some(shown) = document.nodes.get(member.name) else { continue };
        let seen = material.nodes.nodes.iter().find(|seen| seen.name == *member.name);
        keys.node(&document.dn, member.name, member.described.map(|(node, _)| node), seen, shown);
    }
    for (name, service) in &document.services {
        let prefix = format!("{root}/services/{name}");
        keys.set(format!("{prefix}/name"), name);
        keys.properties(&prefix, &service.properties);
        for node in &service.nodes {
            keys.set(format!("{prefix}/nodes/{node}"), "");
        }
    }
    let (placed, wanted) = (
        document.nodes.values().filter(|node| !node.leaving && !node.address.is_empty()).count(),
        document.nodes.values().filter(|node| !node.leaving).count(),
    );
    keys.set(format!("{root}/dnsname"), &document.dnsname);
    keys.set(format!("{root}/status"), material.state.status);
    // Nodes that have a place, and their part of all.
    keys.set(format!("{root}/step"), placed);
    keys.set(format!("{root}/progress"), placed * 100 / wanted.max(1));
    let product = format!("products/{}/{}", document.product, document.version);
    keys.set(format!("{product}/name"), &document.product);
    keys.set(format!("{product}/version"), &document.version);
    keys.set(format!("{product}/orchestrator"), &material.specification.orchestrator);
    keys.0.extend(told.iter().map(|(key, value)| (key.clone(), value.clone())));
    keys.0
}

#[derive(Default)]
struct Keys(BTreeMap<String, String>);

impl Keys {
    fn set(&mut self, key: String, value: impl ToString) {
        self.0.insert(key, value.to_string());
    }

    fn node(
        &mut self,
        cluster: &ClusterDn,
        name: &Name,
        described: Option<&Node>,
        seen: Option<&NodeView>,
        shown: &DocumentNode,
    ) {
        let prefix = format!("{cluster}/nodes/{name}");
        self.properties(&prefix, &shown.properties);
        self.set(format!("{prefix}/name"), name);
        self.set(format!("{prefix}/id"), prefix.replace('/', "--").replace('.', "__"));
        self.set(format!("{prefix}/status"), shown.status);
        if !shown.host.is_empty() {
            self.set(format!("{prefix}/host"), &shown.host);
        }
        if let Some(port) = shown.ports.get("main") {
            self.set(format!("{prefix}/port"), port);
        }
        for service in &shown.services {
            self.set(format!("{prefix}/services/{service}"), "");
        }
        if let Some(node) = described {
            self.described(&prefix, node, shown);
        }
        self.networks(&prefix, described, seen, shown);
    }

    /// What the template says of a node.
    fn described(&mut self, prefix: &str, node: &Node, shown: &DocumentNode) {
        // Older scripts read whole numbers, and `int()` takes no "1.0".
        self.set(format!("{prefix}/cpu"), node.cpu);
        self.set(format!("{prefix}/mem"), node.mem);
        for (key, text) in [("docker_image", &node.docker_image), ("docker_opts", &node.docker_opts)] {
            if let Some(text) = text {
                self.set(format!("{prefix}/{key}"), text);
            }
        }
        let health = node.health.as_ref().map(|check| &check.probe);
        if let Some(Probe::Tcp(ports)) = health {
            let number = |port: &PortRef| match port {
                PortRef::Number(number) => Some(number.to_string()),
                PortRef::Name(name) => shown.ports.get(name).map(u16::to_string),
            };
            let numbers: Vec<String> = ports.iter().filter_map(number).collect();
            self.set(format!("{prefix}/check_ports"), numbers.join(","));
        }
        for (name, disk) in &node.disks {
            let disk_kind = match disk.kind {
                DiskKind::Volume => "volume",
                DiskKind::Whole => "whole",
            };
            let facts =
                [("name", name.as_str()), ("destination", &disk.destination), ("origin", UNSET), ("mode", "rw")];
            for (key, value) in facts.into_iter().chain([("type", disk_kind)]) {
                self.set(format!("{prefix}/disks/{name}/{key}"), value);
            }
        }
    }

    /// A node's interfaces; one whose template names none has `eth0`, since older scripts take their addresses from there.
    fn networks(&mut self, prefix: &str, described: Option<&Node>, seen: Option<&NodeView>, shown: &DocumentNode) {
        let or_unset = |address: &str| if address.is_empty() { UNSET.to_owned() } else { address.to_owned() };
        let networks = described.map(|node| &node.networks).filter(|networks| !networks.is_empty());
        let Some(networks) = networks else {
            for (key, value) in [("name", "eth0"), ("type", "dynamic"), ("address", &or_unset(&shown.address))] {
                self.set(format!("{prefix}/networks/eth0/{key}"), value);
            }
            return;
        };
        for (name, network) in networks {
            let leased = seen.and_then(|seen| seen.networks.iter().find(|leased| leased.name == *name));
            let address = leased.map(|leased| leased.address.as_str()).filter(|address| !address.is_empty());
            let network_type = if network.address.is_some() { "static" } else { "dynamic" };
            let facts = [
                ("name", name.as_str()),
                ("networkname", &network.networkname),
                ("type", network_type),
                ("address", &or_unset(address.unwrap_or(&shown.address))),
            ];
            for (key, value) in facts {
                self.set(format!("{prefix}/networks/{name}/{key}"), value);
            }
        }
    }

    fn properties(&mut self, prefix: &str, properties: &Map<String, Value>) {
        for (key, value) in properties {
            self.value(format!("{prefix}/{key}"), value);
        }
    }

    /// The older rule: a scalar is a key, an object goes on below it, each element of a list is an empty key. What it had no
    /// key for (null, lists and objects in lists) has none here.
    fn value(&mut self, key: String, value: &Value) {
        match value {
            Value::Object(fields) => self.properties(&key, fields),
            Value::Array(items) => {
                for name in items.iter().filter_map(scalar) {
                    self.set(format!("{key}/{name}"), "");
                }
            }
            scalar_value => {
                if let Some(text) = scalar(scalar_value) {
                    self.set(key, text);
                }
            }
        }
    }
}

/// A scalar as the older registry wrote it, which was Python's `str()`.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::document;
    use serde_json::json;

    fn material() -> Material {
        let id = "clusters--ann--mysql--8__0--1";
        let node = |leaves: bool| {
            json!({
                "cpu": if leaves { 0.5 } else { 2.0 }, "mem": 512, "docker_image": "db:8", "docker_opts": "-e P=@{secret:password}",
                "disks": {"disk0": {"destination": "/data/0", "size": 100, "persistent": true, "type": "volume"}},
                "networks": {"eth0": {"networkname": "storage"}, "eth1": {"networkname": "admin", "address": "10.0.0.9"}},
                "ports": {"main": {"port": 3306, "fixed": false}},
                "health": {"tcp": ["main", 22], "interval_ms": 1, "timeout_ms": 1, "failures": 1, "deadline_ms": 1},
                "properties": {"tags": "a,b", "custom": [1, "two", [3]], "deep": {"on": true, "none": null, "x.y": 1.5}},
            })
        };
        let seen = json!({
            "dn": "clusters/ann/mysql/8.0/1/nodes/db0", "name": "db0", "cpu": 2.0, "mem": 512, "host": "agent-1",
            "status": "running", "health": "unknown", "address": "10.0.0.7", "ports": {"main": 3307}, "attempt": 1,
            "restarts": 0, "reason": null, "observed_at": null, "disks": [],
            "networks": [{"name": "eth0", "networkname": "storage", "address": "10.1.0.7"}],
        });
        let specification = json!({
            "cluster": id, "revision": 1, "product": {"name": "mysql", "version": "8.0"}, "product_revision": "r",
            "blueprint": {
                "dnsname": "db.example", "nodes": {"db0": node(false), "db1": {"cpu": 1.5, "mem": 64}, "db2": node(true)},
                "services": {
                    "all": {"nodes": ["db0", "db1"], "properties": {"key": "@{secret:password}", "status": "pending"}},
                    "none": {"nodes": []},
                },
            },
            "options": {"size": 2}, "orchestrator": "#!/bin/sh\n", "reach_network": false, "run_deadline_ms": 1,
        });
        let state = json!({
            "cluster": id, "revision": 1, "generation": 1, "status": "configuring", "desired": "run",
            "termination": "wipe", "force": false, "placement_deadline": null, "run": null, "leaving": ["db2"],
            "nodes": {"db0": {"revision": 1, "incarnation": 1}, "db1": {"revision": 1, "incarnation": 1}},
        });
        Material {
            specification: serde_json::from_value(specification).unwrap(),
            secrets: serde_json::from_value(json!({"password": "hunter2"})).unwrap(),
            nodes: serde_json::from_value(json!({"nodes": [seen]})).unwrap(),
            state: serde_json::from_value(state).unwrap(),
            others: BTreeMap::new(),
        }
    }

    #[test]
    fn a_cluster_as_the_older_registry_had_it() {
        let material = material();
        let told = BTreeMap::from([("clusters/ann/mysql/8.0/1/services/all/status".to_owned(), "up".to_owned())]);
        let keys = keys(&material, &document(&material, &[]), &told);
        let expected = "\
            dnsname=db.example nodes/db0/check_ports=3307,22 nodes/db0/cpu=2 nodes/db0/custom/1= nodes/db0/custom/two= \
            nodes/db0/deep/on=True nodes/db0/deep/x.y=1.5 nodes/db0/disks/disk0/destination=/data/0 \
            nodes/db0/disks/disk0/mode=rw nodes/db0/disks/disk0/name=disk0 nodes/db0/disks/disk0/origin=_ \
            nodes/db0/disks/disk0/type=volume nodes/db0/docker_image=db:8 nodes/db0/docker_opts=-e~P=@{secret:password} \
            nodes/db0/host=agent-1 nodes/db0/id=clusters--ann--mysql--8__0--1--nodes--db0 nodes/db0/mem=512 \
            nodes/db0/name=db0 nodes/db0/networks/eth0/address=10.1.0.7 nodes/db0/networks/eth0/name=eth0 \
            nodes/db0/networks/eth0/networkname=storage nodes/db0/networks/eth0/type=dynamic \
            nodes/db0/networks/eth1/address=10.0.0.7 nodes/db0/networks/eth1/name=eth1 \
            nodes/db0/networks/eth1/networkname=admin nodes/db0/networks/eth1/type=static nodes/db0/port=3307 \
            nodes/db0/services/all= nodes/db0/status=running nodes/db0/tags=a,b nodes/db1/cpu=1.5 \
            nodes/db1/id=clusters--ann--mysql--8__0--1--nodes--db1 nodes/db1/mem=64 nodes/db1/name=db1 \
            nodes/db1/networks/eth0/address=_ nodes/db1/networks/eth0/name=eth0 nodes/db1/networks/eth0/type=dynamic \
            nodes/db1/services/all= nodes/db1/status=pending progress=50 services/all/key=hunter2 services/all/name=all \
            services/all/nodes/db0= services/all/nodes/db1= services/all/status=up services/none/name=none \
            status=configuring step=1";
        let own = keys.iter().filter_map(|(key, value)| {
            let key = key.strip_prefix("clusters/ann/mysql/8.0/1/")?;
            Some(format!("{key}={}", value.replace(' ', "~")))
        });
        assert_eq!(own.collect::<Vec<_>>(), expected.split(' ').collect::<Vec<_>>());
        let others: Vec<&String> = keys.keys().filter(|key| !key.starts_with("clusters/")).collect();
        let product = ["name", "orchestrator", "version"].map(|key| format!("products/mysql/8.0/{key}"));
        assert_eq!(others, product.iter().collect::<Vec<_>>());
    }
}
