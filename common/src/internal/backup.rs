//! Backups, between the orchestrator and the registry.

use crate::{BackupId, ClusterId, OperationId, Timestamp};
use serde::{Deserialize, Serialize};

/// One backup, whole and stored. It outlives its cluster. The orchestrator moves the bytes, the registry keeps the list:
/// `GET /internal/v1/backups/{id}?cluster=ID` (404 where the cluster's owner may not have it), and in a list
/// `GET /internal/v1/backups?removing=true` those whose bytes shall go ([`Event::BackupRemoved`](crate::event::Event)
/// says that they have gone). [`Event::BackupStored`](crate::event::Event) tells of it, and
/// `PUT /internal/v1/backups/{id}` with it as the body until that is answered 204, should the event be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The backup.
    pub id: BackupId,
    /// The cluster that it was made of.
    pub cluster: ClusterId,
    /// The operation that made it.
    pub operation: OperationId,
    /// In the script's words (`full`, `binlog`); empty where it says nothing.
    pub label: String,
    /// The bytes' number.
    pub size: u64,
    /// Their SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// When it was complete.
    pub at: Timestamp,
}
