//! Compares what a template renders to now with the nodes that a cluster has.
//!
//! The template names the nodes of a size; when a user names others to go, a surplus node stays in the place of one that
//! goes ([`StandIn`]), and later renderings find it there.

use super::compare::{differences, redirected, reference};
use bigdata_chassis::http::json::escape;
use bigdata_common::Name;
use bigdata_common::api::problem::Fault;
use bigdata_common::blueprint::{Blueprint, Node, Service};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A node that stays in the place of another one of the template's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandIn {
    /// The node that is there.
    pub node: Name,
    /// What the template renders in that place: as long as it stays so, the node is left as it is.
    pub rendered: Node,
}

/// Nodes in the places of others, by the names that the template gives these.
pub type StandIns = IndexMap<Name, StandIn>;

/// A node that the cluster has.
#[derive(Debug, Clone)]
pub struct Present {
    /// As the revision that it follows describes it.
    pub node: Node,
    /// The nodes of that revision.
    pub peers: BTreeSet<Name>,
}

/// What a cluster has now.
#[derive(Debug, Clone, Default)]
pub struct Former {
    /// Its nodes, in their order.
    pub nodes: IndexMap<Name, Present>,
    /// Its services.
    pub services: IndexMap<Name, Service>,
    /// See [`StandIns`].
    pub stand_ins: StandIns,
}

/// What is to be done, and what comes of it.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Nodes and services as they shall be.
    pub blueprint: Blueprint,
    /// See [`StandIns`].
    pub stand_ins: StandIns,
    /// Nodes that come.
    pub added: Vec<Name>,
    /// Nodes that go, the newest first.
    pub removed: Vec<Name>,
    /// Nodes that are to be started anew, each with what differs.
    pub changed: IndexMap<Name, Vec<String>>,
    /// Nodes that stay as they are.
    pub unchanged: Vec<Name>,
}

/// Compares a rendering with what the cluster has; `remove` are the nodes that a user named to go.
///
/// # Errors
/// Why the named nodes cannot go, each with its place in the query; and texts that would name nodes which are gone.
pub fn compare(former: &Former, rendered: &Blueprint, remove: &[Name]) -> Result<Comparison, Vec<Fault>> {
    let mut planner = Planner::new(former, rendered);
    planner.take_away(remove)?;
    planner.finish()
}

struct Planner<'a> {
    former: &'a Former,
    rendered: &'a Blueprint,
    /// Stand-ins of before that stay so, and new ones.
    stand_ins: StandIns,
    /// The places whose stand-ins are new.
    fresh: BTreeSet<Name>,
}

impl<'a> Planner<'a> {
    fn new(former: &'a Former, rendered: &'a Blueprint) -> Self {
        // Where the template renders the node itself again, it has its own place again.
        let stays = |(place, stand_in): &(&Name, &StandIn)| {
            let node = &stand_in.node;
            rendered.nodes.contains_key(*place) && !rendered.nodes.contains_key(node) && former.nodes.contains_key(node)
        };
        let stand_ins =
            former.stand_ins.iter().filter(stays).map(|(place, one)| (place.clone(), one.clone())).collect();
        Self { former, rendered, stand_ins, fresh: BTreeSet::new() }
    }

    /// The node in a place.
    fn node_of<'b>(&'b self, place: &'b Name) -> &'b Name {
        self.stand_ins.get(place).map_or(place, |stand_in| &stand_in.node)
    }

    /// The place of a node.
    fn place_of(&self, node: &Name) -> Option<Name> {
        self.rendered.nodes.keys().find(|place| self.node_of(place) == node).cloned()
    }

    fn surplus(&self) -> Vec<Name> {
        self.former.nodes.keys().filter(|name| self.place_of(name).is_none()).cloned().collect()
    }

