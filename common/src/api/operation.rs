//! Operations as clients see them.

use crate::status::{OperationKind, OperationStatus};
use crate::{ClusterDn, Name, OperationId, Timestamp};
use serde::{Deserialize, Serialize};

/// Reply of `GET /operations/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationView {
    /// The operation.
    pub id: OperationId,
    /// What kind of change it is.
    pub kind: OperationKind,
    /// The script's action, where it is one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The node that it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// What asked for it, where that was no user (`node-lost: node1 failed`, `every 1 day`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The operation that this one does again, where it is a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<OperationId>,
    /// The cluster that it changes.
    pub cluster: ClusterDn,
    /// Where it stands.
    pub status: OperationStatus,
    /// Its steps in order.
    pub steps: Vec<StepView>,
    /// Why it failed, with what to do.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it came to an end.
    pub ended_at: Option<Timestamp>,
    /// When it is ended if it has not come to an end.
    pub deadline: Option<Timestamp>,
    /// Where it is found.
    pub url: String,
}

/// One step of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// What is done (`scheduling`, `configuring`, ...).
    pub name: String,
    /// Where it stands.
    pub status: OperationStatus,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Per cent, where it is known.
    pub percent: Option<u8>,
    /// What is going on, or what it waits for, in words.
    pub message: Option<String>,
}

/// Reply of `GET /operations` and of a cluster's `operations`, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationList {
    /// The operations.
    pub operations: Vec<OperationView>,
    /// Give it as `after` for the next page.
    pub next: Option<String>,
}
