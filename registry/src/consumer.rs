//! Facts from the framework and the orchestrator.

use crate::backups;
use crate::cluster::course::Course;
use crate::cluster::{steps, words};
use crate::lifecycle::work::Work;
use crate::lifecycle::{Ended, Fact, OperationEnd, State};
use crate::registry::Registry;
use crate::store;
use crate::store::met::Met;
use bigdata_chassis::messaging::consumer::{HandleError, Handler};
use bigdata_common::EventId;
use bigdata_common::api::operation::OperationView;
use bigdata_common::event::{Envelope, Event, NodeFact, Output, RunRef, RunResult};
use bigdata_common::internal::NodeObservation;
use bigdata_common::status::NodeStatus;
use std::sync::Arc;

/// See the [module](self).
pub(crate) struct Facts {
    registry: Arc<Registry>,
}

impl Facts {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}

#[async_trait::async_trait]
impl Handler for Facts {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        let registry = &self.registry;
        let now = registry.clock.now();
        let mut tx = registry.db.begin().await?;
        let cluster = match store::met::meet(&mut tx, envelope.id, &envelope.cluster_id, now).await? {
            Met::Cluster(cluster) => *cluster,
            Met::Again => return Ok(()),
            Met::Unknown => {
                tracing::warn!(cluster = %envelope.cluster_id, kind = envelope.event.kind(), "a fact about an unknown cluster");
                tx.commit().await?;
                return Ok(());
            }
        };
        let mut course = Course::new(&mut tx, cluster, now);
        take(&mut course, envelope).await?;
        course.store().await?;
        tx.commit().await?;
        registry.changed(&envelope.cluster_id);
        Ok(())
    }
}

async fn take(course: &mut Course<'_>, envelope: &Envelope) -> Result<(), sqlx::Error> {
    match &envelope.event {
        Event::PlacementWaiting { generation, reasons } => placement(course, *generation, reasons).await,
        Event::NodeLaunching(fact)
        | Event::NodeRunning(fact)
        | Event::NodeHealth(fact)
        | Event::NodeUnreachable(fact)
        | Event::NodeEnded(fact) => node(course, fact).await,
        Event::NodeReleased { generation, .. } if *generation != course.cluster.generation => Ok(()),
        Event::NodeReleased { node, sequence, leftovers, .. } => course.released(node, *sequence, leftovers).await,
        Event::BackupStored(backup) => backups::stored(course, backup).await,
        Event::BackupRemoved { backup } => {
            let now = course.now();
            store::backups::forget(course.tx(), *backup, now).await
        }
        Event::ClusterReleased { generation, .. } if *generation != course.cluster.generation => Ok(()),
        // It is told until it was heard, and may come again when the cluster is long gone.
        Event::ClusterReleased { .. } if !course.cluster.state.awaits_release() => Ok(()),
        Event::ClusterReleased { leftovers, .. } => {
            course.log("placement", None, "every node has ended and every lease is free".to_owned());
            course.apply(Fact::Released(leftovers.clone())).await
        }
        Event::RunStarted(run) => run_started(course, run).await,
        Event::RunProgress { run, percent, message } => {
            let tell = |operation: &mut OperationView| steps::tell(operation, Some(*percent), Some(message.clone()));
            if course.is_wanted(run) {
                course.change_operation(tell).await
            } else if course.is_beside(run) {
                course.change(run.operation, tell).await
            } else {
                Ok(())
            }
        }
        Event::RunOutput { run, output } => run_output(course, envelope.id, run, output).await,
        Event::RunEnded { run, result } => run_ended(course, run, result).await,
        // What the registry itself sends; no queue of its own is bound to it.
        Event::ClusterRegistered {}
        | Event::ClusterChanged {}
        | Event::ClusterStatus { .. }
        | Event::ClusterDestroying {}
        | Event::OperationRequested { .. }
        | Event::OperationCancelled { .. } => Ok(()),
    }
}

async fn placement(course: &mut Course<'_>, generation: u32, reasons: &[String]) -> Result<(), sqlx::Error> {
    let waits = course.cluster.work().is_some_and(Work::waits);
    if generation != course.cluster.generation || !(waits || course.cluster.state.status().is_launching()) {
        return Ok(());
    }
    course.apply(Fact::PlacementBegan).await?;
    let reasons = words::reasons_together(reasons);
    if course.cluster.waiting == reasons {
        return Ok(());
    }
    course.cluster.waiting.clone_from(&reasons);
    if reasons.is_empty() {
        return Ok(());
    }
    let words = reasons.join("; ");
    course.change_operation(|operation| steps::tell(operation, None, Some(format!("waits: {words}")))).await?;
    course.log("placement", None, format!("some nodes have no place yet: {words}"));
    Ok(())
}

