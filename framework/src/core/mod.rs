//! The framework's decisions: `step(input, now) -> outputs` over a state that mirrors the database.
//!
//! Pure: no clock, no I/O; chance comes from a generator that is given. The shell ([`crate::driver`]) performs the outputs
//! of a step: all writes and events in one transaction, then the calls. So a task and its leases are stored before its
//! ACCEPT leaves, and an update is stored before it is acknowledged.
//!
//! Reading order: [`model`] (what is known), [`output`] (what goes in and out), [`wanted`] (what the registry wants),
//! [`offers`], [`place`] with [`seekers`] and [`apart`], and [`launch`] (from offers to tasks), [`update`] (what becomes of
//! tasks), [`supersede`] (launches go on without agents that are away), [`replace`] (and so do nodes that may, by [`brake`] a few at a time), [`wishes`]
//! and [`depart`] (nodes that come, change and go while their cluster is ready), [`release`], [`quarantine`] (what a release
//! leaves behind), [`gone`] (agents that never come back), [`reconcile`], [`heard`].

mod apart;
mod board;
mod brake;
mod command;
mod depart;
mod enrol;
mod facts;
mod gone;
mod ground;
mod heard;
mod invariants;
mod launch;
pub(crate) mod model;
mod offers;
mod orphans;
pub(crate) mod output;
mod place;
mod quarantine;
mod reconcile;
pub(crate) mod records;
mod release;
mod replace;
mod seekers;
mod supersede;
mod unready;
mod update;
pub(crate) mod view;
mod wanted;
mod wishes;

#[cfg(test)]
mod tests;

pub(crate) use enrol::EnrolRefusal;

use crate::placement::{Board, Rules};
use bigdata_common::api::orphan::Orphan;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{AgentId, OfferId};
use model::{Cluster, EndedTask, Node};
use output::{Call, Input, Output, Write};
use rand::SeedableRng;
use rand::rngs::StdRng;
use records::{AgentNumber, Agents, Noted, Offers, Tasks, Volumes};
use seekers::Seekers;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An executor that does not end its task for so long is ended itself.
const SHUTDOWN_AFTER_MS: u64 = 30_000;

/// Clusters that may be being released, or nodes of them.
const RELEASING: usize = 0;
/// Clusters whose nodes' addresses may have changed since the board was refreshed.
const MOVED: usize = 1;
/// Clusters whose nodes may look for a place since [`seekers::Seekers`] was brought up to date.
const SEEKING: usize = 2;

/// What an operator has decided, as the core needs it.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub rules: Rules,
    /// The service's URL for executors.
    pub url: String,
    pub executor_command: Vec<String>,
    /// Where the executor's program is fetched from, instead of `executor_command`.
    pub executor_fetched: Option<Fetched>,
    pub executor_path: String,
    pub uid_pool: Option<(u32, u32)>,
    pub attempts: u32,
    pub hold_ms: u64,
    pub release_limit_ms: u64,
    /// What Mesos has already is left alone, though the database is empty.
    pub adopt_nothing: bool,
    /// How long the agent of a node may be away during a launch before the node is placed on another one.
    pub unreachable_launch_ms: u64,
    /// Between the moves of two agents' nodes that are away.
    pub replace_pause_ms: u64,
    /// While more agents are away, in percent of those that have nodes, none's nodes are moved.
    pub replace_away_percent: u8,
    /// The longest time without a fact before one that the registry has not seen is told again.
    pub tell_again_ms: u64,
}

/// The executor's program, fetched by Mesos.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub uri: String,
    /// Lower-case hexadecimal.
    pub sha256: Option<String>,
}

/// What the database holds, and what is known beside it.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub framework: Option<String>,
    /// Noted: see [`RELEASING`], [`MOVED`] and [`SEEKING`].
    pub clusters: Noted<ClusterId, Cluster, 3>,
    pub tasks: Tasks,
    pub ended: BTreeMap<AttemptId, EndedTask>,
    pub volumes: Volumes,
    pub uids: BTreeMap<(String, u32), ClusterId>,
    pub agents: Agents,
}

/// The subscription.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Session {
    Subscribed,
    /// Since when (None: no step was made yet), and why.
    Away {
        since: Option<Timestamp>,
        reason: String,
    },
}

