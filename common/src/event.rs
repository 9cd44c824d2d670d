//! Facts on the bus. An event is a hint with identity, never the specification: a consumer reads the truth from its owner.

use crate::internal::{Backup, NodeObservation};
use crate::status::ClusterStatus;
use crate::{AttemptId, BackupId, ClusterId, EventId, Name, OperationId, RunId, Timestamp};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// One event as it travels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Unique; consumers deduplicate by it.
    pub id: EventId,
    /// The cluster that it is about.
    pub cluster_id: ClusterId,
    /// The cluster's revision that the sender had in mind.
    pub revision: u32,
    /// When it was stored by its sender.
    pub at: Timestamp,
    /// The id of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// W3C trace context of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened. The type's text carries its version; consumers ignore fields that they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// A cluster was accepted. Registry to framework.
    #[serde(rename = "cluster.registered.v1")]
    ClusterRegistered {},
    /// What is wanted of a cluster changed (retry, revision). Registry to framework.
    #[serde(rename = "cluster.changed.v1")]
    ClusterChanged {},
    /// A cluster moved on. Registry to orchestrator and to the gateway's streams.
    #[serde(rename = "cluster.status.v1")]
    ClusterStatus {
        /// Where it was.
        old: ClusterStatus,
        /// Where it is.
        new: ClusterStatus,
        /// Why, where there is more to say than the words.
        reason: Option<String>,
        /// Position in the cluster's event log, from 1 without gaps.
        sequence: u64,
    },
    /// A cluster is being taken down, or a stage of that was reached. Registry to framework and orchestrator.
    #[serde(rename = "cluster.destroying.v1")]
    ClusterDestroying {},
    /// An operation is asked for. Registry to framework or orchestrator, by kind.
    #[serde(rename = "operation.requested.v1")]
    OperationRequested {
        /// The operation.
        operation: OperationId,
    },
    /// An operation is to be ended. Registry to framework and orchestrator.
    #[serde(rename = "operation.cancelled.v1")]
    OperationCancelled {
        /// The operation.
        operation: OperationId,
    },
    /// The framework works on a cluster; `reasons` say why some nodes have no place yet. Framework to registry.
    #[serde(rename = "placement.waiting.v1")]
    PlacementWaiting {
        /// The registry's generation of the cluster that this is about.
        generation: u32,
        /// Refusals in words for people, the nearest miss first; empty when the search has just begun.
        reasons: Vec<String>,
    },
    /// A node was placed. Framework to registry and orchestrator.
    #[serde(rename = "node.launching.v1")]
    NodeLaunching(NodeFact),
    /// A node can be worked on. Framework to registry and orchestrator.
    #[serde(rename = "node.running.v1")]
    NodeRunning(NodeFact),
    /// A node's health or restarts changed. Framework to registry and orchestrator.
    #[serde(rename = "node.health.v1")]
    NodeHealth(NodeFact),
    /// A node's agent cannot be reached. Framework to registry and orchestrator.
    #[serde(rename = "node.unreachable.v1")]
    NodeUnreachable(NodeFact),
    /// An attempt ended. Framework to registry and orchestrator.
    #[serde(rename = "node.ended.v1")]
    NodeEnded(NodeFact),
    /// A node that is wanted no more has ended, and its leases are free. Framework to registry.
    #[serde(rename = "node.released.v1")]
    NodeReleased {
        /// The node.
        node: Name,
        /// The registry's generation of the cluster that this is about.
        generation: u32,
        /// The sequence of its last fact: a release that comes late is not one of the node that has its name since. None from
        /// frameworks that did not tell it yet.
        #[serde(default)]
        sequence: Option<u64>,
        /// What stays, each in words.
        leftovers: Vec<String>,
    },
    /// Nothing of a cluster runs any more, and its leases are free. Framework to registry.
    #[serde(rename = "cluster.released.v1")]
    ClusterReleased {
        /// The registry's generation of the cluster that was released.
        #[serde(default)]
        generation: u32,
        /// What stays, each in words (`volume ... kept on agent ...`).
        leftovers: Vec<String>,
    },
    /// A run of the product's script has begun, or begun again. Orchestrator to registry.
    #[serde(rename = "run.started.v1")]
    RunStarted(RunRef),
    /// A run tells how far it is. Orchestrator to registry.
    #[serde(rename = "run.progress.v1")]
    RunProgress {
        /// The run.
        #[serde(flatten)]
        run: RunRef,
        /// Per cent, 0 to 100.
        percent: u8,
        /// In the script's words.
        message: String,
    },
    /// A run published a value. Orchestrator to registry; a secret's value is read from the orchestrator.
    #[serde(rename = "run.output.v1")]
    RunOutput {
        /// The run.
        #[serde(flatten)]
        run: RunRef,
        /// What was published.
        output: Output,
    },
    /// A backup is complete. Orchestrator to registry.
    #[serde(rename = "backup.stored.v1")]
    BackupStored(Backup),
    /// A backup's bytes are gone. Orchestrator to registry.
    #[serde(rename = "backup.removed.v1")]
    BackupRemoved {
        /// The backup.
        backup: BackupId,
    },
    /// A run is over. Orchestrator to registry.
    #[serde(rename = "run.ended.v1")]
    RunEnded {
        /// The run.
        #[serde(flatten)]
        run: RunRef,
        /// How.
        result: RunResult,
    },
}

