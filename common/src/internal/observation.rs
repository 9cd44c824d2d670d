//! What is known of nodes, and of the agents' engines: the framework's truth for the registry.

use crate::event::AttemptRef;
use crate::status::NodeStatus;
use crate::{ClusterId, Name, Timestamp};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The whole of what is known of a node: the newest observation replaces every older one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeObservation {
    /// Where it stands.
    pub status: NodeStatus,
    /// The attempt that this is about.
    pub attempt: AttemptRef,
    /// The incarnation ([`NodeWish`](super::NodeWish)) that the attempt was begun for.
    #[serde(default)]
    pub incarnation: u32,
    /// The cluster's revision whose blueprint the attempt was begun with.
    #[serde(default)]
    pub revision: u32,
    /// The agent's id.
    pub agent: String,
    /// The agent's host name.
    pub host: String,
    /// The node's address; its agent's where nodes share it.
    pub address: String,
    /// The addresses of its interfaces, where it was given any of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceAddress>,
    /// The ports by name, as they came out.
    pub ports: IndexMap<Name, u16>,
    /// What the last health checks said; None: none yet, or none declared.
    pub passing: Option<bool>,
    /// When this was observed.
    pub observed_at: Timestamp,
    /// How often the workload was started again in place.
    pub restarts: u32,
    /// For people: why it ended, or does not pass.
    pub reason: Option<String>,
    /// The last lines of its output, where they help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// Set when the framework will not try again by itself.
    pub gave_up: bool,
}

/// The address of one of a node's interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The interface (`eth0`).
    pub name: Name,
    /// The pool of the framework's settings that the address was leased from.
    pub network: String,
    /// The address.
    pub address: String,
}

/// Framework to registry: `POST /internal/v1/heard`, answered 204. Nodes of which their executors have said again what is
/// known already: their observations are that much younger, and no event is needed for it.
///
/// A node that was named here once is expected to be named again: its health is `unknown` when there has been no word of it
/// for `holds_ms` and 15 s beside. A node that never was is taken to be told of on changes alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heard {
    /// At most [`Heard::NODES_MAX`] of them.
    pub nodes: Vec<HeardNode>,
}

impl Heard {
    /// The most nodes of one request.
    pub const NODES_MAX: usize = 1000;
}

/// See [`Heard`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardNode {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: Name,
    /// The sequence of the newest fact about the node: it is what still holds. Any other is left alone.
    pub sequence: u64,
    /// When the executor said so.
    pub observed_at: Timestamp,
    /// For how long that holds without another word, in milliseconds: [`Check::silence_limit`](crate::blueprint::Check::silence_limit)
    /// of the node's health check.
    pub holds_ms: u64,
}

/// Framework to registry: `PUT /internal/v1/engines`, answered 204. How many of the agents that have made an offer since the
/// framework started have a container engine. Told whenever it changes and every so often, so that the registry knows how old
/// the word is; it replaces the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Engines {
    /// The agents.
    pub agents: u32,
    /// Those of them that have an engine.
    pub with_engine: u32,
    /// What the agents say of their engines, each once, sorted (`Podman-4.3.1`).
    pub kinds: BTreeSet<String>,
}
