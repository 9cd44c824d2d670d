//! What changes a ready cluster: an operation as work in steps, of which one is under way.
//!
//! A step is a run of the script, or a wait for nodes. Work that answers to what happened to a node interrupts a wait: that
//! goes on afterwards, with what is left of its limit.

use super::transitions::{RUN_GRACE_MS, unchanged};
use super::{Effect, Ended, NodeSummary, OperationEnd, State, Step};
use bigdata_common::status::OperationKind;
use bigdata_common::{Name, OperationId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The action that looks after a cluster by the clock.
const CHECK: &str = "check";
/// The action that configures whatever there is.
pub const START: &str = "start";

/// An operation on a ready cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The operation.
    pub operation: OperationId,
    /// Its kind.
    pub kind: OperationKind,
    /// What asked for it.
    #[serde(default)]
    pub by: By,
    /// Its steps in order.
    pub steps: Vec<WorkStep>,
    /// How many of them are done.
    #[serde(default)]
    pub done: usize,
    /// How many runs of the script it has asked for.
    #[serde(default)]
    pub runs: u32,
    /// Where it changes the cluster's revision: from which one to which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revises: Option<Revises>,
    /// What it interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Box<Paused>>,
}

/// What asked for a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A user.
    #[default]
    User,
    /// A schedule.
    Clock,
    /// What happened to a node: it goes before everything else.
    Loss,
}

/// A change of the cluster's revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revises {
    /// The revision that the work was planned for, and begins at.
    pub from: u32,
    /// The revision that it brings.
    pub to: u32,
    /// Whether it is taken back when the work fails, and with it these nodes, which it has added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Vec<Name>>,
}

/// Work that was interrupted while it waited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// The work.
    pub work: Work,
    /// What is left of its step's limit, in milliseconds.
    pub left_ms: u64,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum WorkStep {
    /// The script runs.
    Run(Call),
    /// New nodes are wanted; until every wanted node runs.
    Place {
        /// The revision that describes them.
        revision: u32,
        /// The new nodes.
        added: Vec<Name>,
        /// How long that may take, in milliseconds.
        limit_ms: u64,
    },
    /// A node is started anew; until it runs.
    Renew {
        /// The node.
        node: Name,
        /// The revision that describes it from then on; None: the same as before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
        /// Whether it gives its agent and its data up.
        #[serde(default)]
        elsewhere: bool,
        /// How long that may take, in milliseconds.
        limit_ms: u64,
    },
    /// Nodes are wanted no more; until they are gone.
    Release {
        /// The nodes.
        nodes: Vec<Name>,
        /// How long that may take, in milliseconds.
        limit_ms: u64,
    },
}

/// A run of the script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The script's action.
    pub action: String,
    /// Whether a script without it is an error.
    #[serde(default)]
    pub required: bool,
    /// What it is about, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// What a user gave.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
    /// How long it may take, in milliseconds.
    pub limit_ms: u64,
    /// Where a script without the action is to configure everything anew instead: how long `start` may take, in
    /// milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub or_start_ms: Option<u64>,
    /// The nodes that the script learns of by this.
    #[serde(default, skip_serializing_if = "Tells::is_nothing")]
    pub tells: Tells,
}

/// What a run of the script tells it of the nodes, as they are when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tells {
    /// Nothing.
    #[default]
    Nothing,
    /// That this node is lost.
    Lost(Name),
    /// That these nodes are as they are.
    Nodes(Vec<Name>),
    /// That all of them are.
    Everyone,
}

impl Tells {
    fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

impl Call {
    /// Configures everything anew.
    pub fn start(limit_ms: u64) -> Self {
        Self {
            action: START.to_owned(),
            required: true,
            event: None,
            arguments: Map::new(),
            limit_ms,
            or_start_ms: None,
            tells: Tells::Everyone,
        }
    }
}

impl Work {
    /// The step that is under way.
    pub fn step(&self) -> Option<&WorkStep> {
        self.steps.get(self.done)
    }

    /// Whether it only waits now, and may be interrupted.
    pub fn waits(&self) -> bool {
        match self.step() {
            Some(WorkStep::Place { .. } | WorkStep::Renew { .. } | WorkStep::Release { .. }) => true,
            Some(WorkStep::Run(_)) | None => false,
        }
    }

