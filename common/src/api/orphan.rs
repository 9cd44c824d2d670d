//! What lies with Mesos and belongs to no cluster.

use serde::{Deserialize, Serialize};

/// Reply of `GET /admin/orphans`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OrphanList {
    /// All that are known, tasks first.
    pub orphans: Vec<Orphan>,
}

/// Something at Mesos, under our role or framework, that nobody here knows, or that outlives its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// `task`, `reservation` or `volume`.
    pub kind: String,
    /// The task's or volume's id, or the resource as Mesos writes it.
    pub id: String,
    /// The id of the agent that has it; none where Mesos did not say.
    pub agent: Option<String>,
    /// The agent's host name, where the agent is known.
    pub host: Option<String>,
    /// Why it is not ours, or not ended yet.
    pub reason: String,
}