    fn take_away(&mut self, remove: &[Name]) -> Result<(), Vec<Fault>> {
        let surplus = self.surplus();
        let mut faults = Vec::new();
        for (index, name) in remove.iter().enumerate() {
            if !self.former.nodes.contains_key(name) {
                faults.push(Fault::new("/remove", format!("the cluster has no node {name}")));
            } else if remove[..index].contains(name) {
                faults.push(Fault::new("/remove", format!("{name} is named twice")));
            }
        }
        if remove.len() > surplus.len() {
            let words = format!("with these options {} of its nodes go, and {} are named", surplus.len(), remove.len());
            faults.push(Fault::new("/remove", words));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut spare: Vec<Name> = surplus.iter().filter(|name| !remove.contains(name)).cloned().collect();
        for name in remove.iter().filter(|name| !surplus.contains(name)) {
            match spare.iter().position(|other| self.is_like(name, other)) {
                Some(at) => self.put_in_place_of(name, spare.remove(at)),
                None => {
                    let others = spare.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
                    let words = format!(
                        "{name} cannot go: of the nodes that would go otherwise ({others}) none is of the same \
                         services with the same resources, to stay in its place"
                    );
                    faults.push(Fault::new("/remove", words));
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Whether one node can stand for the other: of the same services, and with the same resources.
    fn is_like(&self, name: &Name, other: &Name) -> bool {
        let services = |name: &Name| -> Vec<&Name> {
            let bears = |(_, service): &(&Name, &Service)| service.nodes.contains(name);
            self.former.services.iter().filter(bears).map(|(service, _)| service).collect()
        };
        let (node, another) = (&self.former.nodes[name].node, &self.former.nodes[other].node);
        let bits = |node: &Node| node.cpu.to_bits();
        services(name) == services(other)
            && (bits(node), node.mem, node.start) == (bits(another), another.mem, another.start)
            && (&node.disks, &node.networks, &node.ports) == (&another.disks, &another.networks, &another.ports)
    }

    fn put_in_place_of(&mut self, name: &Name, node: Name) {
        let Some(place) = self.place_of(name) else { return };
        let rendered = self.rendered.nodes[&place].clone();
        self.fresh.insert(place.clone());
        self.stand_ins.insert(place, StandIn { node, rendered });
    }

    fn finish(mut self) -> Result<Comparison, Vec<Fault>> {
        let names: IndexMap<Name, Name> =
            self.rendered.nodes.keys().map(|place| (place.clone(), self.node_of(place).clone())).collect();
        let there: BTreeSet<Name> = names.values().cloned().collect();
        let other_name = |name: &str| names.get(name).filter(|node| node.as_str() != name).cloned();
        let (mut nodes, mut changed) = (IndexMap::new(), IndexMap::new());
        let (mut added, mut unchanged) = (Vec::new(), Vec::new());
        for (place, name) in &names {
            let rendered = redirected(&self.rendered.nodes[place], other_name);
            let Some(present) = self.former.nodes.get(name) else {
                added.push(name.clone());
                nodes.insert(name.clone(), rendered);
                continue;
            };
            let (differs, node) = self.look(place, present, rendered, &there);
            if differs.is_empty() {
                unchanged.push(name.clone());
            } else {
                changed.insert(name.clone(), differs);
            }
            nodes.insert(name.clone(), node);
        }
        let mut removed = self.surplus();
        removed.reverse();
        let faults = self.dangling(&nodes, &there);
        if !faults.is_empty() {
            return Err(faults);
        }
        for (place, stand_in) in &mut self.stand_ins {
            stand_in.rendered = self.rendered.nodes[place].clone();
        }
        let service = |(name, service): (&Name, &Service)| {
            let nodes = service.nodes.iter().map(|place| self.node_of(place).clone()).collect();
            (name.clone(), Service { nodes, properties: service.properties.clone() })
        };
        let services = self.rendered.services.iter().map(service).collect();
        let blueprint = Blueprint { dnsname: self.rendered.dnsname.clone(), nodes, services };
        Ok(Comparison { blueprint, stand_ins: self.stand_ins, added, removed, changed, unchanged })
    }

    /// What differs in a place that has a node, and how that is described from now on.
    fn look(&self, place: &Name, present: &Present, rendered: Node, there: &BTreeSet<Name>) -> (Vec<String>, Node) {
        let differ = |old: &Node, new: &Node, peers: &BTreeSet<Name>| {
            let passing = peers.symmetric_difference(there).map(Name::as_str).collect();
            differences(old, new, &passing)
        };
        let Some(stand_in) = self.stand_ins.get(place) else {
            return (differ(&present.node, &rendered, &present.peers), rendered);
        };
        // What its place looks like may differ from the node itself, which has another's number or name in its texts.
        let differs = if self.fresh.contains(place) {
            let (before, peers) = match self.former.stand_ins.get(place) {
                Some(former) => (&former.rendered, &present.peers),
                None => (&self.former.nodes[place].node, &self.former.nodes[place].peers),
            };
            differ(before, &self.rendered.nodes[place], peers)
        } else {
            differ(&stand_in.rendered, &self.rendered.nodes[place], &present.peers)
        };
        let node = if differs.is_empty() { present.node.clone() } else { rendered };
        (differs, node)
    }

    /// Texts of nodes that name a node which is gone: nothing could fill them in when the node is started again. And
    /// texts that now name a stand-in: they were filled in with the address of the one that goes.
    fn dangling(&self, nodes: &IndexMap<Name, Node>, there: &BTreeSet<Name>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |name: &Name, (place, other): (String, &str)| {
            let words = format!(
                "the text of {name} names the address of {other}, which would go; let the script write what a node \
                 knows of others, or let other nodes go"
            );
            faults.push(Fault::new(format!("/nodes/{}{place}", escape(name.as_str())), words));
        };
        for (name, node) in nodes {
            if let Some(found) = reference(node, |other| !there.contains(other)) {
                fault(name, found);
            }
        }
        for (place, node) in self.rendered.nodes.iter().filter(|(place, _)| !self.fresh.contains(*place)) {
            if let Some(found) = reference(node, |other| self.fresh.contains(other)) {
                fault(self.node_of(place), found);
            }
        }
        faults
    }
}
