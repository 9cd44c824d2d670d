//! What is to be seen of a node, as a Mesos status. Pure.

use crate::node::Observation;
use crate::node::lifecycle::End;
use bigdata_common::internal::NodeReport;
use bigdata_mesos::v1::{TaskId, TaskState, TaskStatus};

/// Whether there is something to tell beyond what was told last.
pub(super) fn is_new(told: Option<&Observation>, seen: &Observation) -> bool {
    told.is_none_or(|told| told.report != seen.report || told.end != seen.end || told.ready != seen.ready)
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
            let seen = Observation { ready, end, report: report.clone(), processes: None };
            let status = of(&task, &seen);
            assert_eq!((status.state, status.healthy), (state as i32, healthy), "{seen:?}");
            assert_eq!(status.message.as_deref(), Some("refused"));
            assert_eq!(serde_json::from_slice::<NodeReport>(&status.data.unwrap()).unwrap(), report);
        }
    }

    #[test]
    fn only_changes_are_told() {
        let seen = Observation::default();
        assert!(is_new(None, &seen));
        assert!(!is_new(Some(&seen), &seen));
        let ready = Observation { ready: true, ..Observation::default() };
        assert!(is_new(Some(&seen), &ready));
    }
}
