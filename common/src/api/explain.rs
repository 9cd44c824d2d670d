//! Why a cluster waits, and what the agents have.

use crate::{ClusterDn, Name, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Reply of `GET /explain/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The cluster.
    pub cluster: ClusterDn,
    /// The sum of it in one sentence.
    pub summary: String,
    /// Since when its nodes look for a place; None: none does.
    pub waiting_since: Option<Timestamp>,
    /// When the search is given up.
    pub deadline: Option<Timestamp>,
    /// Per node that has no place, or does not run there as it should.
    pub nodes: Vec<NodeExplanation>,
}

/// Why one node has no place, or what it does there before it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeExplanation {
    /// The node.
    pub node: Name,
    /// What it needs, in words (`2 CPUs, 4096 MiB memory, ...`).
    pub needs: String,
    /// Counted refusals, never empty while it waits.
    pub refusals: Vec<Refusal>,
}

/// One kind of refusal, counted over the agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// `cpu`, `mem`, `disk`, `port`, `address`, `attribute`, `runtime`, `network`, `offer`, `role` (the agent offers enough,
    /// and has reserved it for others), `quota` (of our role), `agent` (the node's own, which is away). Of a node that has a
    /// place, or has had one: `start`, `stop`, `retry`, `health`.
    pub reason: String,
    /// How many agents refused for it; 0 where it is no agent's.
    pub agents: u32,
    /// The nearest miss in words (`agent a7 lacks 412 MiB`).
    pub nearest: String,
}

/// Reply of `GET /agents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentList {
    /// The agents that the framework has seen, by host name.
    pub agents: Vec<AgentView>,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentView {
    /// Its id.
    pub id: String,
    /// Its host name.
    pub host: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// What it has in all.
    pub total: Capacity,
    /// What our nodes have of it.
    pub used: Capacity,
    /// How many nodes run on it.
    pub nodes: u32,
    /// When it was last heard of.
    pub seen_at: Timestamp,
}

/// Amounts of an agent's resources.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Capacity {
    /// CPUs.
    pub cpus: f64,
    /// Memory in MiB.
    pub mem: f64,
    /// Disk in MiB.
    pub disk: f64,
}
