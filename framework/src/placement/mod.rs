//! Where a cluster's nodes go: feasible agents, ranked, as one decision for all nodes; and why not, counted.
//!
//! Pure. A [`Board`] is what the agents offer at one moment; [`Board::place`] takes from it for one cluster or leaves it
//! as it was. Agents whose offers are not held stand on the board too, so that their refusals are counted.

mod board;
mod evaluate;
mod network;
mod search;
pub(crate) mod take;
pub(crate) mod words;

#[cfg(test)]
mod tests;

pub(crate) use board::Board;
pub(crate) use network::Network;

use crate::core::model::Volume;
use bigdata_common::api::explain::NodeExplanation;
use bigdata_common::{Name, blueprint};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::Resource;
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet};

/// An agent on the board.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub agent: String,
    pub host: String,
    pub address: String,
    pub attributes: BTreeMap<String, String>,
    pub network: Network,
    pub free: Resources,
    /// Ports of tasks that are not confirmed to have ended, though they may be offered already.
    pub leased_ports: BTreeSet<u16>,
    /// Whether it has made an offer since the service started; else `free` says nothing.
    pub fresh: bool,
    /// Whether its offers are held now; else `free` is what it offered last.
    pub offered: bool,
    /// When it is to be away, in words.
    pub leaving: Option<String>,
}

/// What every placement needs to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub role: String,
    pub registry: String,
    pub principal: Option<String>,
    pub executor_cpus: f64,
    pub executor_mem: f64,
}

/// A node that looks for a place.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub name: &'a Name,
    pub node: &'a blueprint::Node,
    /// The number of the attempt that is to be made.
    pub attempt: u32,
    /// Its volumes from earlier attempts.
    pub volumes: Vec<&'a Volume>,
    pub last_agent: Option<&'a str>,
    pub last_address: Option<(&'a str, &'a str)>,
}

/// A node of the same cluster that has its place.
#[derive(Debug, Clone)]
pub(crate) struct Neighbour<'a> {
    pub node: &'a blueprint::Node,
    pub agent: String,
}

/// A place for a node: all that its task takes.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Index of the agent on the board.
    pub candidate: usize,
    /// Of the task.
    pub resources: Vec<Resource>,
    /// Of its executor.
    pub executor: Vec<Resource>,
    /// To be reserved before.
    pub reserve: Vec<Resource>,
    /// Volumes to be made before.
    pub create: Vec<Resource>,
    /// Volumes to be written down: disk, id, size in MiB.
    pub volumes: Vec<(Name, String, u64)>,
    pub pool: Option<String>,
    pub address: String,
    pub ports: IndexMap<Name, u16>,
    /// Ports of the agent's offer, the control channel's first.
    pub agent_ports: Vec<u16>,
    /// The agent's resources without these.
    free: Resources,
}

/// Why an agent is no place for a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Miss {
    /// One of the words of [`bigdata_common::api::explain::Refusal`].
    pub reason: &'static str,
    /// How far it was off, as a part of what was wanted.
    pub distance: f64,
    /// In words for people.
    pub words: String,
}

/// What came of a placement.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A slot per request, in their order.
    Placed(Vec<Slot>),
    /// The nodes that have no place, each with its refusals.
    Refused(Vec<NodeExplanation>),
}
