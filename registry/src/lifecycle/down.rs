//! Transitions of a cluster that is taken down.

use super::transitions::{RUN_GRACE_MS, unchanged};
use super::{Action, DestroyStage, Effect, FailedNodes, LifeSpec, OperationEnd, State, Step, work};
use bigdata_common::internal::Desired;
use bigdata_common::status::OperationKind;

pub(super) fn destroy_requested(state: State, force: bool, something_to_undo: bool, spec: &LifeSpec) -> Step {
    let step = match state {
        State::Registered | State::Scheduling | State::Scheduled | State::Configuring | State::Configured => {
            unchanged(state).with(Effect::EndOperation(OperationEnd::Cancelled))
        }
        State::Ready { work } => Step { effects: work::overtaken(work), state: State::Ready { work: None } },
        State::Failed { .. } => unchanged(state),
        State::Destroying { stage, force: false } if force => {
            let step = Step { state: State::Destroying { stage, force: true }, effects: Vec::new() };
            return release(step);
        }
        State::Destroying { .. } | State::Destroyed { .. } => return unchanged(state),
    };
    let gone = match &step.state {
        State::Failed { nodes: FailedNodes::Released(leftovers), .. } => Some(leftovers.clone()),
        State::Failed { .. }
        | State::Registered
        | State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Destroying { .. }
        | State::Destroyed { .. } => None,
    };
    let nodes_kept = !matches!(&step.state, State::Failed { nodes: FailedNodes::Releasing, .. }) && gone.is_none();
    let step = step.with(Effect::BeginOperation(OperationKind::Destroy)).with(Effect::Run(None));
    if something_to_undo && nodes_kept && !force {
        return step
            .with(Effect::Run(Some((Action::Destroy, spec.destroy_ms))))
            .reach(State::Destroying { stage: DestroyStage::Script, force })
            .with(Effect::Limit(Some(spec.destroy_ms.saturating_add(RUN_GRACE_MS))))
            .with(Effect::TellDestroying);
    }
    let step = step.reach(State::Destroying { stage: DestroyStage::Release, force });
    match gone {
        Some(leftovers) => released(step.state, leftovers).after(step.effects),
        None => release(step),
    }
}

impl Step {
    fn after(mut self, mut earlier: Vec<Effect>) -> Self {
        earlier.append(&mut self.effects);
        self.effects = earlier;
        self
    }
}

fn release(mut step: Step) -> Step {
    if let State::Destroying { stage, .. } = &mut step.state {
        *stage = DestroyStage::Release;
    }
    step.with(Effect::Run(None))
        .with(Effect::Desire(Desired::Release))
        .with(Effect::Limit(None))
        .with(Effect::TellDestroying)
}

pub(super) fn destroy_run_ended(state: State) -> Step {
    match state {
        State::Destroying { stage: DestroyStage::Script, .. } => release(unchanged(state)),
        State::Registered
        | State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Failed { .. }
        | State::Destroying { stage: DestroyStage::Release, .. }
        | State::Destroyed { .. } => unchanged(state),
    }
}

pub(super) fn released(state: State, leftovers: Vec<String>) -> Step {
    match state {
        State::Destroying { stage: DestroyStage::Release, .. } => unchanged(state)
            .reach(State::Destroyed { leftovers })
            .with(Effect::Desire(Desired::Release))
            .with(Effect::Limit(None))
            .with(Effect::EndOperation(OperationEnd::Succeeded)),
        State::Failed { during, reason, nodes: FailedNodes::Releasing } => {
            unchanged(State::Failed { during, reason, nodes: FailedNodes::Released(leftovers) })
        }
        State::Registered
        | State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Failed { .. }
        | State::Destroying { stage: DestroyStage::Script, .. }
        | State::Destroyed { .. } => unchanged(state),
    }
}
