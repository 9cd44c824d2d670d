//! The agent's half of the core: executors, tasks, statuses, and the machine's resources.
//!
//! It is told of calls and of what happens to processes, and answers with [`Effects`]. What the framework is to hear
//! goes up as [`Notice`]s.

mod api;
mod deadlines;
pub(crate) mod executor;
mod index;
mod lifecycle;
mod operations;
mod recovery;
pub(crate) mod task;

use std::collections::BTreeMap;

use executor::{Executor, Phase};
use index::{Executors, Tasks};
use task::Task;

use super::effects::{Config, Effects, ExecutorKey, Notice, Output, VolumeLink};
use super::pool::Pool;
use super::records::{ExecutorRecord, executor_key, task_key};
use crate::resources::Resources;
use crate::v1::{
    AgentInfo, ExecutorInfo, FrameworkId, FrameworkInfo, KillPolicy, Reason, TaskId, TaskInfo, TaskState,
    executor as api_v1,
};

const KILLED_DURING_LAUNCH: &str = "A kill task request was received before the task reached its executor";

/// Names a task: ids are a framework's own.
pub(crate) type TaskKey = (FrameworkId, TaskId);

#[derive(Debug)]
pub(crate) struct Agent {
    config: Config,
    pub(crate) pool: Pool,
    executors: Executors,
    tasks: Tasks,
    operations: operations::Statuses,
    /// What subscribing executors are told of their frameworks.
    frameworks: BTreeMap<FrameworkId, FrameworkInfo>,
}

impl Agent {
    pub(crate) fn new(config: Config, pool: Pool) -> Self {
        Agent {
            config,
            pool,
            executors: Executors::default(),
            tasks: Tasks::default(),
            operations: operations::Statuses::default(),
            frameworks: BTreeMap::new(),
        }
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values()
    }

