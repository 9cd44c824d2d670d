//! What users ask of a cluster that is there: actions, other options, another version, another node; and what they are told.

use crate::event::EndpointRole;
use crate::status::OperationStatus;
use crate::{BackupId, ClusterDn, Name, OperationId, Timestamp};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Reply of every request that begins an operation on a cluster: 202, with `Location` as in `url`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationAccepted {
    /// `success`, as the older replies say.
    pub message: String,
    /// The operation.
    pub operation: OperationId,
    /// Where it is found.
    pub url: String,
    /// `pending` where it waits for another one, `running` where it has begun.
    pub status: OperationStatus,
}

/// Body of `POST …/upgrade`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    /// The version of the same product; None: the cluster's own, as it is in the catalog now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Name>,
    /// The cluster's revision that it shall go back to, instead of a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// Options that shall have other values.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
}

/// Reply of `POST …/{scale,upgrade}?dry_run=true`: what would be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePlan {
    /// Nodes that would come.
    pub added: Vec<Name>,
    /// Nodes that would go.
    pub removed: Vec<Name>,
    /// Nodes that would be started anew, each with the JSON pointers of what differs (`/mem`).
    pub changed: IndexMap<Name, Vec<String>>,
    /// Nodes that would stay as they are.
    pub unchanged: Vec<Name>,
    /// Options that would have another value: the old and the new one, secrets masked.
    pub options: IndexMap<String, [Value; 2]>,
}

/// Reply of `GET /products/{name}/{version}/actions` and of a cluster's `actions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionList {
    /// What the product's script can be asked for.
    pub actions: Vec<ActionView>,
}

/// One action of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionView {
    /// Its name.
    pub name: Name,
    /// One line for people.
    pub description: String,
    /// Whether users may call it; others are the platform's.
    pub users: bool,
    /// Whether it may change the cluster, and so waits for other changes or is refused beside them.
    pub changes: bool,
    /// Its arguments: JSON Schema by name, with `default` where it has one.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub arguments: IndexMap<String, Value>,
    /// How often the platform calls it by itself, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
}

/// Reply of `GET /backups` and of a cluster's `backups`, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupList {
    /// The backups.
    pub backups: Vec<BackupView>,
    /// Give it as `after` for the next page.
    pub next: Option<String>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupView {
    /// The backup: the value of a launch option `backup_id`.
    pub id: BackupId,
    /// The cluster that it was made of.
    pub cluster: ClusterDn,
    /// The product's version that made it.
    pub version: Name,
    /// In the script's words.
    pub label: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// When it was complete.
    pub at: Timestamp,
    /// What asked for it: `user`, or the schedule in words.
    pub cause: String,
}

/// Body of `POST /v1/output` on a run's socket: a script publishes a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Its name, unique in the cluster.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether it is secret.
    #[serde(default)]
    pub secret: bool,
    /// Whether it is an endpoint, and what for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointRole>,
}
