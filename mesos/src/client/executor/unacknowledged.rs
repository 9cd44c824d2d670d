//! What the agent has not stored yet. Pure.

use std::collections::VecDeque;

use crate::v1::{TaskId, TaskInfo, TaskStatus};

/// The tasks and updates that the agent must be told of when the executor subscribes again.
#[derive(Clone, Debug, Default)]
pub struct Unacknowledged {
    tasks: Vec<TaskInfo>,
    updates: VecDeque<TaskStatus>,
    /// How many of `updates`, from the front, were sent in this subscription.
    sent: usize,
}

impl Unacknowledged {
    /// A task arrived. A task that is known already is not new.
    pub fn launched(&mut self, task: &TaskInfo) {
        if !self.tasks.iter().any(|known| known.task_id == task.task_id) {
            self.tasks.push(task.clone());
        }
    }

    /// An update is to be told.
    pub fn updated(&mut self, status: TaskStatus) {
        self.updates.push_back(status);
    }

    /// The agent stored an update, and so knows that the task has arrived.
    pub fn acknowledged(&mut self, task_id: &TaskId, uuid: &[u8]) {
        let this = |status: &TaskStatus| status.task_id == *task_id && status.uuid.as_deref() == Some(uuid);
        if let Some(index) = self.updates.iter().position(this) {
            self.updates.remove(index);
            if index < self.sent {
                self.sent -= 1;
            }
        }
        self.tasks.retain(|task| task.task_id != *task_id);
    }

    /// What the next SUBSCRIBE carries.
    #[must_use]
    pub fn for_subscription(&self) -> (Vec<TaskInfo>, Vec<TaskStatus>) {
        (self.tasks.clone(), self.updates.iter().cloned().collect())
    }

    /// The agent took a SUBSCRIBE that carried the first `carried` updates.
    pub fn subscribed(&mut self, carried: usize) {
        self.sent = carried.min(self.updates.len());
    }

    /// The first update that was not sent in this subscription.
    #[must_use]
    pub fn next_unsent(&self) -> Option<&TaskStatus> {
        self.updates.get(self.sent)
    }

    /// The agent took that update; its acknowledgement follows.
    pub fn sent(&mut self) {
        self.sent = (self.sent + 1).min(self.updates.len());
    }

    /// How many updates the agent has not stored.
    #[must_use]
    pub fn updates(&self) -> usize {
        self.updates.len()
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::TaskState;

    use super::*;

    fn task(id: &str) -> TaskInfo {
        TaskInfo { task_id: id.into(), ..TaskInfo::default() }
    }

    fn update(id: &str, uuid: u8) -> TaskStatus {
        TaskStatus { uuid: Some(vec![uuid]), ..TaskStatus::new(id, TaskState::Running) }
    }

    fn uuids(statuses: &[TaskStatus]) -> Vec<u8> {
        statuses.iter().map(|status| status.uuid.as_ref().unwrap()[0]).collect()
    }

    #[test]
    fn a_task_is_carried_until_one_of_its_updates_is_stored() {
        let mut state = Unacknowledged::default();
        state.launched(&task("a"));
        state.launched(&task("a"));
        state.launched(&task("b"));
        state.updated(update("a", 1));
        state.updated(update("a", 2));
        let (tasks, updates) = state.for_subscription();
        assert_eq!((tasks.len(), uuids(&updates)), (2, vec![1, 2]));
        state.acknowledged(&"a".into(), &[1]);
        let (tasks, updates) = state.for_subscription();
        assert_eq!(tasks, [task("b")]);
        assert_eq!(uuids(&updates), [2]);
        state.acknowledged(&"a".into(), &[9]);
        assert_eq!(state.updates(), 1);
    }

    #[test]
    fn each_update_is_sent_once_per_subscription_and_in_order() {
        let mut state = Unacknowledged::default();
        state.updated(update("a", 1));
        state.updated(update("a", 2));
        assert_eq!(state.next_unsent(), Some(&update("a", 1)));
        state.sent();
        state.acknowledged(&"a".into(), &[1]);
        assert_eq!(state.next_unsent(), Some(&update("a", 2)));
        state.sent();
        assert_eq!(state.next_unsent(), None);
        // The agent restarts: what it had not stored goes with the new subscription, what came later follows.
        let carried = state.for_subscription().1.len();
        state.updated(update("a", 3));
        state.subscribed(carried);
        assert_eq!(state.next_unsent(), Some(&update("a", 3)));
    }
}
