//! Applies facts to a stored cluster: performs what [`crate::lifecycle::apply`] decides, in the caller's transaction.

mod beside;
mod effects;
mod work;

use super::record::Cluster;
use super::{clock, health, steps};
use crate::lifecycle::{self, Fact, NodeSummary, State};
use crate::store;
use crate::store::nodes::NodeRow;
use crate::store::written::Written;
use bigdata_chassis::Tx;
use bigdata_chassis::messaging::outbox;
use bigdata_common::api::cluster::EventView;
use bigdata_common::api::operation::OperationView;
use bigdata_common::event::Event;
use bigdata_common::status::{Health, OperationKind};
use bigdata_common::{Name, OperationId, Timestamp};
use indexmap::IndexMap;
use indexmap::map::Entry;
use uuid::Uuid;

/// A cluster that a transaction holds, and what happens to it in there. It is written by [`Course::store`].
#[derive(Debug)]
pub struct Course<'tx> {
    tx: &'tx mut Tx,
    now: Timestamp,
    /// The operations of the cluster that were read or begun.
    operations: IndexMap<OperationId, Held>,
    written: Written,
    /// Whether the nodes count otherwise than they did when they were last looked at.
    nodes_are_others: bool,
    /// The nodes as the transaction sees them, where they were read and not changed since.
    rows: Option<Vec<NodeRow>>,
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
        let (operations, written) = (IndexMap::new(), Written::default());
        Self { tx, now, operations, written, nodes_are_others: false, rows: None, cluster }
    }

    /// The transaction; what is known of the nodes is read anew after it.
    pub fn tx(&mut self) -> &mut Tx {
        self.rows = None;
        self.tx
    }

    /// When this happens.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Applies a fact, and then looks whether the nodes as they are known allow more, and what waits may begin.
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
        self.step(Fact::Nodes(summary)).await?;
        self.proceed().await
    }

    /// What the nodes come to as they are known now; of a cluster that is not ready reads the operation, too, unless that
    /// is known.
    async fn nodes(&mut self) -> Result<NodeSummary, sqlx::Error> {
        self.nodes_are_others = false;
        if matches!(self.cluster.state, State::Ready { .. }) {
            return Ok(store::nodes::summary_of(self.rows().await?));
        }
        let wanted = self.cluster.operation.filter(|id| !self.operations.contains_key(id));
        let (summary, operation) =
            store::nodes::summary(self.tx, &self.cluster.id, self.cluster.generation, wanted).await?;
        if let Some(operation) = operation {
            self.operations.insert(operation.id, Held { operation, changed: false });
        }
        Ok(summary)
    }

    /// The nodes, those that leave among them.
    async fn rows(&mut self) -> Result<&[NodeRow], sqlx::Error> {
        let rows = match self.rows.take() {
            Some(rows) => rows,
            None => store::nodes::all_in(self.tx, &self.cluster.id).await?,
        };
        Ok(self.rows.insert(rows))
    }

    /// Writes the cluster back.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn store(mut self) -> Result<Cluster, sqlx::Error> {
        self.observe_health().await?;
        clock::set(&mut self.cluster, self.now);
        self.cluster.forget_origins();
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
        match self.cluster.operation {
            Some(id) => self.change(id, change).await,
            None => Ok(()),
        }
    }

    /// Changes an operation of the cluster.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn change(
        &mut self,
        id: OperationId,
        change: impl FnOnce(&mut OperationView),
    ) -> Result<(), sqlx::Error> {
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

    /// Stores an operation that has just been asked for.
    fn hold(&mut self, operation: OperationView) {
        self.cluster.note_origin(operation.id);
        self.operations.insert(operation.id, Held { operation, changed: true });
    }

    /// Leaves nothing of an operation.
    fn forget(&mut self, operation: OperationId) {
        self.operations.shift_remove(&operation);
        self.written.forgotten.push(operation);
    }

    /// Begins an operation on the cluster.
    pub fn begin_operation(&mut self, kind: OperationKind) -> OperationId {
        let id = OperationId(Uuid::now_v7());
        self.hold(steps::begin(id, kind, self.cluster.id.dn().clone(), self.now));
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

    fn after(&self, millis: u64) -> Timestamp {
        self.now.plus_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    async fn observe_health(&mut self) -> Result<(), sqlx::Error> {
        let ready = matches!(self.cluster.state, State::Ready { .. });
        if self.cluster.state.status().is_launching() && self.cluster.health.health == Health::Unknown {
            // While it is launched its nodes speak for themselves.
            return Ok(());
        }
        let now = self.now;
        let nodes = self.rows().await?;
        let seen = if ready { health::of_ready(nodes, now) } else { health::of_other(nodes) };
        let before = std::mem::replace(&mut self.cluster.health, seen.clone()).health;
        if before == seen.health || before == Health::Unknown || seen.health == Health::Unknown {
            return Ok(());
        }
        let reasons = if seen.reasons.is_empty() { String::new() } else { format!(": {}", seen.reasons.join("; ")) };
        self.log("node", None, format!("health: {before} → {}{reasons}", seen.health));
        Ok(())
    }
}
