//! The document that a script finds at `BIGDATA_CLUSTER`, and at `GET /v1/cluster` of its socket.

use crate::registry::Material;
use crate::store::StoredOutput;
use bigdata_common::api::cluster::{NetworkView, NodeList, NodeView};
use bigdata_common::blueprint::{Blueprint, Node};
use bigdata_common::event::{Connect, EndpointRole};
use bigdata_common::internal::Secrets;
use bigdata_common::status::{Health, NodeStatus};
use bigdata_common::{ClusterDn, ClusterId, Name};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value};

/// A cluster as its script sees it, secrets included.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// The distinguished name.
    pub dn: ClusterDn,
    /// The id.
    pub id: ClusterId,
    /// The name under which its nodes are found.
    pub dnsname: String,
    /// Its owner.
    pub user: Name,
    /// The product's name.
    pub product: Name,
    /// The product's version.
    pub version: Name,
    /// The nodes that are wanted now, in the template's order, and after them those that leave.
    pub nodes: IndexMap<Name, DocumentNode>,
    /// The services in the template's order.
    pub services: IndexMap<Name, DocumentService>,
    /// The options as they came out, with the values of secret ones.
    pub options: Map<String, Value>,
    /// What the script has published so far, endpoints left out.
    pub outputs: IndexMap<String, String>,
    /// The endpoints that the script has published so far.
    pub endpoints: IndexMap<String, DocumentEndpoint>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentNode {
    /// Its address; empty until it is placed.
    pub address: String,
    /// Its ports by name.
    pub ports: IndexMap<Name, u16>,
    /// The agent's host name.
    pub host: String,
    /// Where it stands.
    pub status: NodeStatus,
    /// Which attempt this is, from 1; 0 before the first. Another one is another process on, perhaps, another machine.
    pub attempt: u32,
    /// What its health checks say; null: nothing yet, or none are declared.
    pub passing: Option<bool>,
    /// Set where it is not part of the cluster as it shall be: it is drained, and released then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// CPUs that it has, or has from its next start on; null where nothing describes it any more.
    pub cpu: Option<f64>,
    /// Memory in MiB, likewise.
    pub mem: Option<u64>,
    /// Its disks by name.
    pub disks: IndexMap<Name, DocumentDisk>,
    /// Its network interfaces by name.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub networks: IndexMap<Name, DocumentNetwork>,
    /// The services that it bears.
    pub services: Vec<Name>,
    /// The keys of the template that the platform does not know, late values filled in.
    pub properties: Map<String, Value>,
}

/// A disk of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentDisk {
    /// Where a container sees it.
    pub destination: String,
    /// Size in MiB.
    pub size: u64,
    /// Whether it outlives the node's attempts.
    pub persistent: bool,
}

/// A network interface of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentNetwork {
    /// The pool that its address comes from.
    pub networkname: String,
    /// Its address; empty until the node is placed.
    pub address: String,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentService {
    /// The nodes that bear it.
    pub nodes: Vec<Name>,
    /// What else the template says of it, late values filled in.
    pub properties: Map<String, Value>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentEndpoint {
    /// What it is for.
    pub role: String,
    /// The address.
    pub url: String,
    /// How a client reaches it, where the script said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
}

/// One of the cluster's nodes: its name, what describes it, whether it leaves.
pub(crate) struct Member<'a> {
    pub(crate) name: &'a Name,
    pub(crate) described: Option<(&'a Node, &'a Blueprint)>,
    pub(crate) is_leaving: bool,
}

/// The nodes that are wanted, and those that leave. Pure. A cluster of which nothing is said node by node has those of its
/// blueprint.
pub(crate) fn members(material: &Material) -> Vec<Member<'_>> {
    let Material { specification, state, others, .. } = material;
    let own = &specification.blueprint;
    let find = |revision: u32, name: &Name| {
        let found = others.get(&revision).map(|other| &other.blueprint).filter(|_| revision != specification.revision);
        let blueprint = found.unwrap_or(own);
        blueprint.nodes.get(name).map(|node| (node, blueprint))
    };
    let anywhere = |name: &Name| others.keys().rev().find_map(|revision| find(*revision, name));
    let is_present = |name: &Name| state.nodes.is_empty() || state.nodes.contains_key(name);
    let present = own.nodes.keys().filter(|name| is_present(name) && !state.leaving.contains(name)).map(|name| {
        let revision = state.nodes.get(name).map_or(specification.revision, |wish| wish.revision);
        Member { name, described: find(revision, name), is_leaving: false }
    });
    let surplus =
        state.nodes.iter().filter(|(name, _)| !own.nodes.contains_key(*name) && !state.leaving.contains(name));
    let surplus = surplus.map(|(name, wish)| Member { name, described: find(wish.revision, name), is_leaving: true });
    let leaving = state.leaving.iter().map(|name| Member {
        name,
        described: anywhere(name).or_else(|| find(specification.revision, name)),
        is_leaving: true,
    });
    present.chain(surplus).chain(leaving).collect()
}

