//! A task, and its statuses on their way to the framework: each is told until it is acknowledged, in order. Pure.

use std::time::Duration;

use crate::engine::records::{KillRecord, TaskRecord};
use crate::resources::Resources;
use crate::v1::{AgentId, ExecutorId, FrameworkId, KillPolicy, Source, TaskInfo, TaskState, TaskStatus};

/// How many acknowledged updates are remembered, to know a repetition.
const REMEMBERED: usize = 32;
/// The longest wait between two attempts to tell a status.
const LONGEST_RETRY: Duration = Duration::from_secs(600);

/// A task until its last status is acknowledged.
#[derive(Debug)]
pub(crate) struct Task {
    record: TaskRecord,
    /// Whether the executor was told to launch it.
    pub(crate) delivered: bool,
    /// When the first unacknowledged status is told again, and how long after that once more.
    retry: Option<(Duration, Duration)>,
}

/// What an acknowledgement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// It was not for the first unacknowledged status.
    Unexpected,
    /// The next status, if there is one, may be told.
    Next,
    /// It was the last: nobody needs the task any more.
    Done,
}

impl Task {
    pub(crate) fn new(framework_id: FrameworkId, executor_id: ExecutorId, info: TaskInfo) -> Self {
        Task::recovered(TaskRecord { framework_id, executor_id, info, ..TaskRecord::default() })
    }

    pub(crate) fn recovered(record: TaskRecord) -> Self {
        Task { record, delivered: false, retry: None }
    }

    pub(crate) fn record(&self) -> &TaskRecord {
        &self.record
    }

    pub(crate) fn info(&self) -> &TaskInfo {
        &self.record.info
    }

    pub(crate) fn framework_id(&self) -> &FrameworkId {
        &self.record.framework_id
    }

    pub(crate) fn executor_id(&self) -> &ExecutorId {
        &self.record.executor_id
    }

    /// The newest state, acknowledged or not.
    pub(crate) fn state(&self) -> TaskState {
        let latest = self.record.latest.as_ref();
        latest.map_or(TaskState::Staging, TaskStatus::state)
    }

    /// The newest status.
    pub(crate) fn latest(&self) -> Option<&TaskStatus> {
        self.record.latest.as_ref()
    }

    /// What the task uses; a task that has ended uses nothing.
    pub(crate) fn resources(&self) -> Resources {
        match self.state().is_terminal() {
            true => Resources::new(),
            false => plain(&self.record.info.resources),
        }
    }

    /// The kill that was asked for: `Some` with its policy.
    pub(crate) fn kill(&self) -> Option<Option<KillPolicy>> {
        self.record.kill.map(|kill| kill.policy)
    }

    pub(crate) fn set_kill(&mut self, policy: Option<KillPolicy>) {
        self.record.kill = Some(KillRecord { policy });
    }

    /// Adds a status that is new; one that is known, or that follows the task's end, is not. Says whether it was.
    pub(crate) fn update(&mut self, status: TaskStatus) -> bool {
        let known = |other: &TaskStatus| other.uuid == status.uuid;
        let acknowledged = self.record.acknowledged.iter().map(Vec::as_slice);
        if self.record.updates.iter().any(known)
            || acknowledged.clone().any(|uuid| Some(uuid) == status.uuid.as_deref())
            || self.state().is_terminal()
        {
            return false;
        }
        self.record.latest = Some(status.clone());
        self.record.updates.push(status);
        true
    }

    /// The status to be told now: the first unacknowledged one. It is told again after `first_retry`.
    pub(crate) fn tell(&mut self, now: Duration, first_retry: Duration) -> Option<TaskStatus> {
        let status = self.record.updates.first()?.clone();
        self.retry = Some((now + first_retry, first_retry));
        Some(status)
    }

    /// Whether a status waits that was never told.
    pub(crate) fn has_news(&self) -> bool {
        self.retry.is_none() && !self.record.updates.is_empty()
    }

    /// The status to be told again, if it is time.
    pub(crate) fn retell(&mut self, now: Duration) -> Option<TaskStatus> {
        let (at, interval) = self.retry.filter(|(at, _)| *at <= now)?;
        let interval = (interval * 2).min(LONGEST_RETRY);
        let status = self.record.updates.first()?.clone();
        self.retry = Some((at.max(now) + interval, interval));
        Some(status)
    }

