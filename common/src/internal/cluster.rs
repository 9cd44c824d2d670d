//! What is wanted of clusters: the registry's truth for the other services.

use crate::blueprint::Blueprint;
use crate::status::{ClusterStatus, Termination};
use crate::{ClusterId, Name, OperationId, ProductRef, Timestamp};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One revision of a cluster, immutable. Registry: `GET /internal/v1/clusters/{id}/revisions/{revision}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Specification {
    /// The cluster.
    pub cluster: ClusterId,
    /// Counts its revisions from 1.
    pub revision: u32,
    /// The product that it was launched from.
    pub product: ProductRef,
    /// Content hash of the product as it was then.
    pub product_revision: String,
    /// Nodes and services; a secret option stands in it as `@{secret:NAME}`.
    pub blueprint: Blueprint,
    /// The options as they came out, secret ones left out.
    pub options: Map<String, Value>,
    /// The product's script; empty where it has none.
    pub orchestrator: String,
    /// Whether an operator gave the product's script access to the network.
    pub reach_network: bool,
    /// The longest that a run of the script's `start` may take, in milliseconds.
    pub run_deadline_ms: u64,
}

/// The values of a cluster's secret options. Registry: `GET /internal/v1/clusters/{id}/secrets`. Never stored by a reader.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Secrets(pub IndexMap<String, String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// Orchestrator to registry: `PUT /internal/v1/clusters/{id}/secrets/{name}`, answered 204; 404 where the cluster has no
/// secret option of that name. The option's new value, by which late texts and `GET …/secrets` go from then on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretValue {
    /// At most 64 KiB, without NUL.
    pub value: String,
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretValue")
    }
}

/// What is wanted of a cluster's nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// They shall run.
    Run,
    /// They shall be ended, and all leases freed.
    Release,
}

/// The request by which an operation was asked for, for logs and traces: it is handed on for as long as the operation is
/// open, whoever works on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Where a cluster stands and what is wanted of it. Registry: `GET /internal/v1/clusters/{id}`, and in pages
/// `GET /internal/v1/clusters?after=CURSOR&limit=N` over every cluster that is not destroyed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterState {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its newest revision.
    pub revision: u32,
    /// Counts up when a failed cluster is taken up again: facts about an older generation are stale.
    pub generation: u32,
    /// Where it stands.
    pub status: ClusterStatus,
    /// What is wanted of its nodes.
    pub desired: Desired,
    /// What happens to its persistent disks when its nodes are released.
    pub termination: Termination,
    /// Whether what cannot be reached shall be forgotten and listed when it is released.
    pub force: bool,
    /// Until when its nodes must have found a place, while they are looked for.
    pub placement_deadline: Option<Timestamp>,
    /// The request behind the operation that changes the cluster now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The run of the product's script that shall be under way, or be finished, now: the one that may change the cluster.
    pub run: Option<RunRequest>,
    /// Runs beside it that change nothing (a backup): any number of them side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub side_runs: Vec<RunRequest>,
    /// What is wanted of each node, while `desired` is [`Desired::Run`]. A node that the framework has and that is not
    /// named here is released by itself, its disks by `termination`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub nodes: IndexMap<Name, NodeWish>,
    /// Nodes that were wanted once and whose `node.released` the registry has not seen yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<Name>,
    /// Per node the sequence of the last fact that the registry has stored: the framework sends again what is newer.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub observed: IndexMap<Name, u64>,
}

/// What is wanted of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeWish {
    /// The cluster's revision whose blueprint describes the node. Its disks stay with it from one revision to the next.
    pub revision: u32,
    /// Counts up when the node shall be started anew: an attempt of an earlier incarnation is ended, and another one begun,
    /// on the same agent and with the same persistent disks where these are there.
    pub incarnation: u32,
    /// Whether this incarnation gives its agent and its persistent disks up, and takes any agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
}

/// A page of clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterPage {
    /// In the order of their ids.
    pub clusters: Vec<ClusterState>,
    /// Give it as `after` for the next page; None: this was the last.
    pub next: Option<String>,
}

/// A run of the product's script that the registry wants. Unique by operation, action,
/// generation and step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The operation that it is a step of.
    pub operation: OperationId,
    /// The request behind that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The script's action (`start`, `destroy`, ...).
    pub action: String,
    /// Counts the runs of the operation from 0.
    #[serde(default)]
    pub step: u32,
    /// Whether a script without the action is an error.
    pub required: bool,
    /// When it is ended if it has not come to an end.
    pub deadline: Timestamp,
    /// What the action is about, where it is called because of something: the script's `BIGDATA_EVENT`
    /// (`{"kind": "node-lost", "node": "node1"}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// What a user gave with an action, by the arguments' names: the script's `BIGDATA_ARGUMENTS`, as JSON.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
}
