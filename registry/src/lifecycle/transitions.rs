//! One function per fact: each names every state, so that a new one cannot be forgotten.

use super::down::destroy_run_ended;
use super::{Action, DestroyStage, Effect, Ended, FailedNodes, LifeSpec, NodeSummary, OperationEnd, State, Step, work};
use bigdata_common::OperationId;
use bigdata_common::internal::Desired;
use bigdata_common::status::{ClusterStatus, OperationKind};

/// A script's run is ended by the orchestrator at its limit; the registry waits this much longer for word of it.
pub(super) const RUN_GRACE_MS: u64 = 15_000;

pub(super) fn unchanged(state: State) -> Step {
    Step { state, effects: Vec::new() }
}

/// A step that is put together piece by piece.
impl Step {
    pub(super) fn reach(mut self, state: State) -> Self {
        self.effects.push(Effect::Announce(state.status(), None));
        self.state = state;
        self
    }

    pub(super) fn with(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}

pub(super) fn placement_began(state: State) -> Step {
    match state {
        // The limit was set when the cluster was registered, and goes on.
        State::Registered => unchanged(state).reach(State::Scheduling),
        State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Failed { .. }
        | State::Destroying { .. }
        | State::Destroyed { .. } => unchanged(state),
    }
}

pub(super) fn observed(state: State, nodes: &NodeSummary, spec: &LifeSpec) -> Step {
    match state {
        State::Registered | State::Scheduling | State::Scheduled | State::Configuring | State::Configured => {
            match &nodes.gave_up {
                Some(reason) => fail(state, reason.clone(), spec),
                None => launching_observed(state, nodes, spec),
            }
        }
        State::Ready { work: Some(work) } => work::observed(work, nodes),
        State::Ready { work: None } | State::Failed { .. } | State::Destroying { .. } | State::Destroyed { .. } => {
            unchanged(state)
        }
    }
}

fn launching_observed(state: State, nodes: &NodeSummary, spec: &LifeSpec) -> Step {
    let mut step = unchanged(state);
    if step.state == State::Registered {
        step = step.reach(State::Scheduling);
    }
    if step.state == State::Scheduling && nodes.all_run() {
        step = scheduled(step, spec);
    }
    if step.state == State::Configured && nodes.all_pass() {
        // The framework keeps a ready cluster's nodes alive without a limit of attempts: it learns of it at once.
        step = step
            .reach(State::Ready { work: None })
            .with(Effect::Limit(None))
            .with(Effect::EndOperation(OperationEnd::Succeeded))
            .with(Effect::TellChanged);
    }
    step
}

fn scheduled(step: Step, spec: &LifeSpec) -> Step {
    // The run is asked for before the status is told: whoever is woken by the status finds it.
    let step = if spec.has_script { step.with(Effect::Run(Some((Action::Start, spec.start_ms)))) } else { step };
    let step = step.reach(State::Scheduled);
    if spec.has_script {
        step.with(Effect::Limit(Some(spec.start_ms.saturating_add(RUN_GRACE_MS))))
    } else {
        configured(step, spec)
    }
}

fn configured(step: Step, spec: &LifeSpec) -> Step {
    step.with(Effect::Run(None)).reach(State::Configured).with(Effect::Limit(Some(spec.ready_ms)))
}

pub(super) fn run_started(state: State) -> Step {
    match state {
        State::Scheduled => unchanged(state).reach(State::Configuring),
        State::Registered
        | State::Scheduling
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Failed { .. }
        | State::Destroying { .. }
        | State::Destroyed { .. } => unchanged(state),
    }
}

pub(super) fn run_ended(state: State, ended: Ended, spec: &LifeSpec) -> Step {
    let step = match state {
        // Word of its beginning comes late, or never.
        State::Scheduled => unchanged(state).reach(State::Configuring),
        State::Configuring => unchanged(state),
        State::Ready { work: Some(work) } => return work::run_ended(work, ended),
        State::Registered
        | State::Scheduling
        | State::Configured
        | State::Ready { work: None }
        | State::Failed { .. }
        | State::Destroying { .. }
        | State::Destroyed { .. } => return unchanged(state),
    };
    match ended {
        Ended::Well | Ended::Absent => configured(step, spec),
        Ended::Badly(reason) => fail_step(step, reason, OperationEnd::Failed, spec),
    }
}

fn fail(state: State, reason: String, spec: &LifeSpec) -> Step {
    fail_step(unchanged(state), reason, OperationEnd::Failed, spec)
}

fn fail_step(step: Step, reason: String, end: impl FnOnce(String) -> OperationEnd, spec: &LifeSpec) -> Step {
    let during = step.state.status();
    let words = format!("failed during {during}: {reason}");
    let mut step = step.with(Effect::Run(None));
    step.state = State::Failed { during, reason: reason.clone(), nodes: FailedNodes::Kept };
    step.with(Effect::Announce(ClusterStatus::Failed, Some(reason)))
        .with(Effect::Limit(Some(spec.keep_ms)))
        .with(Effect::EndOperation(end(words)))
        .with(Effect::TellChanged)
}

pub(super) fn deadline_passed(state: State, detail: Option<String>, spec: &LifeSpec) -> Step {
    let seconds = |millis: u64| millis / 1000;
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    match state {
        State::Registered | State::Scheduling => {
            let reason =
                format!("not every node found a place and ran within {} s{detail}", seconds(spec.placement_ms));
            fail(state, reason, spec)
        }
        State::Scheduled | State::Configuring => {
            let reason = format!("the script's action start did not end within {} s{detail}", seconds(spec.start_ms));
            fail(state, reason, spec)
        }
        State::Configured => {
            let reason = format!("not every node passed its health checks within {} s{detail}", seconds(spec.ready_ms));
            fail(state, reason, spec)
        }
        State::Destroying { stage: DestroyStage::Script, .. } => destroy_run_ended(state),
        State::Ready { work: Some(work) } => work::deadline_passed(work, &detail),
        State::Ready { work: None }
        | State::Failed { .. }
        | State::Destroying { stage: DestroyStage::Release, .. }
        | State::Destroyed { .. } => unchanged(state),
    }
}

pub(super) fn retry_requested(state: State, nodes: &NodeSummary, spec: &LifeSpec) -> Step {
    let (during, kept) = match &state {
        State::Failed { during, nodes, .. } => (*during, *nodes == FailedNodes::Kept),
        State::Registered
        | State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Destroying { .. }
        | State::Destroyed { .. } => return unchanged(state),
    };
    let step = unchanged(state).with(Effect::NextGeneration);
    let step = if kept { step } else { step.with(Effect::ForgetNodes) };
    let step = step
        .with(Effect::BeginOperation(OperationKind::Retry))
        .with(Effect::Desire(Desired::Run))
        .with(Effect::TellChanged);
    // A phase can only be taken up where those before it still hold.
    let nodes_hold = kept && nodes.total > 0 && nodes.all_run();
    if nodes_hold && during == ClusterStatus::Configured {
        return configured(step, spec);
    }
    if nodes_hold && matches!(during, ClusterStatus::Scheduled | ClusterStatus::Configuring) {
        return scheduled(step, spec);
    }
    step.reach(State::Scheduling).with(Effect::Limit(Some(spec.placement_ms)))
}

pub(super) fn cancel_requested(state: State, words: String, spec: &LifeSpec) -> Step {
    match state {
        State::Registered | State::Scheduling | State::Scheduled | State::Configuring | State::Configured => {
            fail_step(unchanged(state), words, |_| OperationEnd::Cancelled, spec)
        }
        State::Ready { .. } | State::Failed { .. } | State::Destroying { .. } | State::Destroyed { .. } => {
            unchanged(state)
        }
    }
}

pub(super) fn work_cancelled(state: State, operation: OperationId) -> Step {
    match state {
        State::Ready { work: Some(work) } => work::cancelled(work, operation),
        State::Ready { work: None }
        | State::Registered
        | State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Failed { .. }
        | State::Destroying { .. }
        | State::Destroyed { .. } => unchanged(state),
    }
}

pub(super) fn keep_expired(state: State) -> Step {
    match state {
        State::Failed { during, reason, nodes: FailedNodes::Kept } => {
            unchanged(State::Failed { during, reason, nodes: FailedNodes::Releasing })
                .with(Effect::Desire(Desired::Release))
                .with(Effect::Limit(None))
                .with(Effect::TellChanged)
        }
        State::Failed { .. }
        | State::Registered
        | State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Destroying { .. }
        | State::Destroyed { .. } => unchanged(state),
    }
}
