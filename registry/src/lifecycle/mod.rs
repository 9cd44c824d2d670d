//! The life of a cluster as one pure function: [`apply`] takes where a cluster stands and what has become known, and says
//! where it stands then and what is to be done about it.
//!
//! There is no clock and no I/O in here: time limits are effects in milliseconds, and a limit that has passed is a fact.
//! States carry their data. A repeated or stale fact changes nothing and is no error. `tests/lifecycle.txt` shows the
//! whole matrix.
//!
//! **Invariant:** the status never goes back, but for [`Fact::RetryRequested`] on a failed cluster.

mod down;
mod transitions;
pub mod work;

use bigdata_common::internal::Desired;
use bigdata_common::status::{ClusterStatus, OperationKind};
use bigdata_common::{Name, OperationId};
use serde::{Deserialize, Serialize};
use work::{Call, Work};

/// Where a cluster stands, with what belongs to standing there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum State {
    /// Accepted and stored.
    Registered,
    /// A place is looked for.
    Scheduling,
    /// Every node runs; the script's `start` is asked for.
    Scheduled,
    /// `start` runs.
    Configuring,
    /// `start` exited 0; health is awaited.
    Configured,
    /// It serves.
    Ready {
        /// What changes it now.
        work: Option<Work>,
    },
    /// One of the phases above ended in a failure.
    Failed {
        /// The phase.
        during: ClusterStatus,
        /// What happened, for people.
        reason: String,
        /// What has become of its nodes.
        nodes: FailedNodes,
    },
    /// It is being taken down.
    Destroying {
        /// How far that is.
        stage: DestroyStage,
        /// Whether what cannot be reached shall be forgotten.
        force: bool,
    },
    /// Nothing of it is left but these.
    Destroyed {
        /// What stays, each in words.
        leftovers: Vec<String>,
    },
}

/// What has become of a failed cluster's nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailedNodes {
    /// They run on, so that people can look.
    Kept,
    /// They are being ended.
    Releasing,
    /// They are gone, and these things stay.
    Released(Vec<String>),
}

/// How far taking a cluster down has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DestroyStage {
    /// The script's `destroy` is asked for.
    Script,
    /// The nodes are being ended.
    Release,
}

/// What the nodes' newest observations come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSummary {
    /// How many are wanted.
    pub total: u32,
    /// How many run as they are wanted: of the incarnation that is wanted.
    pub running: u32,
    /// How many run and pass their health checks, or declare none.
    pub passing: u32,
    /// Why the framework has given a node of this generation up, where it has.
    pub gave_up: Option<String>,
    /// On a ready cluster: those that are wanted and do not run as they are wanted.
    pub missing: Vec<Name>,
    /// On a ready cluster: those that are wanted no more and not gone yet.
    pub leaving: Vec<Name>,
}

impl NodeSummary {
    pub(crate) fn all_run(&self) -> bool {
        self.running >= self.total
    }

    fn all_pass(&self) -> bool {
        self.all_run() && self.passing >= self.total
    }
}

/// How a run of the script ended, as far as the cluster's life is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Exit code 0.
    Well,
    /// The script has no such action, and need not have it.
    Absent,
    /// Anything else, with its reason.
    Badly(String),
}

/// What has become known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The framework looks for a place.
    PlacementBegan,
    /// The nodes as they are observed now.
    Nodes(NodeSummary),
    /// The run of `start` that is asked for has begun.
    RunStarted,
    /// The run of `start`, or of the work's present step, is over.
    RunEnded(Ended),
    /// This is to change the ready cluster now.
    WorkBegins {
        /// The work; its operation is stored.
        work: Work,
        /// What is left of the limit of what it interrupts, in milliseconds.
        left_ms: u64,
    },
    /// A user wants this operation on a ready cluster to end.
    WorkCancelled(OperationId),
    /// The limit of the present state has passed; with what it waited for, where that is known.
    DeadlinePassed(Option<String>),
    /// A user wants it gone.
    DestroyRequested {
        /// Whether what cannot be reached shall be forgotten.
        force: bool,
        /// Whether every node has run at some time, so that the script may have something to undo.
        was_scheduled: bool,
        /// Whether a node runs that the script could reach.
        alive: bool,
    },
    /// The run of `destroy` is over, however.
    DestroyRunEnded,
    /// The framework has ended everything, but for these.
    Released(Vec<String>),
    /// A user wants a failed cluster to be taken up again, with its nodes as they are observed now.
    RetryRequested(NodeSummary),
    /// A user wants the launch to end, with the words for that.
    CancelRequested(String),
    /// A failed cluster has kept its nodes for as long as it should.
    KeepExpired,
}

/// What the product wants of its clusters' life. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeSpec {
    /// Whether there is a script.
    pub has_script: bool,
    /// How long a place is looked for.
    pub placement_ms: u64,
    /// How long `start` may take.
    pub start_ms: u64,
    /// How long health is awaited.
    pub ready_ms: u64,
    /// How long `destroy` may take.
    pub destroy_ms: u64,
    /// How long a failed cluster keeps its nodes.
    pub keep_ms: u64,
}

