//! Clusters as clients see them.

use crate::blueprint::Blueprint;
use crate::event::Connect;
use crate::internal::Secrets;
use crate::status::{ClusterStatus, Health, NodeStatus, Termination};
use crate::{ClusterDn, ClusterId, Name, OperationId, ProductRef, Timestamp};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Reply of a launch (202).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// Where the older clients ask on: `/bigdata/api/v1/queue/{operation}`.
    pub url: String,
    /// The cluster.
    pub dn: ClusterDn,
    /// Its id.
    pub id: ClusterId,
    /// Where it stands.
    pub status: ClusterStatus,
    /// The launch.
    pub operation: OperationId,
    /// What the template did that may not have been meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Reply of a launch with `?dry_run=true` (200).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// What would be launched.
    pub blueprint: Blueprint,
    /// The options as they would come out, secret ones masked.
    pub options: Map<String, Value>,
    /// What the template did that may not have been meant.
    pub warnings: Vec<String>,
    /// Whether it would find a place now; filled in by the gateway from the framework.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fits: Option<Fit>,
}

/// Whether nodes would find a place now. Framework: `POST /internal/v1/fit` with a [`Blueprint`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// Whether all nodes would.
    pub fits: bool,
    /// Why not, in words, per node.
    pub reasons: Vec<String>,
}

/// One cluster, in the older system's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterEntry {
    /// Always `success`.
    pub result: String,
    /// The distinguished name.
    pub uri: String,
    /// The cluster.
    pub data: ClusterView,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Its dnsname.
    pub name: String,
    /// Its distinguished name.
    pub dn: ClusterDn,
    /// Its id.
    pub id: ClusterId,
    /// Where it stands.
    pub status: ClusterStatus,
    /// Why it stands there: the failure, or what it waits for.
    pub reason: Option<String>,
    /// The phase that failed, where one did.
    pub failed_during: Option<ClusterStatus>,
    /// What its observations say.
    pub health: Health,
    /// Why it is not healthy.
    pub health_reasons: Vec<String>,
    /// When its health was last observed: on a ready cluster the node that was heard of the longest ago.
    pub health_observed_at: Option<Timestamp>,
    /// How many seconds ago that was, by the registry's clock.
    #[serde(default)]
    pub health_age_s: Option<u64>,
    /// Its owner.
    pub user: Name,
    /// The product that it was launched from.
    pub product: ProductRef,
    /// Content hash of the product as it was then.
    pub product_revision: String,
    /// The options as they came out, secret ones masked.
    pub options: Map<String, Value>,
    /// What happens to its data when it is destroyed.
    pub termination: Termination,
    /// How many nodes it has.
    pub nodes: u32,
    /// How many of them run.
    pub nodes_running: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When each status was first reached, and how long it took to get there from the one before.
    pub phases: Vec<PhaseView>,
    /// The operation that changes it now.
    pub operation: Option<OperationId>,
    /// What was left when it was destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
}

/// One status that a cluster has been in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseView {
    /// The status.
    pub status: ClusterStatus,
    /// When it was reached.
    pub at: Timestamp,
    /// Milliseconds since the one before.
    pub took_ms: u64,
}

/// Reply of `GET /clusters…`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterList {
    /// The clusters.
    pub clusters: Vec<ClusterEntry>,
    /// Give it as `after` for the next page.
    pub next: Option<String>,
}

