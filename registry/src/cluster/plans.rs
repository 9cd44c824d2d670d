//! The steps of what is asked of a ready cluster. Pure.

use super::calls::Calls;
use super::hooks::{self, Due};
use crate::lifecycle::LifeSpec;
use crate::lifecycle::work::{By, Call, Revises, Tells, Work, WorkStep};
use crate::store::nodes::NodeRow;
use bigdata_common::status::OperationKind;
use bigdata_common::{Name, OperationId};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A change of nodes, compared already.
pub(super) struct Change {
    pub(super) kind: OperationKind,
    /// From one revision to another.
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) added: Vec<Name>,
    pub(super) changed: Vec<Name>,
    pub(super) removed: Vec<Name>,
}

fn work(kind: OperationKind, by: By, steps: Vec<WorkStep>) -> Work {
    let operation = OperationId(Uuid::now_v7());
    Work { operation, kind, by, steps, done: 0, runs: 0, revises: None, paused: None }
}

fn call(action: &str, event: Option<Value>, limit_ms: u64, tells: Tells) -> Call {
    let (action, arguments) = (action.to_owned(), Map::new());
    Call { action, required: false, event, arguments, limit_ms, or_start_ms: None, tells }
}

/// An action of the script, which it must have where a user asks for it.
pub(super) fn action(by: By, name: &str, arguments: Map<String, Value>, limit_ms: u64) -> Work {
    let required = by == By::User;
    let call = Call { required, arguments, ..call(name, None, limit_ms, Tells::Nothing) };
    work(OperationKind::Action, by, vec![WorkStep::Run(call)])
}

/// Every node is configured anew.
pub(super) fn reconfigure(life: &LifeSpec) -> Work {
    work(OperationKind::Reconfigure, By::User, vec![WorkStep::Run(Call::start(life.start_ms))])
}

/// The answer to what happened to a node; None: the script is not told of it.
pub(super) fn answer(node: &NodeRow, due: Due, calls: &Calls) -> Option<Work> {
    let name = node.name.clone();
    let call = match due {
        Due::Lost => call("node-lost", Some(hooks::lost_event(node)), calls.node_lost_ms?, Tells::Lost(name)),
        Due::Replaced { same_attempt } => {
            let event = hooks::replaced_event(name.as_str(), same_attempt);
            call("node-replaced", Some(event), calls.node_replaced_ms?, Tells::Nodes(vec![name]))
        }
        Due::Note(_) => return None,
    };
    Some(work(OperationKind::Action, By::Loss, vec![WorkStep::Run(call)]))
}

/// A node is started anew and configured.
pub(super) fn replace(node: &Name, elsewhere: bool, life: &LifeSpec, calls: &Calls) -> Work {
    let renew = WorkStep::Renew { node: node.clone(), revision: None, elsewhere, limit_ms: life.placement_ms };
    let configure = match calls.node_replaced_ms {
        Some(limit_ms) => {
            let event = hooks::replaced_event(node.as_str(), false);
            let call = call("node-replaced", Some(event), limit_ms, Tells::Nodes(vec![node.clone()]));
            Call { or_start_ms: Some(life.start_ms), ..call }
        }
        None => Call::start(life.start_ms),
    };
    let configure = life.has_script.then_some(WorkStep::Run(configure));
    work(OperationKind::Replace, By::User, std::iter::once(renew).chain(configure).collect())
}

/// Nodes come, are changed and go. A script that does not know of the change configures what is new by its `start`.
pub(super) fn change(change: Change, life: &LifeSpec, calls: &Calls) -> Work {
    let Change { kind, from, to, added, changed, removed } = change;
    let (limit_ms, start_ms) = (life.placement_ms, life.start_ms);
    let mut steps = Vec::new();
    if !added.is_empty() {
        steps.push(WorkStep::Place { revision: to, added: added.clone(), limit_ms });
    }
    if life.has_script && !(added.is_empty() && removed.is_empty()) {
        let event = json!({"kind": "scale", "added": added, "removed": removed});
        let scale = call("scale", Some(event), calls.scale_ms.unwrap_or(start_ms), Tells::Nodes(added.clone()));
        let or_start_ms = (!added.is_empty()).then_some(start_ms);
        steps.push(WorkStep::Run(Call { or_start_ms, ..scale }));
    }
    let upgrade_ms = calls.upgrade_ms.unwrap_or(start_ms);
    for node in &changed {
        if let Some(limit_ms) = calls.before_upgrade_ms.filter(|_| life.has_script) {
            let event = json!({"kind": "before-upgrade", "node": node, "from": from, "to": to});
            steps.push(WorkStep::Run(call("before-upgrade", Some(event), limit_ms, Tells::Nothing)));
        }
        steps.push(WorkStep::Renew { node: node.clone(), revision: Some(to), elsewhere: false, limit_ms });
        if life.has_script {
            let event = json!({"kind": "upgrade", "node": node, "from": from, "to": to});
            let upgrade = call("upgrade", Some(event), upgrade_ms, Tells::Nodes(vec![node.clone()]));
            steps.push(WorkStep::Run(Call { or_start_ms: Some(start_ms), ..upgrade }));
        }
    }
    if life.has_script && kind == OperationKind::Upgrade {
        let event = json!({"kind": "upgrade", "from": from, "to": to});
        steps.push(WorkStep::Run(call("upgrade", Some(event), upgrade_ms, Tells::Nothing)));
    }
    if !removed.is_empty() {
        steps.push(WorkStep::Release { nodes: removed, limit_ms });
    }
    let undo = (kind == OperationKind::Scale).then_some(added);
    Work { revises: Some(Revises { from, to, undo }), ..work(kind, By::User, steps) }
}
