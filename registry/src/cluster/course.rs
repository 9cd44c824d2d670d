//! Applies facts to a stored cluster: performs what [`crate::lifecycle::apply`] decides, in the caller's transaction.

use super::record::Cluster;
use super::{health, steps};
use crate::lifecycle::{self, Action, Effect, Fact, NodeSummary, OperationEnd, State};
use crate::store;
use crate::store::written::Written;
use bigdata_chassis::Tx;
use bigdata_chassis::messaging::outbox;
use bigdata_common::api::cluster::{EventView, PhaseView};
use bigdata_common::api::operation::OperationView;
use bigdata_common::event::Event;
use bigdata_common::internal::RunRequest;
use bigdata_common::status::{ClusterStatus, Health, OperationKind, OperationStatus};
use bigdata_common::{Name, OperationId, Timestamp};
use indexmap::IndexMap;
use indexmap::map::Entry;
use uuid::Uuid;

/// A cluster that a transaction holds, and what happens to it in there. It is written by [`Course::store`].
#[derive(Debug)]
pub struct Course<'tx> {
    tx: &'tx mut Tx,
    now: Timestamp,
    /// The operation that changes the cluster now, once it was read or begun; and those before it.
    operations: IndexMap<OperationId, Held>,
    written: Written,
    /// Whether the nodes count otherwise than they did when they were last looked at.
    nodes_are_others: bool,
    /// The cluster.
    pub cluster: Cluster,
}

/// An operation, and whether it is to be written.
#[derive(Debug)]
struct Held {
    operation: OperationView,
    changed: bool,
}

impl<'tx> Course<'tx> {
    /// A course of this cluster, which the transaction holds or inserts.
    pub fn new(tx: &'tx mut Tx, cluster: Cluster, now: Timestamp) -> Self {
        Self { tx, now, operations: IndexMap::new(), written: Written::default(), nodes_are_others: false, cluster }
    }

    /// The transaction.
    pub fn tx(&mut self) -> &mut Tx {
        self.tx
    }

