//! Where a cluster's nodes go: feasible agents, ranked, as one decision for all nodes; and why not, counted.
//!
//! Pure. A [`Board`] is what the agents offer at one moment; [`Board::place`] takes from it for one cluster or leaves it
//! as it was. Agents whose offers are not held stand on the board too, so that their refusals are counted.

mod access;
mod amounts;
mod board;
mod evaluate;
mod network;
pub(crate) mod pools;
mod room;
mod search;
pub(crate) mod take;
mod withheld;
pub(crate) mod words;

#[cfg(test)]
mod tests;

pub(crate) use board::Board;
pub(crate) use evaluate::engine_of;
pub(crate) use network::Network;
pub(crate) use pools::{Leased, Pools, leases};

use crate::core::model::Volume;
use bigdata_common::{Name, blueprint};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::Resource;
use indexmap::IndexMap;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An agent on the board.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub agent: String,
    pub host: String,
    pub address: String,
    pub attributes: BTreeMap<String, String>,
    pub network: Network,
    pub free: Arc<Resources>,
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
    pub pools: Arc<Pools>,
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

impl Request<'_> {
    /// Whether another request wants the very same.
    fn is_alike(&self, other: &Request<'_>) -> bool {
        self.volumes.is_empty() && other.volumes.is_empty() && self.node == other.node
    }
}

/// A node of the same cluster that has its place.
#[derive(Debug, Clone)]
pub(crate) struct Neighbour<'a> {
    pub node: &'a blueprint::Node,
    pub agent: &'a str,
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
    /// The interfaces of a container, the one of `address` first, where it has addresses of its own.
    pub interfaces: Vec<Leased>,
    pub ports: IndexMap<Name, u16>,
    /// Ports of the agent's offer, the control channel's first.
    pub agent_ports: Vec<u16>,
    /// The agent's resources without these.
    free: Arc<Resources>,
}

impl Slot {
    /// Pool and address of all that is leased with it.
    fn leases(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        leases(self.pool.as_deref(), Some(&self.address), &self.interfaces)
    }
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
