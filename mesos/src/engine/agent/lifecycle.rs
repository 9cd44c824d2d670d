//! What happens to executors' processes, and what ends them.

use super::executor::{Cause, Executor, Phase};
use super::task::{Task, agent_status};
use super::{Agent, TaskKey};
use crate::engine::effects::{Effects, ExecutorKey, Notice, Output};
use crate::engine::records::{Process, executor_key, task_key};
use crate::v1::executor::{Event, EventType};
use crate::v1::{FrameworkId, Reason, TaskState};

impl Agent {
    /// The shell has started a process.
    pub(crate) fn started(&mut self, container_id: &str, process: Process, effects: &mut Effects) {
        let Some(executor) = self.executors.get_mut(container_id) else {
            effects.emit(Output::Kill(process));
            return;
        };
        executor.record.process = Some(process);
        effects.put(executor_key(container_id), &executor.record);
        if matches!(executor.phase, Phase::Stopping { connection: None, .. }) {
            effects.emit(Output::Kill(process));
        }
    }

    pub(crate) fn launch_failed(&mut self, container_id: &str, reason: &str, effects: &mut Effects) {
        if let Some(executor) = self.executors.get_mut(container_id) {
            executor.cause.get_or_insert(Cause {
                state: TaskState::Failed,
                reason: Reason::ContainerLaunchFailed,
                message: format!("Failed to launch container: {reason}"),
            });
        }
        self.ended(container_id, None, effects);
    }

    /// A task's volumes could not be put in place; its executor must not run without them.
    pub(crate) fn volume_failed(&mut self, container_id: &str, reason: &str, effects: &mut Effects) {
        let cause = Cause {
            state: TaskState::Failed,
            reason: Reason::ContainerUpdateFailed,
            message: format!("Failed to update container: {reason}"),
        };
        self.destroy(container_id, cause, effects);
    }

    /// A process and all that it left behind has ended: its tasks have, too.
    pub(crate) fn ended(&mut self, container_id: &str, status: Option<i32>, effects: &mut Effects) {
        let Some(executor) = self.executors.get_mut(container_id) else { return };
        if executor.is_ended() {
            return;
        }
        let used = executor.resources();
        if let Some(connection) = executor.connection() {
            effects.emit(Output::Close(connection));
        }
        executor.record.ended = true;
        effects.put(executor_key(container_id), &executor.record);
        self.pool.give(&used);
        effects.notify(Notice::Freed);
        let (key, orphan) = (executor.key(), executor.orphan);
        let cause = executor.cause.clone().unwrap_or_else(|| Cause {
            state: TaskState::Failed,
            reason: Reason::ExecutorTerminated,
            message: exit_message(status),
        });
        self.executors.set_ended(container_id, effects.after(self.config.timing.sandbox_retention));
        for task in self.living_tasks(&key) {
            self.end_task(&task, cause.state, cause.reason, &cause.message, effects);
        }
        if orphan {
            self.forget_tasks(&key.framework_id, effects);
        } else {
            effects.notify(Notice::ExecutorEnded {
                framework_id: key.framework_id,
                executor_id: key.executor_id,
                status,
            });
        }
    }

    fn living_tasks(&self, executor: &ExecutorKey) -> Vec<TaskKey> {
        let living = self.tasks.of(executor).filter(|(_, task)| !task.state().is_terminal());
        living.map(|(key, _)| key).collect()
    }

    /// Ends a task by a status of the agent's own.
    pub(super) fn end_task(
        &mut self,
        key: &TaskKey,
        state: TaskState,
        reason: Reason,
        message: &str,
        effects: &mut Effects,
    ) {
        if let Some(task) = self.tasks.get(key) {
            let agent_id = &self.config.agent_id;
            let status = agent_status(task, state, reason, message, agent_id, effects.now.unix);
            self.store(key, status, effects);
        }
    }

