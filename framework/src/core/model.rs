//! What the framework knows: the records that its database holds, and beside them what only lives in memory.
//!
//! Fields marked `#[serde(skip)]` are not stored: after a restart they are found out again.

use crate::placement::{Leased, Network, leases};
use bigdata_common::api::explain::{Capacity, NodeExplanation};
use bigdata_common::event::AttemptRef;
use bigdata_common::internal::{ClusterState, Desired, NodeObservation, NodeReport, NodeWish, Origin, Specification};
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use bigdata_mesos::resources::Resources;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A cluster that is wanted, or is being released.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cluster {
    pub id: ClusterId,
    pub revision: u32,
    pub generation: u32,
    pub status: ClusterStatus,
    pub desired: Desired,
    pub termination: Termination,
    pub force: bool,
    pub placement_deadline: Option<Timestamp>,
    /// The request behind what changes it now, as the registry said last. Not stored: it is read anew.
    #[serde(skip)]
    pub origin: Option<Origin>,
    pub waiting_since: Option<Timestamp>,
    /// Whether all of its nodes have run at one time: it may have been configured since, and hold data.
    #[serde(default)]
    pub was_whole: bool,
    pub phase: Phase,
    /// Counts the changes of what is wanted of its nodes.
    #[serde(default)]
    pub wishes: u32,
    /// Nodes that are wanted no more: being released, or released.
    #[serde(default)]
    pub departures: BTreeMap<Name, Departure>,
    /// The newest revision, in which each node is described as the revision that is wanted of it does.
    #[serde(skip)]
    pub specification: Option<Arc<Specification>>,
    #[serde(skip)]
    pub nodes: IndexMap<Name, Node>,
    #[serde(skip)]
    pub waiting: Waiting,
}

/// Where a cluster stands with the framework.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Its nodes are kept running.
    Active,
    /// Its nodes are being ended, and their volumes dealt with.
    Releasing { since: Timestamp, volumes_since: Option<Timestamp>, leftovers: Vec<String> },
    /// Nothing of it is left but what is listed.
    Released { leftovers: Vec<String>, told_at: Timestamp },
}

/// The end of a node that is wanted no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Departure {
    pub since: Timestamp,
    /// The node's counts, which go on should it be wanted again.
    pub sequence: u64,
    pub attempts: u32,
    /// Since when its volumes are being dealt with; None: its attempts have not ended.
    pub volumes_since: Option<Timestamp>,
    /// What stays, in words.
    pub leftovers: Vec<String>,
    /// When it was told that nothing else is left of it; None: not yet.
    pub told_at: Option<Timestamp>,
}

/// Why a cluster waits, as it was last told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    pub nodes: Vec<NodeExplanation>,
    pub told: Vec<String>,
    pub told_at: Option<Timestamp>,
}

/// A node: what is known of it, and what its next attempt needs to know.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Counts up over all that is said of it.
    pub sequence: u64,
    /// The number of its newest attempt.
    pub attempts: u32,
    /// Attempts of this generation that failed by the node's own fault.
    pub faults: u32,
    /// Failures in a row, for the wait before the next attempt.
    pub failures: u32,
    pub gave_up: bool,
    pub not_before: Option<Timestamp>,
    /// What is wanted of it; None: what an older registry wants, which knew no wishes.
    #[serde(default)]
    pub wish: Option<NodeWish>,
    /// Whether it gives its agent and its disks up as soon as its attempt has ended.
    #[serde(default)]
    pub gives_up: bool,
    /// Whether an attempt has run where it is: it may have been configured there, and hold data.
    #[serde(default = "yes")]
    pub ran: bool,
    /// What it has lost, for the next attempt's first fact.
    #[serde(default)]
    pub loss: Option<String>,
    /// Since when it has no attempt; none has been seen to be possible since the subscription, either.
    #[serde(skip)]
    pub idle_since: Option<Timestamp>,
    /// The attempt that is not confirmed to have ended.
    pub task: Option<AttemptId>,
    /// The agent that it was on last.
    pub agent: Option<String>,
    pub pool: Option<String>,
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Leased>,
    pub observation: Option<NodeObservation>,
    #[serde(skip)]
    pub told_at: Option<Timestamp>,
}

/// Of nodes that were stored before this was known.
fn yes() -> bool {
    true
}

