//! RECONCILE: how tasks and operations are, for a framework that is not sure.

use super::{Framework, Master, events};
use crate::engine::agent::Agent;
use crate::engine::agent::task::Task;
use crate::engine::effects::Effects;
use crate::v1::scheduler::{ReconcileOperation, ReconcileTask};
use crate::v1::{AgentId, FrameworkId, OperationState, OperationStatus, Reason, Source, TaskId, TaskState, TaskStatus};

impl Master {
    pub(super) fn reconcile(&self, id: &FrameworkId, tasks: &[ReconcileTask], agent: &Agent, effects: &mut Effects) {
        let Some(connection) = self.frameworks.get(id).and_then(Framework::connection) else { return };
        let unix = effects.now.unix.as_secs_f64();
        let answers: Vec<TaskStatus> = match tasks.is_empty() {
            true => {
                let own = agent.tasks().filter(|task| task.framework_id() == id);
                own.map(|task| self.known(task, unix)).collect()
            }
            false => {
                let answer = |asked: &ReconcileTask| match agent.task(id, &asked.task_id) {
                    Some(task) => self.known(task, unix),
                    None => self.unknown(id, &asked.task_id, asked.agent_id.as_ref(), unix),
                };
                tasks.iter().map(answer).collect()
            }
        };
        for status in answers {
            effects.tell_scheduler(connection, events::update(status));
        }
    }

    fn known(&self, task: &Task, unix: f64) -> TaskStatus {
        TaskStatus {
            message: Some("Reconciliation: Latest task state".to_owned()),
            agent_id: Some(self.config.agent_id.clone()),
            executor_id: Some(task.executor_id().clone()),
            healthy: task.latest().and_then(|latest| latest.healthy),
            ..answer(task.info().task_id.clone(), task.state(), unix)
        }
    }

    /// A task that nobody knows: gone if its agent is known or not named, since there is only one.
    fn unknown(&self, id: &FrameworkId, task_id: &TaskId, agent_id: Option<&AgentId>, unix: f64) -> TaskStatus {
        let (state, message) = match agent_id {
            Some(agent) if *agent == self.config.agent_id => {
                (TaskState::Gone, "Reconciliation: Task is unknown to the agent")
            }
            _ => (TaskState::Unknown, "Reconciliation: Task is unknown"),
        };
        TaskStatus {
            message: Some(message.to_owned()),
            agent_id: agent_id.cloned(),
            ..answer(task_id.clone(), self.lost_or(id, state), unix)
        }
    }

    pub(super) fn reconcile_operations(
        &self,
        id: &FrameworkId,
        operations: &[ReconcileOperation],
        agent: &Agent,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.frameworks.get(id).and_then(Framework::connection) else { return };
        let answers: Vec<OperationStatus> = match operations.is_empty() {
            true => agent.operations_of(id),
            false => {
                let answer = |asked: &ReconcileOperation| {
                    let known = agent.operation(id, &asked.operation_id).cloned();
                    known.unwrap_or_else(|| unknown_operation(asked))
                };
                operations.iter().map(answer).collect()
            }
        };
        for mut status in answers {
            // An answer is not to be acknowledged; the status itself is told again.
            status.uuid = None;
            effects.tell_scheduler(connection, events::operation_update(status));
        }
    }
}

fn unknown_operation(asked: &ReconcileOperation) -> OperationStatus {
    OperationStatus {
        operation_id: Some(asked.operation_id.clone()),
        state: OperationState::Unknown as i32,
        message: Some("Reconciliation: Operation is unknown".to_owned()),
        agent_id: asked.agent_id.clone(),
        ..OperationStatus::default()
    }
}

/// An answer has no uuid: it is not to be acknowledged.
fn answer(task_id: TaskId, state: TaskState, unix: f64) -> TaskStatus {
    TaskStatus {
        source: Some(Source::Master as i32),
        reason: Some(Reason::Reconciliation as i32),
        timestamp: Some(unix),
        ..TaskStatus::new(task_id, state)
    }
}
