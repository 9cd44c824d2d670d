//! What the agent does when time has passed.

use std::collections::HashSet;
use std::time::Duration;

use super::Agent;
use super::executor::{Cause, Executor, Phase};
use crate::engine::effects::{Effects, Notice, Output};
use crate::v1::{Reason, TaskState};

/// A process that outlives its kill is killed again.
pub(super) const FORCE_AGAIN: Duration = Duration::from_secs(1);

impl Agent {
    /// When [`expire`](Self::expire) next has something to do.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let waiting = self.waiting();
        let executors = self.executors.iter().filter(|(id, _)| !waiting.contains(id));
        let executors = executors.filter_map(|(_, executor)| executor.deadline());
        let tasks = self.tasks.values().filter_map(super::Task::retry_at);
        executors.chain(tasks).chain(self.operations.deadline()).min()
    }

    /// Ended executors whose sandboxes are kept for as long as it takes until their tasks are acknowledged.
    fn waiting(&self) -> HashSet<&str> {
        let ended = self.executors.iter().filter(|(_, executor)| executor.is_ended());
        ended.filter(|(_, executor)| self.is_kept_for_tasks(executor)).map(|(id, _)| id).collect()
    }

    fn is_kept_for_tasks(&self, ended: &Executor) -> bool {
        let key = ended.key();
        self.tasks.has(&key) && self.executor(&key).is_none()
    }

    pub(crate) fn expire(&mut self, effects: &mut Effects) {
        for (key, task) in self.tasks.iter_mut() {
            if let Some(status) = task.retell(effects.now.elapsed) {
                effects.notify(Notice::Update(key.0.clone(), Box::new(status)));
            }
        }
        self.operations.expire(self.config.timing.status_retry, effects);
        let due = |one: &super::Executor| one.deadline().is_some_and(|at| effects.is_past(at));
        let due = self.executors.iter().filter(|(_, executor)| due(executor));
        let due: Vec<String> = due.map(|(id, _)| id.to_owned()).collect();
        for container_id in due {
            self.executor_due(&container_id, effects);
        }
    }

    fn executor_due(&mut self, container_id: &str, effects: &mut Effects) {
        let Some(executor) = self.executors.get_mut(container_id) else { return };
        match &mut executor.phase {
            Phase::Starting { .. } => {
                let within = self.config.timing.executor_registration;
                let cause = Cause {
                    state: TaskState::Failed,
                    reason: Reason::ExecutorRegistrationTimeout,
                    message: format!("Executor did not register within {within:?}"),
                };
                self.destroy(container_id, cause, effects);
            }
            Phase::Recovered { .. } => {
                let within = self.config.timing.executor_reregistration;
                let cause = Cause {
                    state: TaskState::Failed,
                    reason: Reason::ExecutorReregistrationTimeout,
                    message: format!("Executor did not reregister within {within:?}"),
                };
                self.destroy(container_id, cause, effects);
            }
            Phase::Stopping { force_at, .. } => {
                *force_at = effects.after(FORCE_AGAIN);
                if let Some(process) = executor.record.process {
                    effects.emit(Output::Kill(process));
                }
            }
            Phase::Ended { .. } => {
                self.remove_sandbox(container_id, effects);
            }
            Phase::Running { .. } => {}
        }
    }
}