/// An attempt that is not confirmed to have ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub id: AttemptId,
    pub number: u32,
    /// The incarnation of the node that it was begun for, and the revision that describes it.
    #[serde(default)]
    pub incarnation: u32,
    #[serde(default)]
    pub revision: u32,
    pub cluster: ClusterId,
    pub node: Name,
    pub agent: String,
    pub host: String,
    pub pool: Option<String>,
    pub address: String,
    /// The interfaces of a container, the one of `address` first, where it has addresses of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Leased>,
    pub ports: IndexMap<Name, u16>,
    /// Ports taken from the agent's offer, the control channel's first.
    pub agent_ports: Vec<u16>,
    pub used: Capacity,
    pub uid: Option<u32>,
    pub launched_at: Timestamp,
    pub token_hash: String,
    pub enrolled: Option<Enrolled>,
    pub state: TaskStage,
    /// Whether it was ever seen running.
    pub was_running: bool,
    pub running_since: Option<Timestamp>,
    /// Timestamp of the newest update by its executor, in seconds.
    pub newest: f64,
    pub report: NodeReport,
    /// Its cluster's release went on without it, by force or since its agent was away: it is ended as soon as it is heard
    /// of, and its leases stay until the end is confirmed.
    pub forgotten: bool,
    /// Since when its agent cannot be reached; None: it can.
    #[serde(default)]
    pub unreachable_since: Option<Timestamp>,
    #[serde(default)]
    pub standing: Standing,
    #[serde(skip)]
    pub killed_at: Option<Timestamp>,
    /// How often it was told to end since.
    #[serde(skip)]
    pub kills: u32,
    /// When it was first told to end.
    #[serde(skip)]
    pub killed_since: Option<Timestamp>,
    #[serde(skip)]
    pub heard_at: Option<Timestamp>,
    /// When its executor last said what was known already.
    #[serde(skip)]
    pub repeated: Option<Repeated>,
}

/// What is to become of an attempt that is not confirmed to have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// It is its node's, and stays.
    #[default]
    Kept,
    /// It is its node's, and is ended so that the node gets a fresh one: another incarnation is wanted, or during a launch
    /// it was told of a peer's address that is not right any more.
    Renewed,
    /// Its node is wanted no more. It is ended, and its leases stay until then.
    Leaving,
    /// Its agent was away for too long: its node looks for, or has, another attempt. It is ended as soon as it is heard of,
    /// and its leases stay until then.
    Superseded {
        /// Since when.
        since: Timestamp,
        /// Whether it has been heard of again.
        alive: bool,
    },
}

/// An executor's word that changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeated {
    /// When it was true.
    pub at: Timestamp,
    /// Counts up over all such words.
    pub number: u64,
}

/// What Mesos says of a task that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TaskStage {
    Launching,
    Running,
    Unreachable,
    Stopping,
}

/// How a task's executor is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrolled {
    pub fingerprint: String,
    pub control: String,
    pub isolation: String,
}

/// An attempt that has ended: kept so that it is recognised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EndedTask {
    pub id: AttemptId,
    pub cluster: ClusterId,
    pub node: Name,
    pub agent: String,
    pub at: Timestamp,
}

/// A persistent volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub id: String,
    pub cluster: ClusterId,
    pub node: Name,
    pub disk: Name,
    pub agent: String,
    pub host: String,
    pub size: u64,
    /// Whether its node does without it, though it is kept.
    #[serde(default)]
    pub left: bool,
    /// Whether it was seen in an offer or with a running task: then its data binds the node to its agent.
    pub seen: bool,
    pub fate: Fate,
    /// Since when it is doomed.
    pub doomed_at: Option<Timestamp>,
    /// Since when it is known to be lost with its agent; then it is `left`, and nobody waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
    #[serde(skip)]
    pub destroy_sent: Option<Timestamp>,
}

/// What is to become of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// Its node needs it.
    Used,
    /// It is destroyed as soon as its agent offers it.
    Doomed,
    /// It outlives its cluster by the cluster's termination policy.
    Kept,
}

/// An agent that has made an offer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Agent {
    pub id: String,
    pub host: String,
    /// The address that it is reached at.
    pub address: String,
    pub attributes: BTreeMap<String, String>,
    pub total: Capacity,
    pub seen_at: Timestamp,
    /// Whether it has made an offer since the service started; else `free` is not known.
    #[serde(skip)]
    pub fresh: bool,
    /// What it offered last.
    #[serde(skip)]
    pub free: Arc<Resources>,
    /// When it is to be away, in words.
    #[serde(skip)]
    pub leaving: Option<String>,
    /// Labels of others on its resources, in words.
    #[serde(skip)]
    pub foreign: Vec<String>,
    /// When one of its offers was answered last.
    #[serde(skip)]
    pub answered_at: Option<Timestamp>,
}