    /// Asks an executor to end, and its tasks with it.
    pub(crate) fn shut_down(&mut self, key: &ExecutorKey, effects: &mut Effects) {
        let default = self.config.timing.executor_shutdown_grace;
        let Some(executor) = self.executor_mut(key) else { return };
        let grace = executor.record.grace(default);
        resume(executor, effects);
        match executor.phase {
            Phase::Running { connection } => {
                executor.phase = Phase::Stopping { connection, force_at: effects.after(grace) };
                if let Some(connection) = connection {
                    let shutdown = Event { r#type: Some(EventType::Shutdown as i32), ..Event::default() };
                    effects.tell_executor(connection, shutdown);
                }
            }
            // It was told nothing yet: nothing to save.
            Phase::Starting { .. } => force(executor, effects),
            Phase::Recovered { .. } => {
                executor.phase = Phase::Stopping { connection: None, force_at: effects.after(grace) };
            }
            Phase::Stopping { .. } | Phase::Ended { .. } => {}
        }
    }

    /// Ends an executor by force, for a cause that its tasks' ends tell.
    pub(super) fn destroy(&mut self, container_id: &str, cause: Cause, effects: &mut Effects) {
        if let Some(executor) = self.executors.get_mut(container_id)
            && !executor.is_ended()
        {
            executor.cause.get_or_insert(cause);
            force(executor, effects);
        }
    }

    /// Ends an executor that was started for tasks that are all over before they reached it.
    pub(super) fn stop_if_idle(&mut self, key: &ExecutorKey, effects: &mut Effects) {
        let starting = self.executor(key).is_some_and(|one| matches!(one.phase, Phase::Starting { .. }));
        if starting && self.living_tasks(key).is_empty() {
            self.shut_down(key, effects);
        }
    }

    pub(crate) fn stop_all(&mut self, effects: &mut Effects) {
        let keys: Vec<ExecutorKey> = self.executors().map(Executor::key).collect();
        for key in keys {
            self.shut_down(&key, effects);
        }
    }

    /// Removes a framework: its executors end, and nobody hears of it.
    pub(crate) fn remove_framework(&mut self, framework_id: &FrameworkId, effects: &mut Effects) {
        let own = |executor: &&mut Executor| executor.record.framework_id == *framework_id;
        for executor in self.executors.values_mut().filter(own) {
            executor.orphan = true;
        }
        let keys: Vec<ExecutorKey> = self.executors().map(Executor::key).collect();
        for key in keys.iter().filter(|key| key.framework_id == *framework_id) {
            self.shut_down(key, effects);
        }
        self.operations.forget(framework_id, effects);
        self.forget_tasks(framework_id, effects);
    }

    /// Forgets the tasks of a removed framework, except those that still use resources.
    fn forget_tasks(&mut self, framework_id: &FrameworkId, effects: &mut Effects) {
        let over = |(key, task): &(&TaskKey, &Task)| key.0 == *framework_id && task.state().is_terminal();
        let over: Vec<TaskKey> = self.tasks.iter().filter(over).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.tasks.remove(&key);
            effects.delete(task_key(&key.0, &key.1));
        }
        let alive = self.executors().any(|one| one.record.framework_id == *framework_id);
        if !alive {
            self.frameworks.remove(framework_id);
        }
    }

    /// An executor's last task is acknowledged: if it has ended, its sandbox may go.
    pub(super) fn stop_if_unused(&mut self, key: &ExecutorKey, effects: &mut Effects) {
        let ended: Vec<String> = self
            .executors
            .ended(key)
            .filter(|(_, executor)| match executor.phase {
                Phase::Ended { remove_at } => effects.is_past(remove_at),
                _ => false,
            })
            .map(|(id, _)| id.to_owned())
            .collect();
        for container_id in ended {
            self.remove_sandbox(&container_id, effects);
        }
    }

    /// Removes an ended executor's sandbox, unless a status of one of its tasks is unacknowledged. Says whether it did.
    pub(super) fn remove_sandbox(&mut self, container_id: &str, effects: &mut Effects) -> bool {
        let Some(executor) = self.executors.get(container_id) else { return false };
        let key = executor.key();
        let live_again = self.executor(&key).is_some();
        if !live_again && self.tasks.has(&key) {
            return false;
        }
        if let Some(executor) = self.executors.remove(container_id) {
            effects.delete(executor_key(container_id));
            effects.emit(Output::RemoveSandbox(Box::new(executor.record)));
        }
        true
    }
}

/// Lets the process of an executor that is to end something go on, if it was stopped.
pub(super) fn resume(executor: &Executor, effects: &mut Effects) {
    if let (false, Some(process)) = (executor.is_ended(), executor.record.process) {
        effects.emit(Output::Resume(process));
    }
}

/// Kills the process, now if it is known, else once it is.
fn force(executor: &mut Executor, effects: &mut Effects) {
    if let Some(process) = executor.record.process {
        effects.emit(Output::Kill(process));
    }
    executor.phase =
        Phase::Stopping { connection: executor.connection(), force_at: effects.after(super::deadlines::FORCE_AGAIN) };
}

/// A status of `wait(2)` in words.
fn exit_message(status: Option<i32>) -> String {
    match status {
        None => "Executor terminated".to_owned(),
        Some(status) if status & 0x7f == 0 => {
            format!("Executor exited with status {}", (status >> 8) & 0xff)
        }
        Some(status) => format!("Executor was terminated by signal {}", status & 0x7f),
    }
}
