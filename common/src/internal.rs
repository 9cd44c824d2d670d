//! What services say to each other over REST, below `/internal/v1`.

use crate::blueprint::{Blueprint, Node};
use crate::event::AttemptRef;
use crate::status::{ClusterStatus, NodeStatus, Termination};
use crate::{AttemptId, ClusterId, Name, OperationId, ProductRef, Timestamp};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The header that says on behalf of which attempt of which run the orchestrator calls a node: `RUN.ATTEMPT`. The gateway
/// passes it on from the orchestrator alone; an executor refuses attempts that were overtaken.
pub const RUN_ATTEMPT_HEADER: &str = "bigdata-run-attempt";

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

/// What is wanted of a cluster's nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// They shall run.
    Run,
    /// They shall be ended, and all leases freed.
    Release,
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
    /// The run of the product's script that shall be under way, or be finished, now.
    pub run: Option<RunRequest>,
    /// Per node the sequence of the last fact that the registry has stored: the framework sends again what is newer.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub observed: IndexMap<Name, u64>,
}

/// A page of clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterPage {
    /// In the order of their ids.
    pub clusters: Vec<ClusterState>,
    /// Give it as `after` for the next page; None: this was the last.
    pub next: Option<String>,
}

/// A run of the product's script that the registry wants. Unique by operation, action and generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The operation that it is a step of.
    pub operation: OperationId,
    /// The script's action (`start`, `destroy`, ...).
    pub action: String,
    /// Whether a script without the action is an error.
    pub required: bool,
    /// When it is ended if it has not come to an end.
    pub deadline: Timestamp,
    /// What the action is about, where it is called because of something: the script's `BIGDATA_EVENT`
    /// (`{"kind": "node-lost", "node": "node1"}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
}

/// The whole of what is known of a node: the newest observation replaces every older one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeObservation {
    /// Where it stands.
    pub status: NodeStatus,
    /// The attempt that this is about.
    pub attempt: AttemptRef,
    /// The agent's id.
    pub agent: String,
    /// The agent's host name.
    pub host: String,
    /// The node's address; its agent's where nodes share it.
    pub address: String,
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

/// `TaskInfo.data`: all that Mesos learns of a node.
#[derive(Clone, Serialize, Deserialize)]
pub struct TaskData {
    /// Base URLs of the framework service's replicas, separated by commas; whichever leads takes the node in.
    pub framework: String,
    /// The attempt.
    pub attempt: AttemptId,
    /// Proves the first executor that shows it to be the attempt's.
    pub token: String,
}

/// Executor to framework: `POST /internal/v1/nodes/enrol`. Idempotent for the same fingerprint.
#[derive(Clone, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The attempt.
    pub attempt: AttemptId,
    /// The token from [`TaskData`].
    pub token: String,
    /// SHA-256 of the certificate (DER) that the executor's control channel shows, in lower-case hexadecimal.
    pub fingerprint: String,
    /// Where its control channel listens, `address:port`.
    pub control: String,
    /// What bounds the workload on this agent, in words (`cgroup v1, uid`).
    pub isolation: String,
}

/// The answer to [`EnrolRequest`]: everything that the executor needs, secrets among it.
#[derive(Clone, Serialize, Deserialize)]
pub struct NodeSpecification {
    /// The cluster.
    pub cluster: ClusterId,
    /// The cluster's dnsname.
    pub dnsname: String,
    /// The node.
    pub node: Name,
    /// The attempt.
    pub attempt: AttemptRef,
    /// What to run.
    pub blueprint: Node,
    /// Its address.
    pub address: String,
    /// Its ports by name, as they came out.
    pub ports: IndexMap<Name, u16>,
    /// The addresses of all nodes of the cluster by name, its own among them.
    pub peers: IndexMap<Name, String>,
    /// Values for `@{secret:NAME}`.
    pub secrets: Secrets,
    /// The uid and gid of the cluster's workloads; None: the executor's own.
    pub uid: Option<u32>,
    /// Key of the control channel's tokens, base64: see [`ControlGrant`].
    pub control_key: String,
}

/// What an executor says of its node in the `data` of every Mesos status update, as JSON; the control channel's
/// `GET /v1/health` holds the same fields. It is the whole of what is known: the newest one replaces every older one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeReport {
    /// What the health checks say; None: none yet, or none declared.
    pub passing: Option<bool>,
    /// How often the workload was started again in place.
    pub restarts: u32,
    /// For people: why it ended, waits, or does not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last lines of its output, where they help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// Whether the workload's processes run now.
    pub started: bool,
    /// When a check last came back, whatever it said, by the agent's clock; None: none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
}

/// Framework to gateway: `POST /internal/v1/clusters/{id}/nodes/{node}/control` with [`ControlRequest`]. How to reach a node's executor, for a short while.
#[derive(Clone, Serialize, Deserialize)]
pub struct ControlGrant {
    /// Where its control channel listens, `address:port`.
    pub control: String,
    /// The only certificate to be believed: its SHA-256 in lower-case hexadecimal.
    pub fingerprint: String,
    /// The attempt, for the caller's own checks.
    pub attempt: AttemptId,
    /// `Authorization: Bearer <token>`. Form: `<attempt>.<expiry, ms>.<caller>.<HMAC-SHA256 of the first three joined by dots, hexadecimal>`.
    pub token: String,
}

/// See [`ControlGrant`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ControlRequest {
    /// The user on whose behalf the executor is called.
    pub caller: Name,
}

/// Executor's control channel: `POST /v1/exec`. The reply is a stream of JSON lines, [`ExecFrame`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments, run in the node's environment, folder and uid.
    pub command: Vec<String>,
    /// Standard input, base64; None: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Ended after this many milliseconds; at most an hour.
    #[serde(default = "ExecRequest::default_timeout_ms")]
    pub timeout_ms: u64,
}

impl ExecRequest {
    /// Five minutes.
    pub fn default_timeout_ms() -> u64 {
        5 * 60 * 1000
    }
}

/// One line of an exec's reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecFrame {
    /// A piece of standard output, base64.
    Stdout(String),
    /// A piece of standard error, base64.
    Stderr(String),
    /// The last line: the exit code, 128 + signal for a death by one.
    Exit(i32),
    /// The last line where the command could not be run or was ended.
    Error(String),
}