impl Agent {
    pub(crate) fn network(&self) -> Network {
        Network::of(&self.attributes)
    }

    /// The machine that uids are unique on.
    pub(crate) fn machine(&self) -> String {
        match self.network() {
            Network::Loopback { host, .. } => host,
            _ => self.host.clone(),
        }
    }
}

impl Cluster {
    pub(crate) fn new(state: &ClusterState) -> Self {
        Self {
            id: state.cluster.clone(),
            revision: state.revision,
            generation: state.generation,
            status: state.status,
            desired: state.desired,
            termination: state.termination,
            force: state.force,
            placement_deadline: state.placement_deadline,
            origin: state.origin.clone(),
            waiting_since: None,
            was_whole: false,
            phase: Phase::Active,
            wishes: 0,
            departures: BTreeMap::new(),
            specification: None,
            nodes: IndexMap::new(),
            waiting: Waiting::default(),
        }
    }

    /// What is stored of the cluster itself.
    pub(crate) fn without_nodes(&self) -> Self {
        Self {
            id: self.id.clone(),
            revision: self.revision,
            generation: self.generation,
            status: self.status,
            desired: self.desired,
            termination: self.termination,
            force: self.force,
            placement_deadline: self.placement_deadline,
            origin: self.origin.clone(),
            waiting_since: self.waiting_since,
            was_whole: self.was_whole,
            phase: self.phase.clone(),
            wishes: self.wishes,
            departures: self.departures.clone(),
            specification: None,
            nodes: IndexMap::new(),
            waiting: Waiting::default(),
        }
    }

    /// Whether nodes that have no task are given one.
    pub(crate) fn is_placed(&self) -> bool {
        self.phase == Phase::Active
            && self.desired == Desired::Run
            && !matches!(self.status, ClusterStatus::Failed | ClusterStatus::Destroying | ClusterStatus::Destroyed)
            && self.specification.is_some()
    }

    /// Whether its nodes are still being brought to life, and none of them can have been configured.
    pub(crate) fn is_unconfigured(&self) -> bool {
        let scheduling = matches!(self.status, ClusterStatus::Registered | ClusterStatus::Scheduling);
        scheduling && !self.was_whole && self.is_placed()
    }

    /// Whether its nodes are being ended, and its volumes dealt with.
    pub(crate) fn is_releasing(&self) -> bool {
        matches!(self.phase, Phase::Releasing { .. })
    }

    /// What a search for places is about: another number, another question.
    pub(crate) fn asked(&self) -> (u32, u32) {
        (self.generation, self.wishes)
    }

    /// Nodes that are being released by themselves.
    pub(crate) fn departing(&self) -> impl Iterator<Item = (&Name, &Departure)> {
        let is_active = self.phase == Phase::Active;
        self.departures.iter().filter(move |(_, departure)| is_active && departure.told_at.is_none())
    }

    /// Whether a node holds nothing that would be lost with its place.
    pub(crate) fn is_fresh(&self, node: &Node) -> bool {
        self.is_unconfigured() || !node.ran
    }

    /// The nodes that look for a place now.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<Name> {
        if !self.is_placed() {
            return Vec::new();
        }
        let due =
            |node: &Node| node.task.is_none() && !node.gave_up && node.not_before.is_none_or(|instant| instant <= now);
        self.nodes.iter().filter(|(_, node)| due(node)).map(|(name, _)| name.clone()).collect()
    }

    /// When the next of its other nodes looks for a place.
    pub(crate) fn due_later(&self, now: Timestamp) -> Option<Timestamp> {
        let seeks = self.nodes.values().filter(|node| node.task.is_none() && !node.gave_up);
        let later = seeks.filter_map(|node| node.not_before).filter(|instant| *instant > now).min();
        later.filter(|_| self.is_placed())
    }
}

impl Node {
    /// Pool and address of all that it had, and is to have again.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        leases(self.pool.as_deref(), self.address.as_deref(), &self.interfaces)
    }
}

impl Task {
    /// Pool and address of all that is leased to it.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        leases(self.pool.as_deref(), Some(&self.address), &self.interfaces)
    }

    pub(crate) fn reference(&self) -> AttemptRef {
        AttemptRef { id: self.id, number: self.number }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.unreachable_since.is_some()
    }

    /// Whether it is its node's attempt, rather than one of which only the end is awaited.
    pub(crate) fn is_current(&self) -> bool {
        !self.forgotten && !matches!(self.standing, Standing::Superseded { .. } | Standing::Leaving)
    }
}
