//! What a step of the status machine wants done.

use super::Course;
use crate::cluster::{hooks, steps};
use crate::lifecycle::work::{Call, Tells};
use crate::lifecycle::{Action, Effect, OperationEnd, State};
use crate::store;
use bigdata_common::api::cluster::{EventView, PhaseView};
use bigdata_common::event::Event;
use bigdata_common::internal::{RunRequest, Specification};
use bigdata_common::status::{ClusterStatus, OperationKind, OperationStatus};
use bigdata_common::{Name, OperationId};
use serde_json::json;

impl Course<'_> {
    pub(super) async fn perform(&mut self, from: &mut ClusterStatus, effect: Effect) -> Result<(), sqlx::Error> {
        match effect {
            Effect::Announce(status, reason) => {
                let old = std::mem::replace(from, status);
                self.announce(old, status, reason).await
            }
            Effect::Desire(desired) => {
                self.cluster.desired = desired;
                Ok(())
            }
            Effect::Run(wanted) => self.run(wanted).await,
            Effect::Limit(limit_ms) => self.limit(limit_ms).await,
            Effect::TellChanged => self.emit(Event::ClusterChanged {}),
            Effect::TellRequested => match self.cluster.operation {
                Some(operation) => self.emit(Event::OperationRequested { operation }),
                None => Ok(()),
            },
            Effect::TellDestroying => {
                let (stage, now) = (self.cluster.destroy_stage(), self.now);
                self.change_operation(|operation| steps::destroy_reached(operation, stage, now)).await?;
                self.emit(Event::ClusterDestroying {})
            }
            Effect::NextGeneration => {
                self.cluster.generation += 1;
                self.cluster.waiting.clear();
                self.nodes_change();
                Ok(())
            }
            Effect::ForgetNodes => {
                self.cluster.nodes_since = self.cluster.generation;
                self.nodes_change();
                store::nodes::forget(self.tx, &self.cluster.id).await
            }
            Effect::EndOperation(end) => self.end_operation(end).await,
            Effect::BeginOperation(kind) => {
                self.begin_operation(kind);
                Ok(())
            }
            Effect::TakeUp(operation) => {
                self.cluster.operation = Some(operation);
                self.change_operation(|operation| operation.status = OperationStatus::Running).await
            }
            Effect::Progress(done) => {
                let now = self.now;
                self.change_operation(|operation| steps::progress(operation, done, now)).await
            }
            Effect::Call(call) => self.call(call).await,
            Effect::Revise(revision) => self.revise(revision).await,
            Effect::Add { revision, nodes } => self.add(revision, &nodes).await,
            Effect::Renew { node, revision, elsewhere } => self.renew(&node, revision, elsewhere).await,
            Effect::Leave(nodes) => self.leave(&nodes).await,
            Effect::Follow(revision) => {
                self.rows = None;
                store::wishes::follow(self.tx, &self.cluster.id, revision).await
            }
            Effect::DropWaiting => self.drop_waiting().await,
        }
    }

    /// The nodes count otherwise from now on.
    fn nodes_change(&mut self) {
        self.nodes_are_others = true;
        self.rows = None;
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
            OperationKind::Destroy
            | OperationKind::Reconfigure
            | OperationKind::Action
            | OperationKind::Scale
            | OperationKind::Upgrade
            | OperationKind::Replace => {}
        })
        .await?;
        self.emit(Event::ClusterStatus { old, new, reason, sequence })
    }

    async fn run(&mut self, wanted: Option<(Action, u64)>) -> Result<(), sqlx::Error> {
        let (Some((action, limit_ms)), Some(operation)) = (wanted, self.cluster.operation) else {
            self.cluster.run = None;
            return Ok(());
        };
        let (action, required) = match action {
            Action::Start => ("start", true),
            Action::Destroy => ("destroy", false),
        };
        let (action, deadline) = (action.to_owned(), self.after(limit_ms));
        let arguments = Default::default();
        let origin = self.cluster.origins.get(&operation).cloned();
        let request = RunRequest { operation, origin, action, step: 0, required, deadline, event: None, arguments };
        self.cluster.run = Some(request);
        if required { self.tell(Tells::Everyone).await } else { Ok(()) }
    }

    /// Asks for a run of the work's present step.
    async fn call(&mut self, call: Call) -> Result<(), sqlx::Error> {
        let deadline = self.after(call.limit_ms);
        let Some(operation) = self.cluster.operation else { return Ok(()) };
        let step = self.cluster.work().map_or(0, |work| work.runs.saturating_sub(1));
        let Call { action, required, mut event, arguments, tells, .. } = call;
        if let (Some(event), Tells::Nodes(names)) = (&mut event, &tells)
            && event["kind"] == "node-replaced"
            && let Some(node) = self.rows().await?.iter().find(|node| names.contains(&node.name))
        {
            event["attempt"] = json!(node.observation.as_ref().map_or(0, |observation| observation.attempt.number));
        }
        let origin = self.cluster.origins.get(&operation).cloned();
        self.cluster.run = Some(RunRequest { operation, origin, action, step, required, deadline, event, arguments });
        self.tell(tells).await
    }

    /// Notes what the script learns of the nodes by the run that begins now.
    async fn tell(&mut self, tells: Tells) -> Result<(), sqlx::Error> {
        let (names, lost) = match tells {
            Tells::Nothing => return Ok(()),
            Tells::Everyone => {
                self.rows = None;
                return store::wishes::tell_all(self.tx, &self.cluster.id).await;
            }
            Tells::Lost(name) => (vec![name], true),
            Tells::Nodes(names) => (names, false),
        };
        let nodes = self.rows().await?.iter().filter(|node| names.contains(&node.name));
        let told: Vec<_> = nodes.filter_map(|node| Some((node.name.clone(), hooks::told(node, lost)?))).collect();
        self.note(told).await
    }

    pub(super) async fn note(&mut self, told: Vec<(Name, hooks::Seen)>) -> Result<(), sqlx::Error> {
        for (name, seen) in told {
            store::wishes::tell(self.tx, &self.cluster.id, &name, seen).await?;
            self.rows = None;
        }
        Ok(())
    }

    /// A revision that the cluster's work names.
    async fn specification(&mut self, revision: u32) -> Result<Specification, sqlx::Error> {
        let stored = store::clusters::revision_in(self.tx, &self.cluster.id, revision).await?;
        stored.map(|(specification, _)| specification).ok_or(sqlx::Error::RowNotFound)
    }

    async fn revise(&mut self, revision: u32) -> Result<(), sqlx::Error> {
        let id = self.cluster.id.clone();
        // The way back is needed even where the present revision was stored without its terms.
        let terms = self.cluster.terms_unstored();
        store::clusters::keep_terms(self.tx, &id, self.cluster.revision, &terms).await?;
        let stored = store::clusters::revision_in(self.tx, &id, revision).await?;
        let (specification, terms) = stored.ok_or(sqlx::Error::RowNotFound)?;
        let terms = terms.unwrap_or_else(|| self.cluster.terms_unstored());
        self.cluster.revise(revision, &specification.product_revision, &terms);
        self.log("operation", None, format!("the cluster is at revision {revision} now"));
        Ok(())
    }

    async fn add(&mut self, revision: u32, nodes: &[Name]) -> Result<(), sqlx::Error> {
        let specification = self.specification(revision).await?;
        let chosen = |name: &Name| nodes.contains(name);
        store::wishes::add(self.tx, &self.cluster.id, revision, &specification.blueprint, chosen).await?;
        self.nodes_change();
        Ok(())
    }

    async fn renew(&mut self, node: &Name, revision: Option<u32>, elsewhere: bool) -> Result<(), sqlx::Error> {
        let described = match revision {
            Some(revision) => {
                let specification = self.specification(revision).await?;
                let described = specification.blueprint.nodes.get(node).ok_or(sqlx::Error::RowNotFound)?;
                Some((revision, described.health.is_some()))
            }
            None => None,
        };
        store::wishes::renew(self.tx, &self.cluster.id, node, described, elsewhere).await?;
        self.nodes_change();
        Ok(())
    }

    async fn leave(&mut self, nodes: &[Name]) -> Result<(), sqlx::Error> {
        for node in nodes {
            store::wishes::leave(self.tx, &self.cluster.id, node).await?;
        }
        self.nodes_change();
        Ok(())
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
        match self.cluster.operation.take() {
            Some(operation) => self.end(operation, end).await,
            None => Ok(()),
        }
    }

    /// Ends an operation, whichever of the cluster's it is.
    pub(super) async fn end(&mut self, operation: OperationId, end: OperationEnd) -> Result<(), sqlx::Error> {
        let (status, error) = match end {
            OperationEnd::Succeeded => (OperationStatus::Succeeded, None),
            OperationEnd::Failed(error) => (OperationStatus::Failed, Some(error)),
            OperationEnd::Cancelled => (OperationStatus::Cancelled, None),
        };
        if status == OperationStatus::Cancelled {
            self.emit(Event::OperationCancelled { operation })?;
        }
        let now = self.now;
        let mut is_kept = false;
        self.change(operation, |view| {
            is_kept = is_asked_of_ready_clusters(view.kind);
            steps::end(view, status, error.clone(), now);
        })
        .await?;
        if is_kept && status == OperationStatus::Succeeded {
            store::operations::forget_asked(self.tx(), operation).await?;
        }
        if !self.end_clocked(operation, status, error.as_deref()) {
            self.log("operation", None, format!("operation {operation} {status}"));
        }
        Ok(())
    }
}

/// Whether what was asked for is kept, so that it can be asked again should it fail.
fn is_asked_of_ready_clusters(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::Action | OperationKind::Replace | OperationKind::Scale | OperationKind::Upgrade)
}
