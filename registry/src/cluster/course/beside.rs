//! What runs beside and changes nothing, and what the clock asks for.

use super::Course;
use crate::cluster::calls::Clocked;
use crate::cluster::record::SIDE_GRACE_MS;
use crate::cluster::wanted::Refused;
use crate::cluster::{clock, plans, steps};
use crate::duration;
use crate::lifecycle::work::By;
use crate::lifecycle::{OperationEnd, State};
use bigdata_common::event::{Event, RunRef};
use bigdata_common::internal::RunRequest;
use bigdata_common::status::OperationStatus;
use bigdata_common::{Name, OperationId};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Runs beside one cluster at most.
const BESIDE_MAX: usize = 16;

impl Course<'_> {
    /// Begins a run that changes nothing.
    pub(super) fn begin_beside(
        &mut self,
        action: &str,
        arguments: Map<String, Value>,
        limit_ms: u64,
        cause: Option<String>,
    ) -> Result<OperationId, Refused> {
        if self.cluster.side_runs.len() >= BESIDE_MAX {
            return Err(Refused::Full(BESIDE_MAX));
        }
        let (operation, deadline, required) = (OperationId(Uuid::now_v7()), self.after(limit_ms), cause.is_none());
        let mut view = steps::beside(operation, action, self.cluster.id.dn().clone(), self.now);
        (view.deadline, view.cause) = (Some(deadline), cause);
        self.hold(view);
        let (action, origin) = (action.to_owned(), self.cluster.origins.get(&operation).cloned());
        let run = RunRequest { operation, origin, action, step: 0, required, deadline, event: None, arguments };
        self.cluster.side_runs.push(run);
        self.emit(Event::OperationRequested { operation })?;
        Ok(operation)
    }

    /// Whether a run beside is the one that is spoken of.
    pub(crate) fn is_beside(&self, run: &RunRef) -> bool {
        let same = |wanted: &RunRequest| wanted.operation == run.operation && wanted.action == run.action;
        run.generation == self.cluster.generation && self.cluster.side_runs.iter().any(same)
    }

    /// A run beside is over.
    pub(crate) async fn end_beside(&mut self, operation: OperationId, end: OperationEnd) -> Result<(), sqlx::Error> {
        self.cluster.side_runs.retain(|run| run.operation != operation);
        self.end(operation, end).await
    }

    /// Whether nothing shall be said of this operation as long as all is well: a look after the cluster by the clock.
    pub(crate) fn is_quiet(&self, operation: OperationId) -> bool {
        self.cluster.timers.get(clock::CHECK).is_some_and(|timer| timer.open == Some(operation))
    }

    /// Calls what is due by the clock, and gives runs beside up whose limit has passed.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn tick(&mut self) -> Result<(), sqlx::Error> {
        let now = self.now;
        let is_over = |run: &&RunRequest| run.deadline.plus_millis(SIDE_GRACE_MS) <= now;
        let over: Vec<RunRequest> = self.cluster.side_runs.iter().filter(is_over).cloned().collect();
        for run in over {
            let reason = format!("the script's action {} did not end until {}", run.action, run.deadline);
            self.end_beside(run.operation, OperationEnd::Failed(reason)).await?;
        }
        if !matches!(self.cluster.state, State::Ready { .. }) {
            return Ok(());
        }
        for (name, clocked) in clock::due(&mut self.cluster, now) {
            let asked = match self.call_by_clock(&name, &clocked) {
                Ok(asked) => asked,
                Err(Refused::Database(error)) => return Err(error),
                Err(_) => None,
            };
            match (asked, self.cluster.timers.get_mut(&name)) {
                (Some(operation), Some(timer)) => timer.open = Some(operation),
                (Some(_) | None, _) => clock::put_off(&mut self.cluster, &name, &clocked, now),
            }
        }
        self.proceed().await
    }

    /// None: the cluster is busy, and the call does not wait.
    fn call_by_clock(&mut self, name: &Name, clocked: &Clocked) -> Result<Option<OperationId>, Refused> {
        let cause = format!("every {}", duration::text(clocked.every_ms));
        if !clocked.changes {
            return self.begin_beside(name.as_str(), Map::new(), clocked.limit_ms, Some(cause)).map(Some);
        }
        let busy = self.cluster.work().is_some() || !self.cluster.queue.is_empty();
        if busy && !clocked.waits {
            return Ok(None);
        }
        let work = plans::action(By::Clock, name.as_str(), Map::new(), clocked.limit_ms);
        self.enqueue(work, Some(cause)).map(Some)
    }

    /// An operation has ended; where the clock asked for it, its timer learns of that. Whether nothing more is to be said.
    pub(super) fn end_clocked(&mut self, operation: OperationId, status: OperationStatus, error: Option<&str>) -> bool {
        let found = self.cluster.timers.iter_mut().find(|(_, timer)| timer.open == Some(operation));
        let Some((name, timer)) = found else { return false };
        timer.open = None;
        if name.as_str() != clock::CHECK {
            return false;
        }
        // Looks that found nothing leave nothing; of failures on end the last one shows.
        let (gone, words) = match status {
            OperationStatus::Failed => {
                let before = timer.failed.replace(operation);
                let words = format!("check failed: {}", error.unwrap_or_default());
                (before, before.is_none().then_some(words))
            }
            OperationStatus::Succeeded => {
                let words = timer.failed.take().map(|_| "check succeeds again".to_owned());
                (Some(operation), words)
            }
            OperationStatus::Cancelled | OperationStatus::Pending | OperationStatus::Running => (Some(operation), None),
        };
        if let Some(gone) = gone {
            self.forget(gone);
        }
        if let Some(words) = words {
            self.log("operation", None, words);
        }
        true
    }
}
