//! What is to be seen of a node, as a Mesos status. Pure.

use crate::node::Observation;
use crate::node::lifecycle::End;
use bigdata_common::internal::NodeReport;
use bigdata_mesos::v1::{TaskId, TaskState, TaskStatus};
use std::time::Duration;
use tokio::time::Instant;

/// What was told last.
pub(super) struct Told {
    pub(super) seen: Observation,
    pub(super) at: Instant,
}

impl Told {
    /// Whether there is something to tell beyond it: a change, or the same from a later check when `interval` is over.
    pub(super) fn is_outdated(&self, seen: &Observation, interval: Option<Duration>) -> bool {
        let told = &self.seen;
        let same_but_for_time = NodeReport { checked_at: told.report.checked_at, ..seen.report.clone() } == told.report;
        let is_due = interval.is_some_and(|interval| self.at.elapsed() >= interval);
        let checked_again = told.report.checked_at != seen.report.checked_at;
        !same_but_for_time || told.end != seen.end || told.ready != seen.ready || (is_due && checked_again)
    }
}

/// The status of a node.
pub(super) fn of(task: &TaskId, seen: &Observation) -> TaskStatus {
    let state = match &seen.end {
        Some(End::Killed) => TaskState::Killed,
        Some(End::Failed(_)) => TaskState::Failed,
        None if seen.ready => TaskState::Running,
        None => TaskState::Starting,
    };
    TaskStatus {
        message: seen.report.reason.clone(),
        healthy: seen.report.passing.filter(|_| state == TaskState::Running),
        data: serde_json::to_vec(&seen.report).ok(),
        ..TaskStatus::new(task.clone(), state)
    }
}

/// The status of a node that ended before there was anything to see of it.
pub(super) fn ended(task: &TaskId, end: &End) -> TaskStatus {
    let reason = match end {
        End::Killed => None,
        End::Failed(reason) => Some(reason.clone()),
    };
    let report = NodeReport { reason, ..NodeReport::default() };
    of(task, &Observation { end: Some(end.clone()), report, ..Observation::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::Timestamp;

    #[test]
    fn states_health_and_report() {
        let report =
            NodeReport { passing: Some(false), restarts: 2, reason: Some("refused".into()), ..NodeReport::default() };
        let task = TaskId::from("t");
        for (ready, end, state, healthy) in [
            (false, None, TaskState::Starting, None),
            (true, None, TaskState::Running, Some(false)),
            (true, Some(End::Killed), TaskState::Killed, None),
            (false, Some(End::Failed("refused".into())), TaskState::Failed, None),
        ] {
            let seen = Observation { ready, end, report: report.clone(), ..Observation::default() };
            let status = of(&task, &seen);
            assert_eq!((status.state, status.healthy), (state as i32, healthy), "{seen:?}");
            assert_eq!(status.message.as_deref(), Some("refused"));
            assert_eq!(serde_json::from_slice::<NodeReport>(&status.data.unwrap()).unwrap(), report);
        }
    }

    #[test]
    fn changes_are_told_at_once_and_the_same_from_time_to_time() {
        let told = Told { seen: Observation::default(), at: Instant::now() };
        let (at_once, later) = (Some(Duration::ZERO), Some(Duration::from_secs(3600)));
        let ready = Observation { ready: true, ..Observation::default() };
        assert!(told.is_outdated(&ready, later));
        let checked_at = Some(Timestamp::from_millis(1));
        let checked =
            Observation { report: NodeReport { checked_at, ..NodeReport::default() }, ..Observation::default() };
        assert!(told.is_outdated(&checked, at_once), "a fresh word is due");
        assert!(!told.is_outdated(&checked, later), "not yet");
        assert!(!told.is_outdated(&checked, None), "without health there is none to say again");
        assert!(!told.is_outdated(&Observation::default(), at_once), "an old word is no fresh one");
    }
}
