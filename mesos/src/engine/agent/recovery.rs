//! What the agent finds again after the engine's death.

use super::executor::{Cause, Executor, Phase};
use super::{Agent, Task};
use crate::engine::effects::{Effects, Output};
use crate::engine::records::{ExecutorRecord, OperationRecord, Process, TaskRecord, executor_key, task_key};
use crate::v1::{FrameworkId, Reason, TaskState};

impl Agent {
    pub(crate) fn recover_task(&mut self, record: TaskRecord) {
        let task = Task::recovered(record);
        self.pool.take(&task.resources());
        let key = (task.framework_id().clone(), task.info().task_id.clone());
        self.tasks.insert(key, task);
    }

    pub(crate) fn recover_operation(&mut self, record: OperationRecord) {
        self.operations.recovered(record);
    }

    /// An executor, with the process that lives, if it does. To be called once all tasks are recovered.
    pub(crate) fn recover_executor(
        &mut self,
        mut record: ExecutorRecord,
        alive: Option<Process>,
        effects: &mut Effects,
    ) {
        let container_id = record.container_id.clone();
        let orphan = !self.frameworks.contains_key(&record.framework_id);
        if alive.is_some() && record.process != alive {
            record.process = alive;
            effects.put(executor_key(&container_id), &record);
        }
        let phase = match record.ended {
            true => Phase::Ended { remove_at: effects.after(self.config.timing.sandbox_retention) },
            false => Phase::Recovered { give_up_at: effects.after(self.config.timing.executor_reregistration) },
        };
        let checkpoint = record.checkpoint;
        let ended = record.ended;
        // Where it ended meanwhile, something of it may be left.
        let watched = record.process;
        let executor = Executor { record, phase, cause: None, orphan };
        let grace = executor.record.grace(self.config.timing.executor_shutdown_grace);
        let key = executor.key();
        self.pool.take(&executor.resources());
        self.executors.insert(container_id.clone(), executor);
        match watched {
            _ if ended => {}
            None => self.ended(&container_id, None, effects),
            Some(process) => {
                effects.emit(Output::Watch { container_id: container_id.clone(), process, grace });
                if alive.is_none() {
                    // Its end comes when nothing of it is left.
                } else if orphan {
                    self.shut_down(&key, effects);
                } else if !checkpoint {
                    let cause = Cause {
                        state: TaskState::Lost,
                        reason: Reason::AgentRestarted,
                        message: "The agent restarted, and the framework does not checkpoint".to_owned(),
                    };
                    self.destroy(&container_id, cause, effects);
                }
            }
        }
    }

    /// Tasks without an executor: the engine died between writing one and the other.
    pub(crate) fn end_abandoned_tasks(&mut self, effects: &mut Effects) {
        let abandoned: Vec<super::TaskKey> = self
            .tasks
            .iter()
            .filter(|(_, task)| !task.state().is_terminal())
            .filter(|(_, task)| self.executor(&super::executor_key_of(task)).is_none())
            .map(|(key, _)| key.clone())
            .collect();
        for key in abandoned {
            let message = "The agent restarted before the task's executor was started";
            self.end_task(&key, TaskState::Failed, Reason::AgentRestarted, message, effects);
        }
        let unknown = |id: &FrameworkId| !self.frameworks.contains_key(id);
        let lost: Vec<super::TaskKey> = self
            .tasks
            .iter()
            .filter(|(key, task)| unknown(&key.0) && task.state().is_terminal())
            .map(|(key, _)| key.clone())
            .collect();
        for key in lost {
            self.tasks.remove(&key);
            effects.delete(task_key(&key.0, &key.1));
        }
    }
}
