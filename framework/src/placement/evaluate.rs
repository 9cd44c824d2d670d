//! Whether one agent is a place for one node, and what the node would take there.

use super::access::{NETWORK, is_connected};
use super::room::Room;
use super::take::{self, Claim};
use super::{Board, Candidate, Miss, Request, Slot};
use bigdata_common::ClusterId;
use bigdata_common::blueprint::{Constraint, DiskKind, Node};
use indexmap::IndexMap;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// The agent's attribute that says that a container engine answers there.
pub(crate) const DOCKER_ATTRIBUTE: &str = "bigdata_containers";

/// A node of the same cluster that has its place, by the index of its agent on the board.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer<'a> {
    pub node: &'a Node,
    pub candidate: usize,
}

/// One question to the board.
pub(super) struct Question<'a> {
    pub board: &'a Board,
    pub cluster: &'a ClusterId,
    pub request: &'a Request<'a>,
    pub peers: &'a [Peer<'a>],
}

/// What a node is to have that is to be seen at a glance.
pub(super) struct Needs {
    /// What it takes of an agent's CPUs, memory and disks, its executor included.
    pub room: Room,
    taken: Vec<Taken>,
}

/// An attribute that a node must be alone with, and the values that its neighbours have of it.
struct Taken {
    attribute: String,
    values: HashSet<String>,
    /// Whether one of them does not have it.
    unset: bool,
}

impl Taken {
    fn holds(&self, candidate: &Candidate) -> bool {
        value_of(candidate, &self.attribute).map_or(self.unset, |value| self.values.contains(value))
    }
}

/// The container engine that an agent's attributes tell of.
pub(crate) fn engine_of(attributes: &BTreeMap<String, String>) -> Option<&str> {
    attributes.get(DOCKER_ATTRIBUTE).map(String::as_str).filter(|value| *value != "false")
}

fn lacks_engine(candidate: &Candidate, node: &Node) -> bool {
    (node.needs_engine() || node.docker_image.is_some() && is_connected(candidate, node))
        && engine_of(&candidate.attributes).is_none()
}

pub(super) fn miss(reason: &'static str, distance: f64, words: String) -> Miss {
    Miss { reason, distance, words }
}