/// A script's action that the platform asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Configures a new cluster; every script has it.
    Start,
    /// Undoes what would outlive the nodes.
    Destroy,
}

/// How the operation that changes a cluster ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationEnd {
    /// Well.
    Succeeded,
    /// With this error.
    Failed(String),
    /// By a user's wish, or overtaken.
    Cancelled,
}

/// What is to be done; the shell does it in the transaction that stores the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Note that the cluster has reached a status, and tell the others.
    Announce(ClusterStatus, Option<String>),
    /// This is wanted of the nodes from now on.
    Desire(Desired),
    /// This run of the script is wanted from now on, with its limit; None: none is.
    Run(Option<(Action, u64)>),
    /// From now on the present state may last so long; None: as long as it does.
    Limit(Option<u64>),
    /// What is wanted changed: tell the framework.
    TellChanged,
    /// An operation was begun for the orchestrator: tell it.
    TellRequested,
    /// A stage of taking down was reached: tell the framework and the orchestrator.
    TellDestroying,
    /// Facts about the generation before are stale from now on.
    NextGeneration,
    /// Its nodes are gone or going: what was observed of them counts no more.
    ForgetNodes,
    /// The operation that changes the cluster is over.
    EndOperation(OperationEnd),
    /// An operation of this kind changes the cluster from now on.
    BeginOperation(OperationKind),
    /// This operation, which is stored, changes the cluster from now on.
    TakeUp(OperationId),
    /// So many steps of the operation are done, and the next one is under way.
    Progress(usize),
    /// This run of the script is wanted from now on.
    Call(Call),
    /// The cluster is at this revision from now on.
    Revise(u32),
    /// These nodes are wanted from now on, described by this revision.
    Add {
        /// The revision.
        revision: u32,
        /// The nodes.
        nodes: Vec<Name>,
    },
    /// The node is wanted anew.
    Renew {
        /// The node.
        node: Name,
        /// The revision that describes it from now on; None: as before.
        revision: Option<u32>,
        /// Whether it gives its agent and its data up.
        elsewhere: bool,
    },
    /// These nodes are wanted no more.
    Leave(Vec<Name>),
    /// Every node that is wanted is described by this revision from its next attempt on.
    Follow(u32),
    /// What waits for the cluster, or runs beside, is cancelled.
    DropWaiting,
}

/// What follows from a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where the cluster stands now.
    pub state: State,
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
}

impl State {
    /// The word for it.
    pub fn status(&self) -> ClusterStatus {
        match self {
            Self::Registered => ClusterStatus::Registered,
            Self::Scheduling => ClusterStatus::Scheduling,
            Self::Scheduled => ClusterStatus::Scheduled,
            Self::Configuring => ClusterStatus::Configuring,
            Self::Configured => ClusterStatus::Configured,
            Self::Ready { .. } => ClusterStatus::Ready,
            Self::Failed { .. } => ClusterStatus::Failed,
            Self::Destroying { .. } => ClusterStatus::Destroying,
            Self::Destroyed { .. } => ClusterStatus::Destroyed,
        }
    }

    /// Whether its nodes are being ended.
    pub fn awaits_release(&self) -> bool {
        match self {
            Self::Destroying { stage, .. } => *stage == DestroyStage::Release,
            Self::Failed { nodes, .. } => *nodes == FailedNodes::Releasing,
            Self::Registered
            | Self::Scheduling
            | Self::Scheduled
            | Self::Configuring
            | Self::Configured
            | Self::Ready { .. }
            | Self::Destroyed { .. } => false,
        }
    }
}

/// What follows from `fact` for a cluster that stands at `state`.
pub fn apply(state: State, fact: Fact, spec: &LifeSpec) -> Step {
    match fact {
        Fact::PlacementBegan => transitions::placement_began(state),
        Fact::Nodes(nodes) => transitions::observed(state, &nodes, spec),
        Fact::RunStarted => transitions::run_started(state),
        Fact::RunEnded(ended) => transitions::run_ended(state, ended, spec),
        Fact::DeadlinePassed(detail) => transitions::deadline_passed(state, detail, spec),
        Fact::DestroyRequested { force, was_scheduled, alive } => {
            down::destroy_requested(state, force, was_scheduled && alive && spec.has_script, spec)
        }
        Fact::DestroyRunEnded => down::destroy_run_ended(state),
        Fact::Released(leftovers) => down::released(state, leftovers),
        Fact::RetryRequested(nodes) => transitions::retry_requested(state, &nodes, spec),
        Fact::CancelRequested(words) => transitions::cancel_requested(state, words, spec),
        Fact::KeepExpired => transitions::keep_expired(state),
        Fact::WorkBegins { work, left_ms } => work::begin(state, work, left_ms),
        Fact::WorkCancelled(operation) => transitions::work_cancelled(state, operation),
    }
}
