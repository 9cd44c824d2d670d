//! What changes a ready cluster: asked for, waiting, begun one after the other.

use super::Course;
use crate::cluster::next::{Next, busy, next, notes, stands};
use crate::cluster::wanted::{Busy, NewRevision, Refused, Target, Wanted};
use crate::cluster::{calls::Calls, plans, steps};
use crate::lifecycle::work::{By, Work, WorkStep};
use crate::lifecycle::{Fact, LifeSpec, OperationEnd, State};
use crate::store;
use bigdata_common::event::RunRef;
use bigdata_common::internal::RunRequest;
use bigdata_common::status::OperationKind;
use bigdata_common::{Name, OperationId};
use serde_json::Value;

/// What may wait for one cluster.
const QUEUE_MAX: usize = 16;
/// What may begin and end at once without a wait: more goes on with the next fact.
const TURNS_MAX: usize = 64;

impl Course<'_> {
    /// Asks a ready cluster for something: the operation, which has begun, or waits.
    ///
    /// # Errors
    /// See [`Refused`]; nothing is to be stored then.
    pub async fn request(&mut self, wanted: Wanted) -> Result<OperationId, Refused> {
        if !matches!(self.cluster.state, State::Ready { .. }) {
            return Err(Refused::NotReady(self.cluster.state.status()));
        }
        let (work, waits) = match wanted {
            Wanted::Action { name, arguments, changes: false, limit_ms, .. } => {
                let operation = self.begin_beside(&name, arguments, limit_ms, None)?;
                self.log("operation", None, format!("action {name} was asked for"));
                return Ok(operation);
            }
            Wanted::Action { name, arguments, changes: true, busy, limit_ms } => {
                (plans::action(By::User, &name, arguments, limit_ms), busy == Busy::Wait)
            }
            Wanted::Replace { node, elsewhere } => {
                (plans::replace(&node, elsewhere, &self.cluster.life, &self.cluster.calls), false)
            }
            Wanted::Scale { revision, base, added, removed } => {
                self.refuse_busy()?;
                let (to, life, calls) = self.keep_revision(*revision, base).await?;
                let (kind, changed) = (OperationKind::Scale, Vec::new());
                let change = plans::Change { kind, from: base, to, added, changed, removed };
                (plans::change(change, &life, &calls), false)
            }
            Wanted::Upgrade { target, base, changed, added, removed } => {
                self.refuse_busy()?;
                let (to, life, calls) = match target {
                    Target::New(revision) => self.keep_revision(*revision, base).await?,
                    Target::Stored(revision) => self.stored_revision(revision).await?,
                };
                let change = plans::Change { kind: OperationKind::Upgrade, from: base, to, added, changed, removed };
                (plans::change(change, &life, &calls), false)
            }
        };
        if !waits {
            self.refuse_busy()?;
        }
        let rows = self.rows().await?.to_vec();
        stands(&work, &self.cluster, &rows)?;
        let operation = self.enqueue(work, None)?;
        self.proceed().await?;
        Ok(operation)
    }

    fn refuse_busy(&self) -> Result<(), Refused> {
        busy(&self.cluster).map_or(Ok(()), |words| Err(Refused::Busy(words)))
    }

    /// Stores a revision under the next number.
    async fn keep_revision(&mut self, mut revision: NewRevision, base: u32) -> Result<(u32, LifeSpec, Calls), Refused> {
        if base != self.cluster.revision {
            return Err(Refused::Changed(self.cluster.revision));
        }
        let number = store::clusters::next_revision(self.tx, &self.cluster.id).await?;
        revision.specification.revision = number;
        revision.specification.cluster = self.cluster.id.clone();
        store::clusters::insert_revision(self.tx, &revision).await?;
        let calls = Calls::of(&revision.terms.actions);
        Ok((number, revision.terms.life, calls))
    }

    async fn stored_revision(&mut self, number: u32) -> Result<(u32, LifeSpec, Calls), Refused> {
        let stored = store::clusters::revision_in(self.tx, &self.cluster.id, number).await?;
        let (_, terms) = stored.ok_or(Refused::UnknownRevision(number))?;
        let terms = terms.unwrap_or_else(|| self.cluster.terms_unstored());
        Ok((number, terms.life.clone(), Calls::of(&terms.actions)))
    }

    /// Puts work at the end of what waits.
    pub(super) fn enqueue(&mut self, work: Work, cause: Option<String>) -> Result<OperationId, Refused> {
        if self.cluster.queue.len() >= QUEUE_MAX {
            return Err(Refused::Full(QUEUE_MAX));
        }
        let operation = self.hold_work(&work, cause);
        self.cluster.queue.push(work);
        Ok(operation)
    }

    /// Stores the operation of work that is new.
    fn hold_work(&mut self, work: &Work, cause: Option<String>) -> OperationId {
        let mut view = steps::of_work(work, self.cluster.id.dn().clone(), self.now);
        (view.action, view.node) = about(work);
        let words = match (&view.action, &view.node) {
            (Some(action), Some(node)) => format!("{} {action} {node}", work.kind),
            (Some(action), None) => format!("{} {action}", work.kind),
            (None, Some(node)) => format!("{} {node}", work.kind),
            (None, None) => work.kind.to_string(),
        };
        // Looks after the cluster are told of when they fail.
        if !work.is_check() {
            let because = cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
            self.log("operation", view.node.clone(), format!("{words} was asked for{because}"));
        }
        view.cause = cause;
        self.hold(view);
        work.operation
    }

    /// Looks what the nodes allow of the present work, and begins what is next, until there is nothing more to do.
    pub(super) async fn proceed(&mut self) -> Result<(), sqlx::Error> {
        for _ in 0..TURNS_MAX {
            if !matches!(self.cluster.state, State::Ready { .. }) {
                return Ok(());
            }
            let before = self.cluster.state.clone();
            let summary = self.nodes().await?;
            (self.cluster.nodes, self.cluster.nodes_running) = (summary.total, summary.running);
            self.step(Fact::Nodes(summary)).await?;
            let rows = self.rows().await?.to_vec();
            self.note(notes(&self.cluster, &rows)).await?;
            let rows = self.rows().await?.to_vec();
            match next(&self.cluster, &rows) {
                Some(Next::New(work, cause)) => {
                    self.hold_work(&work, Some(cause));
                    self.begin(work).await?;
                }
                Some(Next::Queued) => {
                    let work = self.cluster.queue.remove(0);
                    match stands(&work, &self.cluster, &rows) {
                        Ok(()) => self.begin(work).await?,
                        Err(refused) => {
                            self.end(work.operation, OperationEnd::Failed(refused.to_string())).await?;
                        }
                    }
                }
                None if self.cluster.state == before => {
                    if !self.cluster.work().is_some_and(Work::waits) {
                        self.cluster.waiting.clear();
                    }
                    return Ok(());
                }
                None => {}
            }
        }
        Ok(())
    }

    async fn begin(&mut self, work: Work) -> Result<(), sqlx::Error> {
        let now = self.now;
        let left_ms = self.cluster.deadline_at.map_or(0, |deadline| deadline.millis_since(now));
        self.step(Fact::WorkBegins { work, left_ms }).await
    }

    /// Ends an operation of the cluster by a user's wish; whether it was one that could be ended.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn cancel(&mut self, operation: OperationId, words: String) -> Result<bool, sqlx::Error> {
        if !self.cluster.open_operations().any(|open| open == operation) {
            return Ok(false);
        }
        if self.cluster.side_runs.iter().any(|run| run.operation == operation) {
            self.log("operation", None, words);
            self.end_beside(operation, OperationEnd::Cancelled).await?;
        } else if self.cluster.queue.iter().any(|work| work.operation == operation) {
            self.log("operation", None, words);
            self.cluster.queue.retain(|work| work.operation != operation);
            self.end(operation, OperationEnd::Cancelled).await?;
        } else if matches!(self.cluster.state, State::Ready { .. }) {
            self.log("operation", None, words);
            self.apply(Fact::WorkCancelled(operation)).await?;
        } else {
            self.apply(Fact::CancelRequested(words)).await?;
        }
        Ok(true)
    }

    /// Cancels what waits and what runs beside.
    pub(super) async fn drop_waiting(&mut self) -> Result<(), sqlx::Error> {
        let waiting = std::mem::take(&mut self.cluster.queue).into_iter().map(|work| work.operation);
        let beside = std::mem::take(&mut self.cluster.side_runs).into_iter().map(|run| run.operation);
        for operation in waiting.chain(beside).collect::<Vec<_>>() {
            self.end(operation, OperationEnd::Cancelled).await?;
        }
        Ok(())
    }

    /// Whether the run is the one that may change the cluster now; facts about any other are stale.
    pub(crate) fn is_wanted(&self, run: &RunRef) -> bool {
        let same = |wanted: &RunRequest| {
            (wanted.operation, &wanted.action, wanted.step) == (run.operation, &run.action, run.step)
        };
        run.generation == self.cluster.generation && self.cluster.run.as_ref().is_some_and(same)
    }

    /// A node that was wanted no more is gone.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn released(
        &mut self,
        node: &Name,
        sequence: Option<u64>,
        leftovers: &[String],
    ) -> Result<(), sqlx::Error> {
        let id = self.cluster.id.clone();
        if !store::wishes::released(self.tx(), &id, node, sequence).await? {
            return Ok(());
        }
        let left = if leftovers.is_empty() { String::new() } else { format!("; what stays: {}", leftovers.join("; ")) };
        self.log("node", Some(node.clone()), format!("it is gone, and its leases are free{left}"));
        if matches!(self.cluster.state, State::Ready { .. }) { self.proceed().await } else { Ok(()) }
    }
}

/// The action and the node that an operation is about, where it is about one.
fn about(work: &Work) -> (Option<String>, Option<Name>) {
    match work.steps.first() {
        Some(WorkStep::Renew { node, .. }) if work.kind == OperationKind::Replace => (None, Some(node.clone())),
        Some(WorkStep::Run(call)) if work.kind == OperationKind::Action => {
            let node = call.event.as_ref().and_then(|event| event.get("node")).and_then(Value::as_str);
            (Some(call.action.clone()), node.and_then(|node| node.parse().ok()))
        }
        Some(_) | None => (None, None),
    }
}