/// Reply of `GET …/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeList {
    /// In the template's order.
    pub nodes: Vec<NodeView>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// `<cluster dn>/nodes/<name>`.
    pub dn: String,
    /// Its name.
    pub name: Name,
    /// CPUs.
    pub cpu: f64,
    /// Memory in MiB.
    pub mem: u64,
    /// The agent's host name; empty until it is placed.
    pub host: String,
    /// Where it stands.
    pub status: NodeStatus,
    /// Whether it is wanted no more, and goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// What its checks say; `unknown` where none are declared or none has been made.
    pub health: Health,
    /// Its address; empty until it is placed.
    pub address: String,
    /// Its ports by name.
    pub ports: IndexMap<Name, u16>,
    /// Which attempt this is, from 1; 0 before the first.
    pub attempt: u32,
    /// How often its workload was started again in place.
    pub restarts: u32,
    /// Why it ended, waits or does not pass.
    pub reason: Option<String>,
    /// The last lines of its output, where it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// When this was observed.
    pub observed_at: Option<Timestamp>,
    /// How many seconds ago that was, by the registry's clock.
    #[serde(default)]
    pub observed_age_s: Option<u64>,
    /// Its disks.
    pub disks: Vec<DiskView>,
    /// Its networks.
    pub networks: Vec<NetworkView>,
}

/// A node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskView {
    /// Its name.
    pub name: Name,
    /// The agent's host name; empty until it is placed.
    pub host: String,
    /// Where a container sees it.
    pub destination: String,
    /// Size in MiB.
    pub size: u64,
    /// Whether it outlives the node's attempts.
    pub persistent: bool,
}

/// A node's network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Its name (`eth0`).
    pub name: Name,
    /// The pool that its address comes from.
    pub networkname: String,
    /// Its address; empty until it is placed.
    pub address: String,
}

/// Reply of `GET …/secrets`: what stands masked everywhere else. Never stored, never cached, never logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretList {
    /// The values of the cluster's secret options, as they were given or generated.
    pub secrets: Secrets,
}

/// Reply of `GET …/services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceList {
    /// In the template's order.
    pub services: Vec<ServiceView>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// `<cluster dn>/services/<name>`.
    pub dn: String,
    /// Its name.
    pub name: Name,
    /// `running` while all its nodes run, `degraded` while some do, `pending` before, `stopped` after.
    pub status: String,
    /// Its nodes.
    pub nodes: Vec<Name>,
    /// What the template says of it.
    pub properties: Map<String, Value>,
}

/// Reply of `GET …/endpoints`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointList {
    /// What the product's script published as endpoints.
    pub endpoints: Vec<EndpointView>,
    /// What else it published; secret values are masked.
    pub outputs: Vec<OutputView>,
}

/// Where a cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointView {
    /// Its name.
    pub name: String,
    /// What it is for (`writer`, `reader`, ...).
    pub role: String,
    /// The address as the script gave it (`http://127.64.0.1:8080/`).
    pub url: String,
    /// A client's command line, where the script gave one; secrets stand in its environment by their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// The same as a line for a shell, which reads the secrets from the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

/// What a script published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputView {
    /// Its name.
    pub name: String,
    /// Its value; `********` where it is secret.
    pub value: String,
    /// Whether it is secret.
    pub secret: bool,
}

/// One entry of a cluster's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Position in the cluster's history, from 1 without gaps; `Last-Event-ID` of the stream.
    pub sequence: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// `status`, `node`, `run`, `operation`, `placement`.
    pub kind: String,
    /// The status after it.
    pub status: ClusterStatus,
    /// The node that it is about, where it is about one.
    pub node: Option<Name>,
    /// In words for people.
    pub message: String,
}

/// Reply of `GET …/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventList {
    /// In order.
    pub events: Vec<EventView>,
    /// Give it as `after` for the next page.
    pub next: Option<u64>,
}

/// One line of a cluster's log: what its product's script wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Position in the cluster's log; `Last-Event-ID` of the stream.
    pub sequence: u64,
    /// When it was read.
    pub at: Timestamp,
    /// The script's action.
    pub action: String,
    /// `stdout`, `stderr` or `platform`.
    pub stream: String,
    /// The line without its end.
    pub line: String,
}

/// Reply of `GET …/logs`, of a cluster or of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// In order.
    pub lines: Vec<LogLine>,
    /// Give it as `after` for the next page.
    pub next: Option<u64>,
    /// Of an operation: whether one of its runs had not ended when the lines were read, so that more may come of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
}
