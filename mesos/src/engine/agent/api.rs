//! Calls of executors.

use super::executor::Phase;
use super::{Agent, belongs};
use crate::engine::effects::{Answer, Connection, Effects, ExecutorKey, Notice, Output, Refusal};
use crate::engine::records::task_key;
use crate::engine::secret::same;
use crate::v1::executor::{Acknowledged, Call, CallType, Event, EventType, Subscribed};
use crate::v1::{ContainerId, Source, TaskId, TaskInfo, TaskState, TaskStatus};
use crate::validate::Validate;

fn event(r#type: EventType) -> Event {
    Event { r#type: Some(r#type as i32), ..Event::default() }
}

impl Agent {
    /// The living executor that a call comes from.
    fn caller(&self, call: &Call, token: Option<&str>) -> Result<ExecutorKey, Refusal> {
        if !self.frameworks.contains_key(&call.framework_id) {
            return Err(Refusal::bad("Framework cannot be found"));
        }
        let key = ExecutorKey { framework_id: call.framework_id.clone(), executor_id: call.executor_id.clone() };
        let executor = self.executor(&key);
        let executor = executor.ok_or_else(|| Refusal::bad("Executor cannot be found"))?;
        match token.is_some_and(|token| same(token.as_bytes(), executor.record.token.as_bytes())) {
            true => Ok(key),
            false => Err(Refusal::with_status(401, "The executor's token is wrong")),
        }
    }

    pub(crate) fn subscribe(
        &mut self,
        connection: Connection,
        call: Call,
        token: Option<&str>,
        effects: &mut Effects,
    ) -> Answer {
        let key = self.caller(&call, token)?;
        let subscribe = call.subscribe;
        let subscribe = subscribe.ok_or_else(|| Refusal::bad("Expecting 'subscribe' to be present"))?;
        let subscribed = self.attach(&key, connection, effects);
        effects.tell_executor(connection, subscribed);
        for update in subscribe.unacknowledged_updates {
            self.update(&key, update.status, effects)?;
        }
        self.note_arrived(&key, &subscribe.unacknowledged_tasks);
        if let Some(Phase::Stopping { .. }) = self.executor(&key).map(|one| one.phase) {
            effects.tell_executor(connection, event(EventType::Shutdown));
        } else {
            self.deliver(&key, effects);
        }
        let killed = |task: &super::Task| task.kill().is_some() && !task.state().is_terminal();
        for (task_key, _) in self.tasks.of(&key).filter(|(_, task)| killed(task)) {
            self.ask_to_kill(&key, &task_key, effects);
        }
        Ok(())
    }

    /// Makes the stream the executor's, and writes its first event.
    fn attach(&mut self, key: &ExecutorKey, connection: Connection, effects: &mut Effects) -> Event {
        let agent_info = self.info();
        let framework_info = self.frameworks.get(&key.framework_id).cloned();
        let Some(executor) = self.executor_mut(key) else { return event(EventType::Error) };
        if let Some(former) = executor.connection() {
            effects.emit(Output::Close(former));
        }
        executor.phase = match executor.phase {
            Phase::Stopping { force_at, .. } => Phase::Stopping { connection: Some(connection), force_at },
            _ => Phase::Running { connection: Some(connection) },
        };
        Event {
            subscribed: Some(Subscribed {
                executor_info: executor.record.info.clone(),
                framework_info: framework_info.unwrap_or_default(),
                agent_info,
                container_id: Some(ContainerId::from(executor.record.container_id.as_str())),
            }),
            ..event(EventType::Subscribed)
        }
    }

    /// Tasks that the executor has, whatever this agent remembers of telling it.
    fn note_arrived(&mut self, key: &ExecutorKey, arrived: &[TaskInfo]) {
        let tasks: Vec<super::TaskKey> = self.tasks.of(key).map(|(key, _)| key).collect();
        for task in tasks {
            let Some(task) = self.tasks.get_mut(&task) else { continue };
            task.delivered = arrived.iter().any(|one| one.task_id == task.info().task_id);
        }
    }

    pub(crate) fn executor_call(&mut self, call: Call, token: Option<&str>, effects: &mut Effects) -> Answer {
        let key = self.caller(&call, token)?;
        let subscribed = self
            .executor(&key)
            .is_some_and(|executor| matches!(executor.phase, Phase::Running { .. } | Phase::Stopping { .. }));
        if !subscribed {
            return Err(Refusal::with_status(403, "Executor is not subscribed"));
        }
        match call.r#type() {
            CallType::Update => {
                let update = call.update;
                let update = update.ok_or_else(|| Refusal::bad("Expecting 'update' to be present"))?;
                self.update(&key, update.status, effects)
            }
            CallType::Message => {
                let message = call.message;
                let message = message.ok_or_else(|| Refusal::bad("Expecting 'message' to be present"))?;
                effects.notify(Notice::Message {
                    framework_id: key.framework_id,
                    executor_id: key.executor_id,
                    data: message.data,
                });
                Ok(())
            }
            CallType::Heartbeat => Ok(()),
            CallType::Unknown | CallType::Subscribe => Err(Refusal::with_status(501, "Received 'UNKNOWN' call")),
        }
    }

    /// Stores a status of an executor, says so to it, and tells the framework.
    fn update(&mut self, key: &ExecutorKey, mut status: TaskStatus, effects: &mut Effects) -> Answer {
        check(&status)?;
        let uuid = status.uuid.clone().unwrap_or_default();
        let task_id = status.task_id.clone();
        status.agent_id = Some(self.config.agent_id.clone());
        let task_key = (key.framework_id.clone(), task_id.clone());
        let owned = self.tasks.get(&task_key).is_some_and(|task| belongs(task, key));
        if owned {
            self.store(&task_key, status, effects);
        }
        // Also for what is known already, and for tasks that are over: the executor is to forget it.
        let listens = self.executor(key).and_then(super::Executor::connection);
        if let Some(connection) = listens {
            let acknowledged = Acknowledged { task_id, uuid };
            effects.tell_executor(
                connection,
                Event { acknowledged: Some(acknowledged), ..event(EventType::Acknowledged) },
            );
        }
        Ok(())
    }

    /// Adds a status to its task's, if it is news, and tells it when it is its turn.
    pub(super) fn store(&mut self, key: &(crate::v1::FrameworkId, TaskId), status: TaskStatus, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let used = task.resources();
        if !task.update(status) {
            return;
        }
        effects.put(task_key(&key.0, &key.1), task.record());
        if task.state().is_terminal() {
            self.pool.give(&used);
            effects.notify(Notice::Freed);
        }
        self.tell_news(key, effects);
    }
}

/// What Mesos demands of an executor's status.
fn check(status: &TaskStatus) -> Answer {
    status.validate().map_err(|fault| Refusal::bad(fault.to_string()))?;
    let uuid = status.uuid.as_deref().unwrap_or(&[]);
    if uuid::Uuid::from_slice(uuid).is_err() {
        return Err(Refusal::bad("Expecting 'uuid' to be a valid UUID"));
    }
    if status.source.is_some() && status.source() != Source::Executor {
        return Err(Refusal::bad("Received Call from executor with a source that is not SOURCE_EXECUTOR"));
    }
    match status.state() {
        TaskState::Staging => Err(Refusal::bad("Received TASK_STAGING from an executor, which is not allowed")),
        _ => Ok(()),
    }
}