    pub(crate) fn task(&self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<&Task> {
        self.tasks.get(&(framework_id.clone(), task_id.clone()))
    }

    /// The executors whose processes have not ended.
    pub(crate) fn executors(&self) -> impl Iterator<Item = &Executor> {
        self.executors.iter().map(|(_, executor)| executor).filter(|executor| !executor.is_ended())
    }

    /// The living executor of that name.
    pub(crate) fn executor(&self, key: &ExecutorKey) -> Option<&Executor> {
        self.executors.living(key)
    }

    fn executor_mut(&mut self, key: &ExecutorKey) -> Option<&mut Executor> {
        self.executors.living_mut(key)
    }

    /// The framework has subscribed, or changed.
    pub(crate) fn framework_known(&mut self, id: &FrameworkId, info: &FrameworkInfo) {
        self.frameworks.insert(id.clone(), info.clone());
    }

    /// What the framework uses.
    pub(crate) fn used_by(&self, framework_id: &FrameworkId) -> Resources {
        let mut used = Resources::new();
        for task in self.tasks.values().filter(|task| task.framework_id() == framework_id) {
            used.add_all(&task.resources());
        }
        for executor in self.executors().filter(|one| one.record.framework_id == *framework_id) {
            used.add_all(&executor.resources());
        }
        used
    }

    /// Starts a task that the master has checked, with resources that were offered (and so are not free).
    pub(crate) fn launch(
        &mut self,
        framework: &FrameworkInfo,
        role: &str,
        info: TaskInfo,
        executor: ExecutorInfo,
        effects: &mut Effects,
    ) {
        let framework_id = framework.id.clone().unwrap_or_default();
        let key = ExecutorKey { framework_id: framework_id.clone(), executor_id: executor.executor_id.clone() };
        let task_id = info.task_id.clone();
        let task = Task::new(framework_id.clone(), key.executor_id.clone(), info);
        effects.put(task_key(&framework_id, &task_id), task.record());
        self.tasks.insert((framework_id.clone(), task_id.clone()), task);
        if self.executor(&key).is_none() {
            self.start_executor(framework, role, executor, effects);
        }
        self.deliver(&key, effects);
    }

    fn start_executor(&mut self, framework: &FrameworkInfo, role: &str, info: ExecutorInfo, effects: &mut Effects) {
        let container_id = uuid::Uuid::new_v4().to_string();
        let record = ExecutorRecord {
            framework_id: framework.id.clone().unwrap_or_default(),
            info,
            container_id: container_id.clone(),
            role: role.to_owned(),
            token: uuid::Uuid::new_v4().simple().to_string(),
            process: None,
            ended: false,
            checkpoint: framework.checkpoint(),
        };
        effects.put(executor_key(&container_id), &record);
        effects.emit(Output::Launch(Box::new(record.clone())));
        let give_up_at = effects.after(self.config.timing.executor_registration);
        let executor = Executor { record, phase: Phase::Starting { give_up_at }, cause: None, orphan: false };
        self.executors.insert(container_id, executor);
    }

    /// Sends the tasks that wait for their executor, if it listens; those that are to be killed end here.
    fn deliver(&mut self, key: &ExecutorKey, effects: &mut Effects) {
        let Some(executor) = self.executor(key) else { return };
        let Phase::Running { connection: Some(connection) } = executor.phase else { return };
        let container = executor.record.clone();
        let waiting = |task: &Task| !task.delivered && task.state() == TaskState::Staging;
        let waiting: Vec<TaskKey> = self.tasks.of(key).filter(|(_, task)| waiting(task)).map(|(key, _)| key).collect();
        for task_key in waiting {
            let Some(task) = self.tasks.get_mut(&task_key) else { continue };
            if task.kill().is_some() {
                let reason = Reason::TaskKilledDuringLaunch;
                self.end_task(&task_key, TaskState::Killed, reason, KILLED_DURING_LAUNCH, effects);
                continue;
            }
            task.delivered = true;
            let launch = api_v1::Launch { task: task.info().clone() };
            let event = api_v1::Event {
                r#type: Some(api_v1::EventType::Launch as i32),
                launch: Some(launch),
                ..api_v1::Event::default()
            };
            effects.emit(Output::Deliver {
                connection,
                container: Box::new(container.clone()),
                links: VolumeLink::all(&task.info().resources),
                event: Box::new(event),
            });
        }
    }

    /// Ends a task. Its executor does it, unless the task has not reached it.
    pub(crate) fn kill(&mut self, key: &TaskKey, policy: Option<KillPolicy>, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if task.state().is_terminal() {
            return;
        }
        let executor_key = executor_key_of(task);
        let never_told = !task.delivered && task.state() == TaskState::Staging;
        task.set_kill(policy);
        effects.put(task_key(&key.0, &key.1), task.record());
        let executor = self.executor(&executor_key);
        let starting = executor.is_none_or(|one| matches!(one.phase, Phase::Starting { .. }));
        if never_told && starting {
            let reason = Reason::TaskKilledDuringLaunch;
            self.end_task(key, TaskState::Killed, reason, KILLED_DURING_LAUNCH, effects);
            self.stop_if_idle(&executor_key, effects);
        } else {
            self.ask_to_kill(&executor_key, key, effects);
        }
    }

    /// Asks the executor, if it listens, to end a task that is to be killed.
    fn ask_to_kill(&self, executor: &ExecutorKey, key: &TaskKey, effects: &mut Effects) {
        let Some(executor) = self.executor(executor) else { return };
        lifecycle::resume(executor, effects);
        let listens = executor.connection();
        let kill = self.tasks.get(key).and_then(Task::kill);
        if let (Some(connection), Some(kill_policy)) = (listens, kill) {
            let event = api_v1::Event {
                r#type: Some(api_v1::EventType::Kill as i32),
                kill: Some(api_v1::Kill { task_id: key.1.clone(), kill_policy }),
                ..api_v1::Event::default()
            };
            effects.tell_executor(connection, event);
        }
    }

    /// Speaks to an executor, if it listens.
    pub(crate) fn message(&self, key: &ExecutorKey, data: Vec<u8>, effects: &mut Effects) {
        if let Some(connection) = self.executor(key).and_then(Executor::connection) {
            let event = api_v1::Event {
                r#type: Some(api_v1::EventType::Message as i32),
                message: Some(api_v1::MessageIn { data }),
                ..api_v1::Event::default()
            };
            effects.tell_executor(connection, event);
        }
    }

    /// The framework has stored a status.
    pub(crate) fn acknowledge(&mut self, key: &TaskKey, uuid: &[u8], effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        match task.acknowledge(uuid) {
            task::Acknowledged::Unexpected => {
                tracing::debug!(task = %key.1, "an acknowledgement is for another status");
            }
            task::Acknowledged::Next => {
                effects.put(task_key(&key.0, &key.1), task.record());
                self.tell_news(key, effects);
            }
            task::Acknowledged::Done => {
                let executor = executor_key_of(task);
                self.tasks.remove(key);
                effects.delete(task_key(&key.0, &key.1));
                self.stop_if_unused(&executor, effects);
            }
        }
    }

    /// Tells a task's first unacknowledged status, if it was never told.
    fn tell_news(&mut self, key: &TaskKey, effects: &mut Effects) {
        let retry = self.config.timing.status_retry;
        let Some(task) = self.tasks.get_mut(key).filter(|task| task.has_news()) else { return };
        if let Some(status) = task.tell(effects.now.elapsed, retry) {
            effects.notify(Notice::Update(key.0.clone(), Box::new(status)));
        }
    }

    /// Tells all that the framework has not acknowledged: it may have missed it.
    pub(crate) fn retell(&mut self, framework_id: &FrameworkId, effects: &mut Effects) {
        let retry = self.config.timing.status_retry;
        for (key, task) in self.tasks.iter_mut().filter(|(key, _)| key.0 == *framework_id) {
            if let Some(status) = task.tell(effects.now.elapsed, retry) {
                effects.notify(Notice::Update(key.0.clone(), Box::new(status)));
            }
        }
        self.operations.retell(framework_id, retry, effects);
    }

    /// The longest time that an executor may take to end.
    pub(crate) fn longest_grace(&self) -> std::time::Duration {
        let grace = |one: &Executor| Some(one.record.info.shutdown_grace_period?.duration());
        let longest = self.executors().filter_map(grace).max().unwrap_or_default();
        longest.max(self.config.timing.executor_shutdown_grace)
    }

    /// A stream's other side is gone.
    pub(crate) fn closed(&mut self, connection: super::effects::Connection) {
        let mut executors = self.executors.values_mut();
        if let Some(executor) = executors.find(|one| one.connection() == Some(connection)) {
            executor.disconnected();
        }
    }

    /// The agent as executors see it.
    pub(crate) fn info(&self) -> AgentInfo {
        AgentInfo {
            hostname: self.config.hostname.clone(),
            port: Some(i32::from(self.config.address.port())),
            resources: self.pool.total().to_vec(),
            attributes: self.config.attributes.clone(),
            id: Some(self.config.agent_id.clone()),
        }
    }
}

fn belongs(task: &Task, key: &ExecutorKey) -> bool {
    *task.framework_id() == key.framework_id && *task.executor_id() == key.executor_id
}

fn executor_key_of(task: &Task) -> ExecutorKey {
    ExecutorKey { framework_id: task.framework_id().clone(), executor_id: task.executor_id().clone() }
}