/// An offer that has not been answered.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub id: OfferId,
    pub agent: AgentNumber,
    pub free: Arc<Resources>,
    pub since: Timestamp,
}

/// Whether offers are wanted, and what the master was told of that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Demand {
    pub suppressed: bool,
    /// Offers are asked for again as soon as that may be.
    pub revive: bool,
    pub revived_at: Option<Timestamp>,
    /// Offers are let come until then, to see the agents.
    pub look_until: Option<Timestamp>,
    pub looked_at: Option<Timestamp>,
    /// When nodes were placed last.
    pub placed_at: Option<Timestamp>,
    /// When the reasons of a refusal in a large fleet were counted last.
    pub counted_at: Option<Timestamp>,
    /// Whether the nodes that look for a place have been seen since the subscription.
    pub seen: bool,
}

/// See the [module](self).
pub(crate) struct Core {
    pub policy: Arc<Policy>,
    pub state: State,
    pub session: Session,
    /// When the master last said anything, a heartbeat too; None: it has not since the subscription. The shell keeps it.
    pub last_word: Option<Timestamp>,
    /// Why the master ended the subscription, until there is another one.
    expelled: Option<String>,
    pub(crate) offers: Offers,
    /// What is known of the agents, for looking for places; see [`Core::refresh_board`].
    board: Board,
    seekers: Seekers,
    /// Clusters that are being released.
    releasing: BTreeSet<ClusterId>,
    /// Clusters with nodes that are being released by themselves.
    departing: BTreeSet<ClusterId>,
    pub(crate) demand: Demand,
    pub(crate) reconciliation: reconcile::Reconciliation,
    /// Whether something has changed since places were looked for last.
    pub(crate) changed: bool,
    /// DESTROY operations under way: their volumes by operation.
    destroying: BTreeMap<String, Vec<String>>,
    /// Tasks that Mesos has told of and that are not known here, in words.
    foreign_tasks: BTreeMap<String, Orphan>,
    /// Whether the database may have been lost.
    pub(crate) ground: ground::Ground,
    brake: brake::Brake,
    question: gone::Question,
    /// How often executors have said what was known already.
    repeats: u64,
    random: StdRng,
    outputs: Vec<Output>,
}

impl Core {
    /// A core over what the database holds; `seed` must be random where tokens shall be.
    pub(crate) fn new(policy: Policy, state: State, seed: [u8; 32]) -> Self {
        Self {
            ground: ground::Ground::of(&state, policy.adopt_nothing),
            policy: Arc::new(policy),
            state,
            session: Session::Away { since: None, reason: "the service has just started".to_owned() },
            last_word: None,
            expelled: None,
            offers: Offers::default(),
            board: Board::default(),
            seekers: Seekers::default(),
            releasing: BTreeSet::new(),
            departing: BTreeSet::new(),
            demand: Demand::default(),
            reconciliation: reconcile::Reconciliation::default(),
            changed: true,
            destroying: BTreeMap::new(),
            foreign_tasks: BTreeMap::new(),
            brake: brake::Brake::default(),
            question: gone::Question::default(),
            repeats: 0,
            random: StdRng::from_seed(seed),
            outputs: Vec::new(),
        }
    }

    /// Takes one input in; the outputs are to be performed before the next step.
    pub(crate) fn step(&mut self, input: Input, now: Timestamp) -> Vec<Output> {
        let scope = release::Scope::of(&input);
        if let Session::Away { since: since @ None, .. } = &mut self.session {
            *since = Some(now);
        }
        match input {
            Input::Subscribed { framework } => self.subscribed(framework, now),
            Input::Disconnected { reason } => self.disconnected(reason, now),
            Input::Expelled { message } => self.expelled(message, now),
            Input::Offers(offers) => self.offered(offers, now),
            Input::Rescinded(offer) => {
                self.offers.remove(offer.as_str());
            }
            Input::InverseOffers(offers) => self.asked_back(offers),
            Input::Update(status) => self.updated(status, now),
            Input::OperationUpdate(status) => self.operated(status),
            Input::Wanted { state, specifications, hinted } => self.wanted(&state, &specifications, hinted, now),
            Input::Listed(clusters) => self.listed(&clusters),
            Input::Enrolled { attempt, fingerprint, control, isolation } => {
                self.enrolled(attempt, fingerprint, control, isolation);
            }
            Input::NotLaunched { tasks, reason } => self.not_launched(&tasks, &reason, now),
            Input::Examined { found } => self.examined(found),
            Input::Tick => {
                self.reconcile_tick(now);
                self.supersede_lost(now);
                self.replace_idle(now);
            }
        }
        self.release_all(&scope, now);
        self.place(now);
        self.settle_offers(now);
        std::mem::take(&mut self.outputs)
    }