    pub(crate) fn retry_at(&self) -> Option<Duration> {
        self.retry.map(|(at, _)| at)
    }

    pub(crate) fn acknowledge(&mut self, uuid: &[u8]) -> Acknowledged {
        let first = self.record.updates.first();
        if first.is_none_or(|first| first.uuid.as_deref() != Some(uuid)) {
            return Acknowledged::Unexpected;
        }
        let first = self.record.updates.remove(0);
        self.retry = None;
        if first.state().is_terminal() {
            return Acknowledged::Done;
        }
        self.record.acknowledged.push(uuid.to_vec());
        if self.record.acknowledged.len() > REMEMBERED {
            self.record.acknowledged.remove(0);
        }
        Acknowledged::Next
    }
}

/// Resources as the pool counts them: without a word on whom they are allocated to.
pub(crate) fn plain(resources: &[crate::v1::Resource]) -> Resources {
    Resources::from(resources).allocated_to(None)
}

/// A status that the agent itself writes; it is to be acknowledged.
pub(crate) fn agent_status(
    task: &Task,
    state: TaskState,
    reason: crate::v1::Reason,
    message: &str,
    agent_id: &AgentId,
    unix: Duration,
) -> TaskStatus {
    TaskStatus {
        message: Some(message.to_owned()),
        source: Some(Source::Agent as i32),
        reason: Some(reason as i32),
        agent_id: Some(agent_id.clone()),
        executor_id: Some(task.executor_id().clone()),
        timestamp: Some(unix.as_secs_f64()),
        uuid: Some(uuid::Uuid::new_v4().into_bytes().to_vec()),
        ..TaskStatus::new(task.info().task_id.clone(), state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(10);

    fn status(state: TaskState, uuid: u8) -> TaskStatus {
        TaskStatus { uuid: Some(vec![uuid]), ..TaskStatus::new("t", state) }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn statuses_are_told_in_order_until_each_is_acknowledged() {
        let mut task = Task::new("f".into(), "e".into(), TaskInfo::default());
        assert!(task.update(status(TaskState::Running, 1)));
        assert!(task.update(status(TaskState::Finished, 2)));
        assert!(task.has_news());
        assert_eq!(task.tell(seconds(0), FIRST).unwrap().uuid, Some(vec![1]));
        assert!(!task.has_news());
        assert_eq!(task.retell(seconds(9)), None);
        assert_eq!(task.retell(seconds(10)).unwrap().uuid, Some(vec![1]));
        assert_eq!(task.retry_at(), Some(seconds(30)));
        assert_eq!(task.acknowledge(&[2]), Acknowledged::Unexpected);
        assert_eq!(task.acknowledge(&[1]), Acknowledged::Next);
        assert_eq!(task.acknowledge(&[1]), Acknowledged::Unexpected);
        assert_eq!(task.tell(seconds(40), FIRST).unwrap().uuid, Some(vec![2]));
        assert_eq!(task.acknowledge(&[2]), Acknowledged::Done);
    }

    #[test]
    fn a_repetition_and_what_follows_the_end_are_no_news() {
        let mut task = Task::new("f".into(), "e".into(), TaskInfo::default());
        assert!(task.update(status(TaskState::Running, 1)));
        assert!(!task.update(status(TaskState::Running, 1)));
        task.acknowledge(&[1]);
        assert!(!task.update(status(TaskState::Running, 1)));
        assert!(task.update(status(TaskState::Failed, 2)));
        assert!(!task.update(status(TaskState::Running, 3)));
        assert_eq!(task.state(), TaskState::Failed);
        assert!(task.resources().is_empty());
    }

    #[test]
    fn waits_between_attempts_double_up_to_ten_minutes() {
        let mut task = Task::new("f".into(), "e".into(), TaskInfo::default());
        task.update(status(TaskState::Running, 1));
        task.tell(seconds(0), FIRST);
        let waits: Vec<u64> = std::iter::repeat_with(|| {
            let now = task.retry_at().unwrap();
            task.retell(now).unwrap();
            (task.retry_at().unwrap() - now).as_secs()
        })
        .take(8)
        .collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 600, 600, 600]);
    }
}
