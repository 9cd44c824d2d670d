//! The steps of operations, moved on by what their cluster reaches. Pure.

use crate::lifecycle::DestroyStage;
use crate::lifecycle::work::Work;
use bigdata_common::api::PREFIX;
use bigdata_common::api::operation::{OperationView, StepView};
use bigdata_common::status::{ClusterStatus, OperationKind, OperationStatus};
use bigdata_common::{ClusterDn, OperationId, Timestamp};

/// The first step of a launch: every node gets a place and runs.
const SCHEDULING: &str = "scheduling";
/// The second: the script's `start`.
const CONFIGURING: &str = "configuring";
/// The third: health passes.
const READY: &str = "ready";
/// The first step of a destroy: the script's `destroy`.
const SCRIPT: &str = "script";
/// The second: nodes are ended, leases freed.
const RELEASE: &str = "release";

/// A new operation, under way.
pub fn begin(id: OperationId, kind: OperationKind, cluster: ClusterDn, now: Timestamp) -> OperationView {
    let names: &[&str] = match kind {
        OperationKind::Launch | OperationKind::Retry => &[SCHEDULING, CONFIGURING, READY],
        // Their steps are those of their work.
        OperationKind::Reconfigure
        | OperationKind::Action
        | OperationKind::Scale
        | OperationKind::Upgrade
        | OperationKind::Replace => &[],
        OperationKind::Destroy => &[SCRIPT, RELEASE],
    };
    OperationView {
        id,
        kind,
        action: None,
        node: None,
        cause: None,
        retry_of: None,
        cluster,
        status: OperationStatus::Running,
        steps: names.iter().map(|name| pending(name)).collect(),
        error: None,
        created_at: now,
        ended_at: None,
        deadline: None,
        url: format!("{PREFIX}/operations/{id}"),
    }
}

fn pending(name: &str) -> StepView {
    StepView {
        name: name.to_owned(),
        status: OperationStatus::Pending,
        started_at: None,
        ended_at: None,
        percent: None,
        message: None,
    }
}

/// The operation of this work, which waits.
pub fn of_work(work: &Work, cluster: ClusterDn, now: Timestamp) -> OperationView {
    let mut operation = begin(work.operation, work.kind, cluster, now);
    operation.status = OperationStatus::Pending;
    operation.steps = work.steps.iter().map(|step| pending(&step.name())).collect();
    operation
}

/// The operation of a run beside, which is under way.
pub fn beside(id: OperationId, action: &str, cluster: ClusterDn, now: Timestamp) -> OperationView {
    let mut operation = begin(id, OperationKind::Action, cluster, now);
    operation.action = Some(action.to_owned());
    operation.steps = vec![pending(action)];
    progress(&mut operation, 0, now);
    operation
}

/// So many steps are done, and the next one is under way.
pub fn progress(operation: &mut OperationView, done: usize, now: Timestamp) {
    for (index, step) in operation.steps.iter_mut().enumerate().take(done.saturating_add(1)) {
        step.started_at = step.started_at.or(Some(now));
        if index < done && !step.status.is_final() {
            step.status = OperationStatus::Succeeded;
            step.ended_at = Some(now);
            step.percent = Some(100);
        } else if step.status == OperationStatus::Pending {
            step.status = OperationStatus::Running;
        }
    }
}

/// Moves a launch's or retry's steps on to where its cluster stands.
pub fn reached(operation: &mut OperationView, status: ClusterStatus, now: Timestamp) {
    let (done, running): (&[&str], Option<&str>) = match status {
        ClusterStatus::Scheduling => (&[], Some(SCHEDULING)),
        ClusterStatus::Scheduled => (&[SCHEDULING], None),
        ClusterStatus::Configuring => (&[SCHEDULING], Some(CONFIGURING)),
        ClusterStatus::Configured => (&[SCHEDULING, CONFIGURING], Some(READY)),
        ClusterStatus::Ready => (&[SCHEDULING, CONFIGURING, READY], None),
        ClusterStatus::Registered | ClusterStatus::Failed | ClusterStatus::Destroying | ClusterStatus::Destroyed => {
            (&[], None)
        }
    };
    settle(operation, done, running, now);
}

/// Moves a destroy's steps on.
pub fn destroy_reached(operation: &mut OperationView, stage: Option<DestroyStage>, now: Timestamp) {
    match stage {
        Some(DestroyStage::Script) => settle(operation, &[], Some(SCRIPT), now),
        Some(DestroyStage::Release) => settle(operation, &[SCRIPT], Some(RELEASE), now),
        None => settle(operation, &[SCRIPT, RELEASE], None, now),
    }
}

/// What the step that is under way says of itself.
pub fn tell(operation: &mut OperationView, percent: Option<u8>, message: Option<String>) {
    if let Some(step) = operation.steps.iter_mut().find(|step| step.status == OperationStatus::Running) {
        step.percent = percent.or(step.percent);
        step.message = message.or_else(|| step.message.take());
    }
}

/// Ends an operation; its step under way ends alike, or the next one where none is.
pub fn end(operation: &mut OperationView, status: OperationStatus, error: Option<String>, now: Timestamp) {
    operation.status = status;
    operation.error.clone_from(&error);
    operation.ended_at = Some(now);
    operation.deadline = None;
    for step in operation.steps.iter_mut().filter(|step| step.status == OperationStatus::Running) {
        step.status = status;
        step.ended_at = Some(now);
        if error.is_some() {
            step.message.clone_from(&error);
        }
    }
}

fn settle(operation: &mut OperationView, done: &[&str], running: Option<&str>, now: Timestamp) {
    for step in &mut operation.steps {
        let name = step.name.as_str();
        if done.contains(&name) && !step.status.is_final() {
            step.status = OperationStatus::Succeeded;
            step.started_at = step.started_at.or(Some(now));
            step.ended_at = Some(now);
            step.percent = Some(100);
        }
        if running == Some(name) && step.status == OperationStatus::Pending {
            step.status = OperationStatus::Running;
            step.started_at = Some(now);
        }
    }
}