    /// Whether it is a look after the cluster by the clock: that is dropped where there is something to be done.
    pub fn is_check(&self) -> bool {
        let checks = matches!(self.steps.as_slice(), [WorkStep::Run(call)] if call.action == CHECK);
        self.by == By::Clock && checks
    }

    /// Whether this may begin now on a ready cluster that `current` changes.
    pub fn may_begin(&self, current: Option<&Self>) -> bool {
        let Some(current) = current else { return true };
        self.by == By::Loss && (current.is_check() || (current.waits() && current.paused.is_none()))
    }
}

impl WorkStep {
    /// Its name in the operation.
    pub fn name(&self) -> String {
        match self {
            Self::Run(call) if call.action == START => "configuring".to_owned(),
            Self::Run(call) => match call.event.as_ref().and_then(|event| event.get("node")).and_then(Value::as_str) {
                Some(node) => format!("{} {node}", call.action),
                None => call.action.clone(),
            },
            Self::Place { .. } => "placing".to_owned(),
            Self::Renew { node, .. } => format!("renewing {node}"),
            Self::Release { .. } => "releasing".to_owned(),
        }
    }
}

/// `left_ms` is what is left of the limit of what is interrupted.
pub(super) fn begin(state: State, work: Work, left_ms: u64) -> Step {
    match state {
        State::Ready { work: None } => start(work, Vec::new()),
        State::Ready { work: Some(current) } if work.may_begin(Some(&current)) => {
            if current.is_check() {
                let effects =
                    vec![Effect::Run(None), Effect::Limit(None), Effect::EndOperation(OperationEnd::Cancelled)];
                return start(work, effects);
            }
            let paused = Some(Box::new(Paused { work: current, left_ms }));
            start(Work { paused, ..work }, vec![Effect::Limit(None)])
        }
        State::Ready { .. }
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

fn start(work: Work, mut effects: Vec<Effect>) -> Step {
    effects.push(Effect::TakeUp(work.operation));
    if let Some(revises) = &work.revises {
        effects.push(Effect::Revise(revises.to));
    }
    enter(work, effects)
}

/// Begins the step that is next, or ends well where none is.
fn enter(mut work: Work, mut effects: Vec<Effect>) -> Step {
    effects.push(Effect::Progress(work.done));
    let Some(step) = work.step() else { return end(work, OperationEnd::Succeeded, effects) };
    match step.clone() {
        WorkStep::Run(call) => {
            work.runs += 1;
            let limit = call.limit_ms.saturating_add(RUN_GRACE_MS);
            effects.extend([Effect::Call(call), Effect::Limit(Some(limit)), Effect::TellRequested]);
        }
        WorkStep::Place { revision, added, limit_ms } => {
            effects.extend([
                Effect::Add { revision, nodes: added },
                Effect::Limit(Some(limit_ms)),
                Effect::TellChanged,
            ]);
        }
        WorkStep::Renew { node, revision, elsewhere, limit_ms } => {
            let renew = Effect::Renew { node, revision, elsewhere };
            effects.extend([renew, Effect::Limit(Some(limit_ms)), Effect::TellChanged]);
        }
        WorkStep::Release { nodes, limit_ms } => {
            effects.push(Effect::Leave(nodes));
            // Texts of the former revision may name the addresses of nodes that go.
            effects.extend(work.revises.as_ref().map(|revises| Effect::Follow(revises.to)));
            effects.extend([Effect::Limit(Some(limit_ms)), Effect::TellChanged]);
        }
    }
    Step { state: State::Ready { work: Some(work) }, effects }
}

fn advance(mut work: Work) -> Step {
    work.done += 1;
    enter(work, vec![Effect::Run(None)])
}

/// The work is over, however: the cluster stays what it is, and what was interrupted goes on.
fn end(mut work: Work, how: OperationEnd, mut effects: Vec<Effect>) -> Step {
    let paused = work.paused.take();
    effects.extend([Effect::Run(None), Effect::Limit(None)]);
    finish(&work, how, &mut effects);
    let Some(paused) = paused else { return Step { state: State::Ready { work: None }, effects } };
    let Paused { work, left_ms } = *paused;
    effects.extend([Effect::TakeUp(work.operation), Effect::Limit(Some(left_ms))]);
    Step { state: State::Ready { work: Some(work) }, effects }
}

/// Ends the operation that is taken up; one that ends badly is taken back where it can be.
fn finish(work: &Work, how: OperationEnd, effects: &mut Vec<Effect>) {
    let undo = match (&how, &work.revises, work.step()) {
        // What the script has drained and the framework has begun to end does not come back.
        (OperationEnd::Succeeded, ..) | (_, _, Some(WorkStep::Release { .. })) => None,
        (_, Some(Revises { from, undo: Some(added), .. }), _) => Some((*from, added.clone())),
        (_, Some(Revises { undo: None, .. }) | None, _) => None,
    };
    if let Some((revision, added)) = undo {
        effects.extend([Effect::Revise(revision), Effect::Leave(added), Effect::TellChanged]);
    }
    if let (OperationEnd::Succeeded, Some(revises)) = (&how, &work.revises) {
        effects.extend([Effect::Follow(revises.to), Effect::TellChanged]);
    }
    effects.push(Effect::EndOperation(how));
}

/// What the nodes allow of work that waits for them.
pub(super) fn observed(work: Work, nodes: &NodeSummary) -> Step {
    let done = match work.step() {
        Some(WorkStep::Place { .. }) => {
            if let Some(reason) = &nodes.gave_up {
                return end(work, OperationEnd::Failed(reason.clone()), Vec::new());
            }
            nodes.missing.is_empty()
        }
        Some(WorkStep::Renew { node, .. }) => !nodes.missing.contains(node),
        Some(WorkStep::Release { nodes: released, .. }) => !released.iter().any(|node| nodes.leaving.contains(node)),
        Some(WorkStep::Run(_)) | None => false,
    };
    if done { advance(work) } else { unchanged(State::Ready { work: Some(work) }) }
}

/// The run of the present step is over.
pub(super) fn run_ended(mut work: Work, ended: Ended) -> Step {
    let Some(WorkStep::Run(call)) = work.steps.get_mut(work.done) else {
        return unchanged(State::Ready { work: Some(work) });
    };
    match ended {
        Ended::Well => advance(work),
        Ended::Absent => match call.or_start_ms {
            Some(limit_ms) => {
                *call = Call::start(limit_ms);
                enter(work, vec![Effect::Run(None)])
            }
            None => advance(work),
        },
        Ended::Badly(reason) => end(work, OperationEnd::Failed(reason), Vec::new()),
    }
}

/// The limit of the present step has passed.
pub(super) fn deadline_passed(work: Work, detail: &str) -> Step {
    let reason = match work.step() {
        Some(WorkStep::Run(call)) => {
            format!("the script's action {} did not end within {} s{detail}", call.action, call.limit_ms / 1000)
        }
        Some(WorkStep::Place { limit_ms, .. }) => {
            format!("not every node found a place and ran within {} s{detail}", limit_ms / 1000)
        }
        Some(WorkStep::Renew { node, limit_ms, .. }) => {
            format!("{node} did not run again within {} s{detail}", limit_ms / 1000)
        }
        Some(WorkStep::Release { nodes, limit_ms }) => {
            let names: Vec<&str> = nodes.iter().map(Name::as_str).collect();
            format!("not gone within {} s, and still being released: {}", limit_ms / 1000, names.join(", "))
        }
        None => "its last step has ended".to_owned(),
    };
    end(work, OperationEnd::Failed(reason), Vec::new())
}

/// A user wants an operation to end: the one under way, or the one that it interrupted.
pub(super) fn cancelled(mut work: Work, operation: OperationId) -> Step {
    if work.operation == operation {
        return end(work, OperationEnd::Cancelled, Vec::new());
    }
    let is_paused = work.paused.as_ref().is_some_and(|paused| paused.work.operation == operation);
    let Some(paused) = work.paused.take_if(|_| is_paused) else {
        return unchanged(State::Ready { work: Some(work) });
    };
    let mut effects = vec![Effect::TakeUp(operation)];
    finish(&paused.work, OperationEnd::Cancelled, &mut effects);
    effects.push(Effect::TakeUp(work.operation));
    Step { state: State::Ready { work: Some(work) }, effects }
}

/// A destroy overtakes it, and what it interrupted: nothing is taken back, since everything goes.
pub(super) fn overtaken(work: Option<Work>) -> Vec<Effect> {
    let Some(work) = work else { return vec![Effect::DropWaiting] };
    let mut effects = vec![Effect::EndOperation(OperationEnd::Cancelled)];
    if let Some(paused) = work.paused {
        effects.extend([Effect::TakeUp(paused.work.operation), Effect::EndOperation(OperationEnd::Cancelled)]);
    }
    effects.push(Effect::DropWaiting);
    effects
}