/// Makes the document.
pub(crate) fn document(material: &Material, published: &[StoredOutput]) -> Document {
    let Material { specification, secrets, nodes, .. } = material;
    let dn = specification.cluster.dn();
    let blueprint = &specification.blueprint;
    let late = Late { secrets, nodes };
    let node = |member: Member<'_>| {
        let Member { name, described, is_leaving } = member;
        let seen = nodes.nodes.iter().find(|seen| seen.name == *name);
        let disk = |disk: &bigdata_common::blueprint::Disk| DocumentDisk {
            destination: disk.destination.clone(),
            size: disk.size,
            persistent: disk.persistent,
        };
        let network = |network: &NetworkView| {
            let NetworkView { name, networkname, address } = network.clone();
            (name, DocumentNetwork { networkname, address })
        };
        let bears = |(_, service): &(&Name, &bigdata_common::blueprint::Service)| service.nodes.contains(name);
        let services = described.map(|(_, blueprint)| blueprint.services.iter().filter(bears));
        let node = DocumentNode {
            address: seen.map(|seen| seen.address.clone()).unwrap_or_default(),
            ports: seen.map(|seen| seen.ports.clone()).unwrap_or_default(),
            host: seen.map(|seen| seen.host.clone()).unwrap_or_default(),
            status: seen.map_or(NodeStatus::Pending, |seen| seen.status),
            attempt: seen.map_or(0, |seen| seen.attempt),
            passing: seen.and_then(passing),
            leaving: is_leaving,
            cpu: described.map(|(node, _)| node.cpu),
            mem: described.map(|(node, _)| node.mem),
            disks: described
                .iter()
                .flat_map(|(node, _)| &node.disks)
                .map(|(name, described)| (name.clone(), disk(described)))
                .collect(),
            networks: seen.iter().flat_map(|seen| &seen.networks).map(network).collect(),
            services: services.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            properties: described.map(|(node, _)| late.fill_map(&node.properties)).unwrap_or_default(),
        };
        (name.clone(), node)
    };
    let mut options = specification.options.clone();
    options.extend(secrets.0.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
    let (endpoints, outputs): (Vec<_>, Vec<_>) = published.iter().partition(|output| output.endpoint.is_some());
    let endpoint = |output: &StoredOutput| {
        let EndpointRole { role, connect } =
            output.endpoint.clone().unwrap_or(EndpointRole { role: String::new(), connect: None });
        (output.key.clone(), DocumentEndpoint { role, url: output.value.clone(), connect })
    };
    Document {
        dn: dn.clone(),
        id: specification.cluster.clone(),
        dnsname: blueprint.dnsname.clone(),
        user: dn.user.clone(),
        product: dn.product.name.clone(),
        version: dn.product.version.clone(),
        nodes: members(material).into_iter().map(node).collect(),
        services: blueprint
            .services
            .iter()
            .map(|(name, service)| {
                let properties = late.fill_map(&service.properties);
                (name.clone(), DocumentService { nodes: service.nodes.clone(), properties })
            })
            .collect(),
        options,
        outputs: outputs.into_iter().map(|output| (output.key.clone(), output.value.clone())).collect(),
        endpoints: endpoints.into_iter().map(endpoint).collect(),
    }
}

fn passing(seen: &NodeView) -> Option<bool> {
    match seen.health {
        Health::Unknown => None,
        health => Some(health == Health::Healthy),
    }
}

/// Late values that are known here: secrets, and the addresses and ports of named nodes. Others stay as they are.
struct Late<'a> {
    secrets: &'a Secrets,
    nodes: &'a NodeList,
}

impl Late<'_> {
    fn fill_map(&self, map: &Map<String, Value>) -> Map<String, Value> {
        map.iter().map(|(key, value)| (key.clone(), self.fill_value(value))).collect()
    }

    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.fill_value(item)).collect()),
            Value::Object(map) => Value::Object(self.fill_map(map)),
            other => other.clone(),
        }
    }

    /// Values are not looked at again: a secret may hold any text.
    fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('@') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let late = rest.strip_prefix("@{").and_then(|inner| inner.split_once('}'));
            if let Some(after) = rest.strip_prefix("@@{") {
                filled.push_str("@{");
                rest = after;
            } else if let Some((value, after)) = late.and_then(|(name, after)| Some((self.value(name)?, after))) {
                filled.push_str(&value);
                rest = after;
            } else {
                filled.push('@');
                rest = &rest[1..];
            }
        }
        filled.push_str(rest);
        filled
    }

    fn value(&self, name: &str) -> Option<String> {
        match name.split_once(':')? {
            ("secret", option) => self.secrets.0.get(option).cloned(),
            ("address", node) => {
                self.nodes.nodes.iter().find(|seen| seen.name.as_str() == node).map(|seen| seen.address.clone())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_values_of_properties() {
        let secrets = Secrets(IndexMap::from([("password".to_owned(), "@{secret:other}".to_owned())]));
        let nodes = NodeList { nodes: Vec::new() };
        let late = Late { secrets: &secrets, nodes: &nodes };
        for (text, filled) in [
            ("plain a@b", "plain a@b"),
            ("-p@{secret:password}-", "-p@{secret:other}-"),
            ("@@{secret:password}", "@{secret:password}"),
            ("@{address} @{secret:unknown} @{", "@{address} @{secret:unknown} @{"),
        ] {
            assert_eq!(late.fill(text), filled);
        }
    }
}
