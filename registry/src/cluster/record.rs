//! What is stored of a cluster beside its specification, nodes and history.

use crate::lifecycle::{DestroyStage, LifeSpec, State};
use bigdata_common::api::cluster::PhaseView;
use bigdata_common::internal::{ClusterState, Desired, RunRequest};
use bigdata_common::status::{ClusterStatus, Health, Termination};
use bigdata_common::{ClusterId, Name, OperationId, Timestamp};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id, and with it its owner, product and number.
    pub id: ClusterId,
    /// The name under which its nodes are found.
    pub dnsname: String,
    /// Where it stands.
    pub state: State,
    /// What its product wants of its life.
    pub life: LifeSpec,
    /// Its newest revision.
    pub revision: u32,
    /// Counts up with each retry.
    pub generation: u32,
    /// What is wanted of its nodes.
    pub desired: Desired,
    /// What happens to its data when it is destroyed.
    pub termination: Termination,
    /// The run of its script that is wanted.
    pub run: Option<RunRequest>,
    /// Until when the present state may last.
    pub deadline_at: Option<Timestamp>,
    /// Why its nodes have no place yet.
    pub waiting: Vec<String>,
    /// The operation that changes it now.
    pub operation: Option<OperationId>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The sequence of the last entry of its history.
    pub sequence: u64,
    /// When it first reached each status.
    pub phases: Vec<PhaseView>,
    /// Content hash of the product as it was launched from.
    pub product_revision: String,
    /// The options as they came out, secret ones masked.
    pub options: Map<String, Value>,
    /// What its observations say.
    pub health: Observed,
    /// Facts about nodes of an earlier generation than this are stale: those nodes were released.
    pub nodes_since: u32,
    /// The sum of its nodes' attempts as they are observed now.
    pub attempts: u64,
    /// The sum of its nodes' attempts when its script was last asked to configure them.
    pub configured_attempts: u64,
    /// How many nodes it has.
    pub nodes: u32,
    /// How many of them run.
    pub nodes_running: u32,
}

/// What the observations of a cluster's nodes say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// In one word.
    pub health: Health,
    /// Why it is not healthy.
    pub reasons: Vec<String>,
    /// When a node was last observed.
    pub at: Option<Timestamp>,
}

impl Cluster {
    /// Whether it has ever reached this status.
    pub fn has_reached(&self, status: ClusterStatus) -> bool {
        self.phases.iter().any(|phase| phase.status == status)
    }

    /// When it was destroyed.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let ended = self.phases.iter().find(|phase| phase.status == ClusterStatus::Destroyed);
        ended.filter(|_| matches!(self.state, State::Destroyed { .. })).map(|phase| phase.at)
    }

    /// What the other services are told.
    pub fn to_state(&self, observed: IndexMap<Name, u64>) -> ClusterState {
        let status = self.state.status();
        let looks_for_places = matches!(status, ClusterStatus::Registered | ClusterStatus::Scheduling);
        ClusterState {
            cluster: self.id.clone(),
            revision: self.revision,
            generation: self.generation,
            status,
            desired: self.desired,
            termination: self.termination,
            force: matches!(self.state, State::Destroying { force: true, .. }),
            placement_deadline: if looks_for_places { self.deadline_at } else { None },
            run: self.run.clone(),
            observed,
        }
    }

    /// How far its taking down has come.
    pub fn destroy_stage(&self) -> Option<DestroyStage> {
        match &self.state {
            State::Destroying { stage, .. } => Some(*stage),
            State::Registered
            | State::Scheduling
            | State::Scheduled
            | State::Configuring
            | State::Configured
            | State::Ready { .. }
            | State::Failed { .. }
            | State::Destroyed { .. } => None,
        }
    }
}
