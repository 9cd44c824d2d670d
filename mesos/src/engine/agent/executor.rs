//! One life of an executor, as a machine of phases.

use std::time::Duration;

use super::task::plain;
use crate::engine::effects::{Connection, ExecutorKey};
use crate::engine::records::ExecutorRecord;
use crate::resources::Resources;
use crate::v1::{Reason, TaskState};

#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) record: ExecutorRecord,
    pub(crate) phase: Phase,
    /// Why the agent ended it; told with its tasks' ends.
    pub(crate) cause: Option<Cause>,
    /// Its framework is removed: nobody hears of it any more.
    pub(crate) orphan: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Its process is started and has not subscribed yet.
    Starting { give_up_at: Duration },
    /// An earlier engine started it; its process lives and has not subscribed again yet.
    Recovered { give_up_at: Duration },
    /// Subscribed before, and maybe now.
    Running { connection: Option<Connection> },
    /// Asked to end; at `force_at` its process is killed.
    Stopping { connection: Option<Connection>, force_at: Duration },
    /// Its process has ended. The sandbox is kept until then, once no status is unacknowledged.
    Ended { remove_at: Duration },
}

/// Why an executor was ended by the agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cause {
    pub(crate) state: TaskState,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Executor {
    pub(crate) fn key(&self) -> ExecutorKey {
        ExecutorKey {
            framework_id: self.record.framework_id.clone(),
            executor_id: self.record.info.executor_id.clone(),
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether tasks may be given to it.
    pub(crate) fn takes_tasks(&self) -> bool {
        match self.phase {
            Phase::Starting { .. } | Phase::Recovered { .. } | Phase::Running { .. } => true,
            Phase::Stopping { .. } | Phase::Ended { .. } => false,
        }
    }

    /// Where it listens now.
    pub(crate) fn connection(&self) -> Option<Connection> {
        match self.phase {
            Phase::Running { connection } | Phase::Stopping { connection, .. } => connection,
            Phase::Starting { .. } | Phase::Recovered { .. } | Phase::Ended { .. } => None,
        }
    }

    /// Its stream has ended.
    pub(crate) fn disconnected(&mut self) {
        if let Phase::Running { connection } | Phase::Stopping { connection, .. } = &mut self.phase {
            *connection = None;
        }
    }

    /// What the executor uses beside its tasks; one that has ended uses nothing.
    pub(crate) fn resources(&self) -> Resources {
        match self.is_ended() {
            true => Resources::new(),
            false => plain(&self.record.info.resources),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Starting { give_up_at } | Phase::Recovered { give_up_at } => Some(give_up_at),
            Phase::Running { .. } => None,
            Phase::Stopping { force_at, .. } => Some(force_at),
            Phase::Ended { remove_at } => Some(remove_at),
        }
    }
}