async fn node(course: &mut Course<'_>, fact: &NodeFact) -> Result<(), sqlx::Error> {
    if fact.generation < course.cluster.nodes_since {
        return Ok(());
    }
    let id = course.cluster.id.clone();
    let Some(before) = store::nodes::observe(course.tx(), &id, fact).await? else {
        return Ok(());
    };
    if let Some(message) = node_words(before.status, before.observation.as_ref(), &fact.observation) {
        course.log("node", Some(fact.node.clone()), message);
    }
    course.apply(Fact::PlacementBegan).await
}

/// What the history says of a node's new observation; None where it says what was known.
fn node_words(was: NodeStatus, before: Option<&NodeObservation>, now: &NodeObservation) -> Option<String> {
    let reason =
        now.reason.as_deref().map(|said| format!(": {}", words::because(now.status, said))).unwrap_or_default();
    if was != now.status || before.is_none_or(|before| before.attempt != now.attempt) {
        let place = match now.status {
            NodeStatus::Launching | NodeStatus::Running => format!(" on {} ({})", now.host, now.address),
            _ => String::new(),
        };
        return Some(format!("{}{place}, attempt {}{reason}", now.status, now.attempt.number));
    }
    let before = before?;
    if before.passing != now.passing {
        return Some(match now.passing {
            Some(true) => "passes its health checks".to_owned(),
            Some(false) => format!("does not pass its health checks{reason}"),
            None => format!("its health is not known{reason}"),
        });
    }
    (before.restarts != now.restarts).then(|| format!("was started again in place, restart {}{reason}", now.restarts))
}

async fn run_started(course: &mut Course<'_>, run: &RunRef) -> Result<(), sqlx::Error> {
    let (wanted, beside) = (course.is_wanted(run), course.is_beside(run));
    if !wanted && !beside {
        return Ok(());
    }
    if !course.is_quiet(run.operation) {
        course.log("run", None, format!("the script's action {} began, attempt {}", run.action, run.attempt));
    }
    if wanted && run.action == "start" { course.apply(Fact::RunStarted).await } else { Ok(()) }
}

async fn run_output(course: &mut Course<'_>, event: EventId, run: &RunRef, output: &Output) -> Result<(), sqlx::Error> {
    if run.generation != course.cluster.generation {
        return Ok(());
    }
    let id = course.cluster.id.clone();
    // Outputs are told again and again: the history has what is new.
    if store::outputs::put(course.tx(), &id, event, output).await? {
        course.log("run", None, format!("the script published {}", output.key));
    }
    Ok(())
}

async fn run_ended(course: &mut Course<'_>, run: &RunRef, result: &RunResult) -> Result<(), sqlx::Error> {
    let beside = course.is_beside(run);
    if !beside && !course.is_wanted(run) {
        return Ok(());
    }
    let (words, ended) = match result {
        RunResult::Succeeded {} => ("succeeded".to_owned(), Ended::Well),
        RunResult::Absent {} => ("does not exist".to_owned(), absent(course, run)),
        RunResult::Failed { reason } => (format!("failed: {reason}"), Ended::Badly(reason.clone())),
        RunResult::Cancelled {} => ("was ended".to_owned(), Ended::Badly("the run of the script was ended".to_owned())),
    };
    if !course.is_quiet(run.operation) {
        course.log("run", None, format!("the script's action {} {words}", run.action));
    }
    if beside {
        let end = match ended {
            Ended::Well | Ended::Absent => OperationEnd::Succeeded,
            Ended::Badly(reason) => OperationEnd::Failed(reason),
        };
        return course.end_beside(run.operation, end).await;
    }
    match course.cluster.state {
        State::Destroying { .. } => course.apply(Fact::DestroyRunEnded).await,
        State::Registered
        | State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Failed { .. }
        | State::Destroyed { .. } => course.apply(Fact::RunEnded(ended)).await,
    }
}

/// A script need not have what the platform calls by itself.
fn absent(course: &Course<'_>, run: &RunRef) -> Ended {
    let cluster = &course.cluster;
    let known = cluster.run.iter().chain(&cluster.side_runs).find(|wanted| wanted.operation == run.operation);
    match known {
        Some(wanted) if !wanted.required => Ended::Absent,
        Some(_) | None => Ended::Badly(format!("the script has no action {}", run.action)),
    }
}