    /// Applies a fact, and then looks whether the nodes as they are known allow more.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn apply(&mut self, fact: Fact) -> Result<(), sqlx::Error> {
        let mut summary = self.nodes().await?;
        self.step(fact).await?;
        if self.nodes_are_others {
            summary = self.nodes().await?;
        }
        self.cluster.nodes_running = summary.running;
        self.cluster.attempts = summary.attempts;
        let all_run = summary.all_run();
        self.step(Fact::Nodes(summary)).await?;
        if all_run && self.cluster.attempts != self.cluster.configured_attempts {
            self.step(Fact::NodesRenewed).await?;
        }
        Ok(())
    }

    /// What the nodes come to as they are known now; reads the operation, too, unless that is known.
    async fn nodes(&mut self) -> Result<NodeSummary, sqlx::Error> {
        let wanted = self.cluster.operation.filter(|id| !self.operations.contains_key(id));
        let (summary, operation) =
            store::nodes::summary(self.tx, &self.cluster.id, self.cluster.generation, wanted).await?;
        if let Some(operation) = operation {
            self.operations.insert(operation.id, Held { operation, changed: false });
        }
        self.nodes_are_others = false;
        Ok(summary)
    }

    /// Writes the cluster back.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn store(mut self) -> Result<Cluster, sqlx::Error> {
        self.observe_health().await?;
        let changed = self.operations.into_values().filter(|held| held.changed);
        self.written.operations = changed.map(|held| held.operation).collect();
        store::written::write(self.tx, &self.cluster, self.written).await?;
        Ok(self.cluster)
    }

    /// Appends to the cluster's history.
    pub fn log(&mut self, kind: &str, node: Option<Name>, message: String) {
        self.cluster.sequence += 1;
        let event = EventView {
            sequence: self.cluster.sequence,
            at: self.now,
            kind: kind.to_owned(),
            status: self.cluster.state.status(),
            node,
            message,
        };
        self.written.events.push(event);
    }

    /// Enqueues an event about the cluster.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn emit(&mut self, event: Event) -> Result<(), sqlx::Error> {
        self.written.outbox.push(outbox::Row::new(&self.cluster.id, self.cluster.revision, self.now, event)?);
        Ok(())
    }

    /// Changes the operation that changes the cluster now.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn change_operation(&mut self, change: impl FnOnce(&mut OperationView)) -> Result<(), sqlx::Error> {
        let Some(id) = self.cluster.operation else { return Ok(()) };
        let held = match self.operations.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => match store::operations::find_in(self.tx, id).await? {
                Some(operation) => entry.insert(Held { operation, changed: false }),
                None => return Ok(()),
            },
        };
        let before = held.operation.clone();
        change(&mut held.operation);
        held.changed |= held.operation != before;
        Ok(())
    }

    /// Begins an operation on the cluster.
    pub fn begin_operation(&mut self, kind: OperationKind) -> OperationId {
        let id = OperationId(Uuid::now_v7());
        let operation = steps::begin(id, kind, self.cluster.id.dn().clone(), self.now);
        self.operations.insert(id, Held { operation, changed: true });
        self.cluster.operation = Some(id);
        self.log("operation", None, format!("{kind} was asked for"));
        id
    }

    async fn step(&mut self, fact: Fact) -> Result<(), sqlx::Error> {
        let mut from = self.cluster.state.status();
        let step = lifecycle::apply(self.cluster.state.clone(), fact, &self.cluster.life);
        self.cluster.state = step.state;
        for effect in step.effects {
            self.perform(&mut from, effect).await?;
        }
        Ok(())
    }

    async fn perform(&mut self, from: &mut ClusterStatus, effect: Effect) -> Result<(), sqlx::Error> {
        match effect {
            Effect::Announce(status, reason) => {
                let old = std::mem::replace(from, status);
                self.announce(old, status, reason).await
            }
            Effect::Desire(desired) => {
                self.cluster.desired = desired;
                Ok(())
            }
            Effect::Run(wanted) => {
                if matches!(wanted, Some((Action::Start, _))) {
                    self.cluster.configured_attempts = self.cluster.attempts;
                }
                self.cluster.run = wanted.and_then(|(action, limit_ms)| self.run_request(action, limit_ms));
                Ok(())
            }
            Effect::Limit(limit_ms) => self.limit(limit_ms).await,
            Effect::TellChanged => self.emit(Event::ClusterChanged {}),
            Effect::TellRequested => match self.cluster.operation {
                Some(operation) => self.emit(Event::OperationRequested { operation }),
                None => Ok(()),
            },
            Effect::TellDestroying => {
                let stage = self.cluster.destroy_stage();
                let now = self.now;
                self.change_operation(|operation| steps::destroy_reached(operation, stage, now)).await?;
                self.emit(Event::ClusterDestroying {})
            }
            Effect::NextGeneration => {
                self.cluster.generation += 1;
                self.nodes_are_others = true;
                self.cluster.waiting.clear();
                Ok(())
            }
            Effect::ForgetNodes => {
                self.cluster.nodes_since = self.cluster.generation;
                self.nodes_are_others = true;
                store::nodes::forget(self.tx, &self.cluster.id).await
            }
            Effect::EndOperation(end) => self.end_operation(end).await,
            Effect::BeginOperation(kind) => {
                self.begin_operation(kind);
                Ok(())
            }
        }
    }

    async fn announce(
        &mut self,
        old: ClusterStatus,
        new: ClusterStatus,
        reason: Option<String>,
    ) -> Result<(), sqlx::Error> {
        let last = self.cluster.phases.last().map_or(self.cluster.created_at, |phase| phase.at);
        if !self.cluster.has_reached(new) {
            let took_ms = self.now.millis_since(last);
            self.cluster.phases.push(PhaseView { status: new, at: self.now, took_ms });
        }
        if new == ClusterStatus::Scheduled {
            self.cluster.waiting.clear();
        }
        self.cluster.sequence += 1;
        let message = match &reason {
            Some(reason) => format!("{old} → {new}: {reason}"),
            None => format!("{old} → {new}"),
        };
        let (sequence, at) = (self.cluster.sequence, self.now);
        let event = EventView { sequence, at, kind: "status".to_owned(), status: new, node: None, message };
        self.written.events.push(event);
        let now = self.now;
        self.change_operation(|operation| match operation.kind {
            OperationKind::Launch | OperationKind::Retry => steps::reached(operation, new, now),
            OperationKind::Destroy if new == ClusterStatus::Destroyed => steps::destroy_reached(operation, None, now),
            OperationKind::Destroy | OperationKind::Reconfigure => {}
        })
        .await?;
        self.emit(Event::ClusterStatus { old, new, reason, sequence })
    }

    fn run_request(&self, action: Action, limit_ms: u64) -> Option<RunRequest> {
        let (action, required) = match action {
            Action::Start => ("start", true),
            Action::Destroy => ("destroy", false),
        };
        Some(RunRequest {
            operation: self.cluster.operation?,
            action: action.to_owned(),
            required,
            deadline: self.after(limit_ms),
            event: None,
        })
    }

    fn after(&self, millis: u64) -> Timestamp {
        self.now.plus_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    async fn limit(&mut self, limit_ms: Option<u64>) -> Result<(), sqlx::Error> {
        self.cluster.deadline_at = limit_ms.map(|millis| self.after(millis));
        let deadline = match self.cluster.state {
            // The time for which a failed cluster keeps its nodes is no operation's.
            State::Failed { .. } => return Ok(()),
            _ => self.cluster.deadline_at,
        };
        self.change_operation(|operation| operation.deadline = deadline).await
    }

    async fn end_operation(&mut self, end: OperationEnd) -> Result<(), sqlx::Error> {
        let (status, error) = match end {
            OperationEnd::Succeeded => (OperationStatus::Succeeded, None),
            OperationEnd::Failed(error) => (OperationStatus::Failed, Some(error)),
            OperationEnd::Cancelled => (OperationStatus::Cancelled, None),
        };
        let now = self.now;
        self.change_operation(|operation| steps::end(operation, status, error, now)).await?;
        if let Some(operation) = self.cluster.operation.take() {
            self.log("operation", None, format!("operation {operation} {status}"));
            if status == OperationStatus::Cancelled {
                self.emit(Event::OperationCancelled { operation })?;
            }
        }
        Ok(())
    }

    async fn observe_health(&mut self) -> Result<(), sqlx::Error> {
        let ready = matches!(self.cluster.state, State::Ready { .. });
        if self.cluster.state.status().is_launching() && self.cluster.health.health == Health::Unknown {
            // While it is launched its nodes speak for themselves.
            return Ok(());
        }
        let nodes = store::nodes::all_in(self.tx, &self.cluster.id).await?;
        let seen = if ready { health::of_ready(&nodes, self.now) } else { health::of_other(&nodes) };
        let before = std::mem::replace(&mut self.cluster.health, seen.clone()).health;
        if before == seen.health || before == Health::Unknown || seen.health == Health::Unknown {
            return Ok(());
        }
        let reasons = if seen.reasons.is_empty() { String::new() } else { format!(": {}", seen.reasons.join("; ")) };
        self.log("node", None, format!("health: {before} → {}{reasons}", seen.health));
        Ok(())
    }
}