    fn subscribed(&mut self, framework: String, now: Timestamp) {
        if self.state.framework.as_deref() != Some(framework.as_str()) {
            self.persist(Write::Framework(Some(framework.clone())));
            self.state.framework = Some(framework);
        }
        self.session = Session::Subscribed;
        self.expelled = None;
        self.offers.clear();
        for task in self.state.tasks.values_mut() {
            // What was said before may not have arrived.
            (task.killed_at, task.kills) = (None, 0);
            // Agents may have come back while nobody was told.
            task.unreachable_since = task.unreachable_since.and(Some(now));
        }
        self.wait_anew(now);
        self.demand = Demand::default();
        self.look(now);
        self.changed = true;
        self.reconcile_all(now);
    }

    fn disconnected(&mut self, reason: String, now: Timestamp) {
        let since = match &self.session {
            Session::Away { since, .. } => since.or(Some(now)),
            Session::Subscribed => Some(now),
        };
        self.session = Session::Away { since, reason };
        // Offers do not outlive the subscription.
        self.offers.clear();
        self.changed = true;
    }

    /// A framework that the master has removed begins anew; its role's volumes are still there.
    fn expelled(&mut self, message: String, now: Timestamp) {
        tracing::error!(message, "the master ended the subscription");
        let words = message.to_lowercase();
        let removed =
            ["removed", "completed", "torn down", "unknown framework"].iter().any(|word| words.contains(word));
        let follows = if removed {
            self.state.framework = None;
            self.persist(Write::Framework(None));
            "it ends every node; the framework registers as a new one and places them again"
        } else {
            "the framework subscribes again"
        };
        self.expelled = Some(format!("the master ended the subscription ({message}): {follows}"));
        self.disconnected(message, now);
    }

    pub(crate) fn persist(&mut self, write: Write) {
        self.outputs.push(Output::Persist(write));
    }

    pub(crate) fn call(&mut self, call: Call) {
        self.outputs.push(Output::Call(call));
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.session == Session::Subscribed
    }

    pub(crate) fn store_cluster(&mut self, id: &ClusterId) {
        if let Some(cluster) = self.state.clusters.get(id) {
            self.outputs.push(Output::Persist(Write::Cluster(Box::new(cluster.without_nodes()))));
        }
    }

    pub(crate) fn store_node(&mut self, id: &ClusterId, name: &Name) {
        let Some(cluster) = self.state.clusters.get(id) else { return };
        if let Some((position, _, node)) = cluster.nodes.get_full(name) {
            let node: Box<Node> = Box::new(node.clone());
            self.persist(Write::Node { cluster: id.clone(), name: name.clone(), position, node });
        }
    }

    pub(crate) fn store_task(&mut self, id: AttemptId) {
        if let Some(task) = self.state.tasks.get(&id) {
            self.outputs.push(Output::Persist(Write::Task(Box::new(task.clone()))));
        }
    }

    /// Tells a task to end; once it has not for long, its executor is ended by the agent.
    pub(crate) fn kill(&mut self, id: AttemptId, now: Timestamp) {
        let Some(task) = self.state.tasks.get_mut(&id) else { return };
        task.killed_at = Some(now);
        task.kills += 1;
        let since = *task.killed_since.get_or_insert(now);
        let agent = AgentId::from(task.agent.as_str());
        if now.millis_since(since) >= SHUTDOWN_AFTER_MS {
            self.call(Call::Shutdown { executor: id.to_string().into(), agent });
        } else {
            self.call(Call::Kill { task: id.to_string().into(), agent: Some(agent) });
        }
    }
}
