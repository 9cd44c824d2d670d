//! The control channel of a node: who may use it.

use crate::{AttemptId, Name};
use serde::{Deserialize, Serialize};

/// The header that says on behalf of which attempt of which run the orchestrator calls a node: `RUN.ATTEMPT`. The gateway
/// passes it on from the orchestrator alone; an executor refuses attempts that were overtaken.
pub const RUN_ATTEMPT_HEADER: &str = "bigdata-run-attempt";

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
