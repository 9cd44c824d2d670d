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

use bigdata_common::internal::Desired;
use bigdata_common::status::{ClusterStatus, OperationKind};
use serde::{Deserialize, Serialize};

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
        /// Whether the script's `start` runs again, since nodes were started anew.
        reconfiguring: bool,
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
    /// How many there are.
    pub total: u32,
    /// How many run.
    pub running: u32,
    /// How many run and pass their health checks, or declare none.
    pub passing: u32,
    /// The sum of the nodes' attempts: it grows with every node that is started anew.
    pub attempts: u64,
    /// Why the framework has given a node of this generation up, where it has.
    pub gave_up: Option<String>,
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
    /// Every node runs, and some of them were started anew since the script configured them.
    NodesRenewed,
    /// The run of `start` that is asked for has begun.
    RunStarted,
    /// The run of `start` that is asked for is over.
    RunEnded(Ended),
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
}

/// What follows from `fact` for a cluster that stands at `state`.
pub fn apply(state: State, fact: Fact, spec: &LifeSpec) -> Step {
    match fact {
        Fact::PlacementBegan => transitions::placement_began(state),
        Fact::Nodes(nodes) => transitions::observed(state, &nodes, spec),
        Fact::NodesRenewed => transitions::nodes_renewed(state, spec),
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
    }
}
