//! Executors and tasks, found without going through all of them: a machine may have thousands.

use std::collections::{BTreeMap, BTreeSet};

use super::executor::Executor;
use super::task::Task;
use super::{TaskKey, executor_key_of};
use crate::engine::effects::ExecutorKey;
use crate::v1::TaskId;

/// Executors by container id; among those of one name at most one lives.
#[derive(Debug, Default)]
pub(super) struct Executors {
    all: BTreeMap<String, Executor>,
    living: BTreeMap<ExecutorKey, String>,
    ended: BTreeMap<ExecutorKey, BTreeSet<String>>,
}

impl Executors {
    pub(super) fn insert(&mut self, container_id: String, executor: Executor) {
        self.file(&container_id, &executor);
        self.all.insert(container_id, executor);
    }

    fn file(&mut self, container_id: &str, executor: &Executor) {
        let key = executor.key();
        if executor.is_ended() {
            if self.living.get(&key).is_some_and(|living| living == container_id) {
                self.living.remove(&key);
            }
            self.ended.entry(key).or_default().insert(container_id.to_owned());
        } else {
            self.living.insert(key, container_id.to_owned());
        }
    }

    /// Says that an executor's process has ended: another may have its name.
    pub(super) fn set_ended(&mut self, container_id: &str, remove_at: std::time::Duration) {
        if let Some(mut executor) = self.all.remove(container_id) {
            executor.phase = super::Phase::Ended { remove_at };
            self.insert(container_id.to_owned(), executor);
        }
    }

    pub(super) fn remove(&mut self, container_id: &str) -> Option<Executor> {
        let executor = self.all.remove(container_id)?;
        let key = executor.key();
        if self.living.get(&key).is_some_and(|living| living == container_id) {
            self.living.remove(&key);
        }
        if let Some(ended) = self.ended.get_mut(&key) {
            ended.remove(container_id);
            if ended.is_empty() {
                self.ended.remove(&key);
            }
        }
        Some(executor)
    }

    pub(super) fn get(&self, container_id: &str) -> Option<&Executor> {
        self.all.get(container_id)
    }

    pub(super) fn get_mut(&mut self, container_id: &str) -> Option<&mut Executor> {
        self.all.get_mut(container_id)
    }

    /// The living one of that name.
    pub(super) fn living(&self, key: &ExecutorKey) -> Option<&Executor> {
        self.all.get(self.living.get(key)?)
    }

    pub(super) fn living_mut(&mut self, key: &ExecutorKey) -> Option<&mut Executor> {
        self.all.get_mut(self.living.get(key)?)
    }

    /// The ended ones of that name, by container id.
    pub(super) fn ended(&self, key: &ExecutorKey) -> impl Iterator<Item = (&str, &Executor)> {
        let ids = self.ended.get(key).into_iter().flatten();
        ids.filter_map(|id| Some((id.as_str(), self.all.get(id)?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Executor)> {
        self.all.iter().map(|(id, executor)| (id.as_str(), executor))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Executor> {
        self.all.values_mut()
    }
}

/// Tasks by framework and id, and by executor.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    all: BTreeMap<TaskKey, Task>,
    of_executor: BTreeMap<ExecutorKey, BTreeSet<TaskId>>,
}

impl Tasks {
    pub(super) fn insert(&mut self, key: TaskKey, task: Task) {
        self.of_executor.entry(executor_key_of(&task)).or_default().insert(key.1.clone());
        self.all.insert(key, task);
    }

    pub(super) fn remove(&mut self, key: &TaskKey) {
        let Some(task) = self.all.remove(key) else { return };
        let executor = executor_key_of(&task);
        if let Some(tasks) = self.of_executor.get_mut(&executor) {
            tasks.remove(&key.1);
            if tasks.is_empty() {
                self.of_executor.remove(&executor);
            }
        }
    }

    pub(super) fn get(&self, key: &TaskKey) -> Option<&Task> {
        self.all.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &TaskKey) -> Option<&mut Task> {
        self.all.get_mut(key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Task> {
        self.all.values()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TaskKey, &Task)> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&TaskKey, &mut Task)> {
        self.all.iter_mut()
    }

    /// Whether an executor of that name has any.
    pub(super) fn has(&self, executor: &ExecutorKey) -> bool {
        self.of_executor.contains_key(executor)
    }

    /// The tasks of an executor of that name.
    pub(super) fn of(&self, executor: &ExecutorKey) -> impl Iterator<Item = (TaskKey, &Task)> {
        let framework = executor.framework_id.clone();
        let ids = self.of_executor.get(executor).into_iter().flatten();
        let keys = ids.map(move |id| (framework.clone(), id.clone()));
        keys.filter_map(|key| self.all.get(&key).map(|task| (key, task)))
    }
}
