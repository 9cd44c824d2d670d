//! What goes into the core and what comes out of it, as data.

use super::model::{Agent, Cluster, EndedTask, Node, Task, Volume};
use bigdata_common::event::Event;
use bigdata_common::internal::{ClusterState, Origin, Specification};
use bigdata_common::{AttemptId, ClusterId, Name};
use bigdata_mesos::v1::{
    AgentId, ExecutorId, InverseOffer, Offer, OfferId, Operation, OperationStatus, TaskId, TaskStatus,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// The master has taken the subscription.
    Subscribed {
        framework: String,
    },
    /// The subscription was lost, or could not be had.
    Disconnected {
        reason: String,
    },
    /// The master ended the subscription for good.
    Expelled {
        message: String,
    },
    Offers(Vec<Offer>),
    Rescinded(OfferId),
    InverseOffers(Vec<InverseOffer>),
    Update(TaskStatus),
    OperationUpdate(OperationStatus),
    /// What the registry says of a cluster; with the revisions that [`super::Core::revisions_wanted`] names.
    Wanted {
        state: Box<ClusterState>,
        specifications: Vec<Arc<Specification>>,
        hinted: bool,
    },
    /// Every cluster that the registry has listed.
    Listed(BTreeSet<ClusterId>),
    /// An executor has shown its token; it was checked by [`super::Core::check_enrolment`].
    Enrolled {
        attempt: AttemptId,
        fingerprint: String,
        control: String,
        isolation: String,
    },
    /// An ACCEPT with these tasks did not reach the master.
    NotLaunched {
        tasks: Vec<AttemptId>,
        reason: String,
    },
    /// What the master has of this registry's clusters, in words.
    Examined {
        found: Vec<String>,
    },
    Tick,
}

/// What is to be done, in this order: all writes and events in one transaction, then the calls.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    Persist(Write),
    Emit { cluster: ClusterId, revision: u32, origin: Option<Origin>, event: Event },
    Call(Call),
}

/// A change of the database.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Framework(Option<String>),
    /// Without its nodes and its specification, which are stored by themselves.
    Cluster(Box<Cluster>),
    Specification(ClusterId, Arc<Specification>),
    /// With its nodes and its specification.
    DeleteCluster(ClusterId),
    Node {
        cluster: ClusterId,
        name: Name,
        position: usize,
        node: Box<Node>,
    },
    DeleteNode(ClusterId, Name),
    Task(Box<Task>),
    TaskEnded(Box<EndedTask>),
    DeleteTask(AttemptId),
    Lease {
        kind: LeaseKind,
        scope: String,
        value: String,
        task: AttemptId,
    },
    FreeLeases(AttemptId),
    Uid {
        machine: String,
        uid: u32,
        cluster: ClusterId,
    },
    FreeUids(ClusterId),
    Volume(Box<Volume>),
    DeleteVolume(String),
    Agent(Box<Agent>),
    DeleteAgent(String),
}

/// What is leased to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseKind {
    /// Scope: the pool.
    Address,
    /// Scope: the agent.
    Port,
}

impl LeaseKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Port => "port",
        }
    }
}

/// A call to the master.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Accept {
        offers: Vec<OfferId>,
        operations: Vec<Operation>,
        refuse_seconds: f64,
        tasks: Vec<AttemptId>,
    },
    Decline {
        offers: Vec<OfferId>,
        refuse_seconds: f64,
    },
    AcceptInverse(Vec<OfferId>),
    DeclineInverse(Vec<OfferId>),
    Revive,
    Suppress,
    Kill {
        task: TaskId,
        agent: Option<AgentId>,
    },
    Shutdown {
        executor: ExecutorId,
        agent: AgentId,
    },
    Acknowledge(TaskStatus),
    AcknowledgeOperation(OperationStatus),
    /// None: everything.
    Reconcile(Vec<(TaskId, Option<AgentId>)>),
}
