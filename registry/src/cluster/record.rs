//! What is stored of a cluster beside its revisions, nodes and history.

use super::calls::Calls;
use super::wanted::{NewRevision, Terms};
use crate::actions::Actions;
use crate::lifecycle::work::{Paused, Work};
use crate::lifecycle::{DestroyStage, LifeSpec, State};
use bigdata_chassis::trace::Cause;
use bigdata_common::api::cluster::PhaseView;
use bigdata_common::internal::{ClusterState, Desired, NodeWish, Origin, RunRequest};
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
    /// Its present revision. A scale that failed took it back to the one before: the newest stored one may be higher.
    pub revision: u32,
    /// Counts up with each retry.
    pub generation: u32,
    /// What is wanted of its nodes.
    pub desired: Desired,
    /// What happens to its data when it is destroyed.
    pub termination: Termination,
    /// The run of its script that is wanted: the one that may change the cluster.
    pub run: Option<RunRequest>,
    /// Until when the present state, or the present step of what changes it, may last.
    pub deadline_at: Option<Timestamp>,
    /// Why its nodes have no place yet.
    pub waiting: Vec<String>,
    /// The operation that changes it now.
    pub operation: Option<OperationId>,
    /// The requests behind the operations that are open, where these are known.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub origins: IndexMap<OperationId, Origin>,
    /// What waits until nothing else changes the cluster, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<Work>,
    /// What runs beside, and changes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub side_runs: Vec<RunRequest>,
    /// What the platform calls of its script by itself.
    #[serde(default, skip_serializing_if = "Calls::is_empty")]
    pub calls: Calls,
    /// When actions are called by the clock, by their names.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub timers: IndexMap<Name, Timer>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The sequence of the last entry of its history.
    pub sequence: u64,
    /// When it first reached each status.
    pub phases: Vec<PhaseView>,
    /// Content hash of the product as its present revision has it.
    pub product_revision: String,
    /// The options as they came out, secret ones masked.
    pub options: Map<String, Value>,
    /// What its observations say.
    pub health: Observed,
    /// Facts about nodes of an earlier generation than this are stale: those nodes were released.
    pub nodes_since: u32,
    /// How many nodes are wanted.
    pub nodes: u32,
    /// How many of them run.
    pub nodes_running: u32,
}

/// When an action is called by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// The next time.
    pub due_at: Timestamp,
    /// The call that waits or is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OperationId>,
    /// The last call that failed, where every one since has: it shows until the next one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<OperationId>,
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

/// What is told of a cluster's nodes beside the cluster itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldNodes {
    /// What is wanted of each.
    pub wishes: IndexMap<Name, NodeWish>,
    /// Those whose release is awaited.
    pub leaving: Vec<Name>,
    /// Per node the sequence of the last fact that is stored.
    pub observed: IndexMap<Name, u64>,
}

impl Cluster {
    /// A cluster that has just been accepted, at its first revision.
    pub fn registered(id: &ClusterId, first: &NewRevision, termination: Termination, now: Timestamp) -> Self {
        let (specification, terms) = (&first.specification, &first.terms);
        let limit = i64::try_from(terms.life.placement_ms).unwrap_or(i64::MAX);
        Self {
            id: id.clone(),
            dnsname: specification.blueprint.dnsname.clone(),
            state: State::Registered,
            life: terms.life.clone(),
            revision: 1,
            generation: 1,
            desired: Desired::Run,
            termination,
            run: None,
            deadline_at: Some(now.plus_millis(limit)),
            waiting: Vec::new(),
            operation: None,
            origins: IndexMap::new(),
            queue: Vec::new(),
            side_runs: Vec::new(),
            calls: Calls::of(&terms.actions),
            timers: IndexMap::new(),
            created_at: now,
            sequence: 0,
            phases: vec![PhaseView { status: ClusterStatus::Registered, at: now, took_ms: 0 }],
            product_revision: specification.product_revision.clone(),
            options: terms.options.clone(),
            health: Observed { health: Health::Unknown, reasons: Vec::new(), at: None },
            nodes_since: 1,
            nodes: u32::try_from(specification.blueprint.nodes.len()).unwrap_or(u32::MAX),
            nodes_running: 0,
        }
    }

    /// Takes over what another revision says of the cluster as a whole.
    pub fn revise(&mut self, revision: u32, product_revision: &str, terms: &Terms) {
        self.revision = revision;
        product_revision.clone_into(&mut self.product_revision);
        self.options.clone_from(&terms.options);
        self.life.clone_from(&terms.life);
        self.calls = Calls::of(&terms.actions);
    }

    /// The terms of a revision that was stored before revisions had them.
    pub fn terms_unstored(&self) -> Terms {
        Terms {
            options: self.options.clone(),
            life: self.life.clone(),
            actions: Actions::default(),
            stand_ins: Default::default(),
        }
    }

    /// Whether it has ever reached this status.
    pub fn has_reached(&self, status: ClusterStatus) -> bool {
        self.phases.iter().any(|phase| phase.status == status)
    }

    /// When it was destroyed.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let ended = self.phases.iter().find(|phase| phase.status == ClusterStatus::Destroyed);
        ended.filter(|_| matches!(self.state, State::Destroyed { .. })).map(|phase| phase.at)
    }

    /// What changes the ready cluster now.
    pub fn work(&self) -> Option<&Work> {
        match &self.state {
            State::Ready { work } => work.as_ref(),
            State::Registered
            | State::Scheduling
            | State::Scheduled
            | State::Configuring
            | State::Configured
            | State::Failed { .. }
            | State::Destroying { .. }
            | State::Destroyed { .. } => None,
        }
    }

    /// What was interrupted by the present work.
    pub fn paused(&self) -> Option<&Paused> {
        self.work().and_then(|work| work.paused.as_deref())
    }

    /// The operations that are open: what changes the cluster, what that interrupted, what waits, and what runs beside.
    pub fn open_operations(&self) -> impl Iterator<Item = OperationId> {
        let paused = self.paused().map(|paused| paused.work.operation);
        let waiting = self.queue.iter().map(|work| work.operation);
        let beside = self.side_runs.iter().map(|run| run.operation);
        self.operation.into_iter().chain(paused).chain(waiting).chain(beside)
    }

    /// Notes the request that is being answered, if any, as the one behind an operation that begins.
    pub fn note_origin(&mut self, operation: OperationId) {
        if let Some(origin) = Cause::current().origin() {
            self.origins.insert(operation, origin);
        }
    }

    /// Forgets the requests behind operations that have ended.
    pub fn forget_origins(&mut self) {
        if !self.origins.is_empty() {
            let open: Vec<OperationId> = self.open_operations().collect();
            self.origins.retain(|operation, _| open.contains(operation));
        }
    }

    /// When the timer has to look at it next.
    pub fn due_at(&self) -> Option<Timestamp> {
        let beside = self.side_runs.iter().map(|run| run.deadline.plus_millis(SIDE_GRACE_MS));
        let timers = self.timers.values().map(|timer| timer.due_at);
        self.deadline_at.into_iter().chain(beside).chain(timers).min()
    }

    /// What the other services are told.
    pub fn to_state(&self, nodes: ToldNodes) -> ClusterState {
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
            origin: self.operation.and_then(|operation| self.origins.get(&operation).cloned()),
            run: self.run.clone(),
            side_runs: self.side_runs.clone(),
            nodes: nodes.wishes,
            leaving: nodes.leaving,
            observed: nodes.observed,
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

/// A run beside is ended by the orchestrator at its limit; the registry waits so much longer for word of it.
pub const SIDE_GRACE_MS: i64 = 15_000;