/// Something happened to a node: the whole of what is known of it, so that the newest fact alone suffices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFact {
    /// The node.
    pub node: Name,
    /// The registry's generation of the cluster that this is about.
    pub generation: u32,
    /// Counts up over everything that the framework says of this node: a lower one than the last seen is stale.
    pub sequence: u64,
    /// What is known of it now.
    pub observation: NodeObservation,
}

/// A run of a product's script, by what asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRef {
    /// The run.
    pub run: RunId,
    /// The operation that it is a step of.
    pub operation: OperationId,
    /// The script's action.
    pub action: String,
    /// Which run of the operation it is, from 0.
    #[serde(default)]
    pub step: u32,
    /// The registry's generation of the cluster that this is about.
    pub generation: u32,
    /// How often the script was begun for this run, from 1.
    pub attempt: u32,
}

/// A value that a script published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name, unique in the cluster: a later one replaces it.
    pub key: String,
    /// Its value; None where it is secret, or, where it is not, where the script withdraws what it published by this name.
    pub value: Option<String>,
    /// Whether it is secret.
    pub secret: bool,
    /// Whether it is an endpoint, with its role (`writer`, `reader`, ...) where it has one.
    pub endpoint: Option<EndpointRole>,
}

/// What an endpoint is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRole {
    /// `writer`, `reader`, `web`, ...; empty where there is but one.
    pub role: String,
    /// How a client reaches it, where the script says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
}

/// A client's command line for an endpoint. Secrets stand in its environment as `@{secret:NAME}` (an option),
/// never in its arguments, which every user of a machine can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// Program and arguments.
    pub command: Vec<String>,
    /// What the program is given beside them.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum RunResult {
    /// Exit code 0.
    Succeeded {},
    /// The script does not know the action, and the action is optional.
    Absent {},
    /// Anything else, with its reason and the last lines of its output.
    Failed {
        /// For people: what went wrong.
        reason: String,
    },
    /// Ended because the operation was cancelled or overtaken.
    Cancelled {},
}

impl Event {
    /// The versioned type as it stands on the wire: what queues are bound by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ClusterRegistered {} => "cluster.registered.v1",
            Self::ClusterChanged {} => "cluster.changed.v1",
            Self::ClusterStatus { .. } => "cluster.status.v1",
            Self::ClusterDestroying {} => "cluster.destroying.v1",
            Self::OperationRequested { .. } => "operation.requested.v1",
            Self::OperationCancelled { .. } => "operation.cancelled.v1",
            Self::PlacementWaiting { .. } => "placement.waiting.v1",
            Self::NodeLaunching(_) => "node.launching.v1",
            Self::NodeRunning(_) => "node.running.v1",
            Self::NodeHealth(_) => "node.health.v1",
            Self::NodeUnreachable(_) => "node.unreachable.v1",
            Self::NodeEnded(_) => "node.ended.v1",
            Self::NodeReleased { .. } => "node.released.v1",
            Self::ClusterReleased { .. } => "cluster.released.v1",
            Self::RunStarted(_) => "run.started.v1",
            Self::RunProgress { .. } => "run.progress.v1",
            Self::RunOutput { .. } => "run.output.v1",
            Self::BackupStored(_) => "backup.stored.v1",
            Self::BackupRemoved { .. } => "backup.removed.v1",
            Self::RunEnded { .. } => "run.ended.v1",
        }
    }
}

/// The event types that each service consumes: its queue is bound to these.
pub mod subscriptions {
    /// What the registry consumes.
    pub const REGISTRY: &[&str] = &[
        "placement.waiting.v1",
        "node.launching.v1",
        "node.running.v1",
        "node.health.v1",
        "node.unreachable.v1",
        "node.ended.v1",
        "node.released.v1",
        "cluster.released.v1",
        "backup.stored.v1",
        "backup.removed.v1",
        "run.started.v1",
        "run.progress.v1",
        "run.output.v1",
        "run.ended.v1",
    ];
    /// What the framework consumes.
    pub const FRAMEWORK: &[&str] = &["cluster.registered.v1", "cluster.changed.v1", "cluster.destroying.v1"];
    /// What the orchestrator consumes.
    pub const ORCHESTRATOR: &[&str] =
        &["cluster.status.v1", "cluster.destroying.v1", "operation.requested.v1", "operation.cancelled.v1"];
}

/// An attempt by its number and its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRef {
    /// The Mesos task and executor id.
    pub id: AttemptId,
    /// Counts the node's attempts from 1.
    pub number: u32,
}