impl Question<'_> {
    pub(super) fn claim<'c>(&'c self, cluster: &'c str) -> Claim<'c> {
        let rules = &self.board.rules;
        Claim { role: &rules.role, registry: &rules.registry, cluster, node: self.request.name.as_str() }
    }

    /// The slot on this agent.
    ///
    /// # Errors
    /// The first thing that stands against it: what cannot change first, then amounts, then the offer.
    pub(super) fn ask(&self, index: usize) -> Result<Slot, Miss> {
        let candidate = self.board.candidate(index);
        self.check_runtime(candidate)?;
        self.check_networks(candidate)?;
        self.check_constraints(candidate)?;
        self.check_volumes(candidate)?;
        if !candidate.fresh {
            let words = format!("agent {} has made no offer since the service started", candidate.host);
            return Err(miss("offer", 0.9, words));
        }
        if let Some(leaving) = &candidate.leaving {
            return Err(miss("offer", 1.0, format!("agent {} is to be away {leaving}", candidate.host)));
        }
        let cluster = self.cluster.to_string();
        let claim = self.claim(&cluster);
        let mut slot = Slot {
            candidate: index,
            resources: Vec::new(),
            executor: Vec::new(),
            reserve: Vec::new(),
            create: Vec::new(),
            volumes: Vec::new(),
            pool: None,
            address: candidate.address.clone(),
            interfaces: Vec::new(),
            ports: IndexMap::new(),
            agent_ports: Vec::new(),
            free: Arc::clone(&candidate.free),
        };
        self.take_scalars(candidate, claim, &mut slot)?;
        self.take_disks(candidate, claim, &mut slot)?;
        self.take_ports(candidate, claim, &mut slot)?;
        match is_connected(candidate, self.request.node) {
            true => self.take_interfaces(candidate, &mut slot)?,
            false => self.take_address(candidate, &mut slot)?,
        }
        if !candidate.offered {
            let words = format!("agent {} has room by what it offered last, and makes no offer now", candidate.host);
            return Err(miss("offer", 0.0, words));
        }
        Ok(slot)
    }

    fn check_runtime(&self, candidate: &Candidate) -> Result<(), Miss> {
        if !lacks_engine(candidate, self.request.node) {
            return Ok(());
        }
        let words = format!(
            "agent {} has no container engine (attribute {DOCKER_ATTRIBUTE}), and the node {}",
            candidate.host,
            if is_connected(candidate, self.request.node) {
                "has an image and networks, for which the agent would make it a container"
            } else {
                "has an image and no command"
            }
        );
        Err(miss("runtime", 2.0, words))
    }

    fn check_constraints(&self, candidate: &Candidate) -> Result<(), Miss> {
        for constraint in &self.request.node.constraints {
            let refusal = match constraint {
                Constraint::Equals { attribute, value } => {
                    let found = value_of(candidate, attribute);
                    (found != Some(value.as_str()))
                        .then(|| format!("has {attribute} {} where {value} is wanted", found.unwrap_or("unset")))
                }
                Constraint::NotEquals { attribute, value } => (value_of(candidate, attribute) == Some(value.as_str()))
                    .then(|| format!("has {attribute} {value}, which is not wanted")),
                Constraint::Unique { attribute } => {
                    let found = value_of(candidate, attribute);
                    let taken = self.peers.iter().any(|peer| {
                        value_of(self.board.candidate(peer.candidate), attribute) == found
                            && peer.node.constraints.contains(constraint)
                    });
                    taken.then(|| {
                        format!("has {attribute} {}, where another node of the cluster is", found.unwrap_or("unset"))
                    })
                }
            };
            if let Some(words) = refusal {
                return Err(miss("attribute", 1.5, format!("agent {} {words}", candidate.host)));
            }
        }
        Ok(())
    }

    /// What the node needs as its neighbours are now.
    pub(super) fn needs(&self) -> Needs {
        let (node, rules) = (self.request.node, &self.board.rules);
        #[expect(clippy::cast_precision_loss, reason = "MiB are far below 2^53")]
        let mem = node.mem as f64 + rules.executor_mem;
        let (cpus, mem) = (take::thousandths(node.cpu + rules.executor_cpus), take::thousandths(mem));
        let mut room = Room { cpus, mem, ..Room::default() };
        // A volume that the node has already may serve as its disk.
        for disk in node.disks.values().filter(|disk| !disk.is_volume_of_agent() || self.request.volumes.is_empty()) {
            #[expect(clippy::cast_precision_loss, reason = "MiB are far below 2^53")]
            let size = take::thousandths(disk.size as f64);
            match disk.kind {
                DiskKind::Volume => room.disk += size,
                DiskKind::Whole => room.whole = room.whole.max(size),
            }
        }
        Needs { room, taken: node.constraints.iter().filter_map(|constraint| self.taken(constraint)).collect() }
    }

    fn taken(&self, constraint: &Constraint) -> Option<Taken> {
        let Constraint::Unique { attribute } = constraint else { return None };
        let mut taken = Taken { attribute: attribute.clone(), values: HashSet::new(), unset: false };
        for peer in self.peers.iter().filter(|peer| peer.node.constraints.contains(constraint)) {
            match value_of(self.board.candidate(peer.candidate), attribute) {
                Some(value) => drop(taken.values.insert(value.to_owned())),
                None => taken.unset = true,
            }
        }
        Some(taken)
    }

    /// Whether [`Question::glance`] sees nothing against this agent. Most that are refused are too full, which is the
    /// quickest to see.
    pub(super) fn passes(&self, index: usize, needs: &Needs) -> bool {
        self.board.room(index).holds(needs.room) && self.glance(index, needs).is_none()
    }

    /// What [`Question::ask`] would refuse this agent for, where that is to be seen at a glance: the reason, and how far
    /// it is off.
    pub(super) fn glance(&self, index: usize, needs: &Needs) -> Option<(&'static str, f64)> {
        let (candidate, room) = (self.board.candidate(index), self.board.room(index));
        let node = self.request.node;
        if lacks_engine(candidate, node) {
            return Some(("runtime", 2.0));
        }
        if self.check_networks(candidate).is_err() {
            return Some((NETWORK, 2.0));
        }
        let refused = |constraint: &Constraint| match constraint {
            Constraint::Equals { attribute, value } => value_of(candidate, attribute) != Some(value.as_str()),
            Constraint::NotEquals { attribute, value } => value_of(candidate, attribute) == Some(value.as_str()),
            Constraint::Unique { .. } => false,
        };
        if node.constraints.iter().any(refused) || needs.taken.iter().any(|taken| taken.holds(candidate)) {
            return Some(("attribute", 1.5));
        }
        if self.request.volumes.iter().any(|volume| volume.seen && volume.agent != candidate.agent) {
            return Some(("disk", 3.0));
        }
        if !candidate.fresh {
            return Some(("offer", 0.9));
        }
        if candidate.leaving.is_some() {
            return Some(("offer", 1.0));
        }
        let wanted = needs.room;
        let lacks = |has: i64, wanted: i64| {
            #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53")]
            let part = (wanted - has) as f64 / wanted as f64;
            (has < wanted).then_some(part)
        };
        lacks(room.cpus, wanted.cpus)
            .map(|part| ("cpu", part))
            .or_else(|| lacks(room.mem, wanted.mem).map(|part| ("mem", part)))
            .or_else(|| (room.whole < wanted.whole).then_some(("disk", 1.0)))
            .or_else(|| lacks(room.disk, wanted.disk).map(|part| ("disk", part)))
    }

    /// Data binds a node to the agent that has it.
    fn check_volumes(&self, candidate: &Candidate) -> Result<(), Miss> {
        match self.request.volumes.iter().find(|volume| volume.seen && volume.agent != candidate.agent) {
            None => Ok(()),
            Some(volume) => {
                let words = format!(
                    "agent {} does not have the node's volume for disk {}, which is on {}",
                    candidate.host, volume.disk, volume.host
                );
                Err(miss("disk", 3.0, words))
            }
        }
    }
}

/// An attribute's value; `hostname` is the agent's name.
fn value_of<'a>(candidate: &'a Candidate, attribute: &str) -> Option<&'a str> {
    match attribute {
        "hostname" => Some(&candidate.host),
        other => candidate.attributes.get(other).map(String::as_str),
    }
}
