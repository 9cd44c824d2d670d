//! Calls of an executor.

use crate::v1::executor::{Call, CallType, MessageOut, Subscribe, Update};
use crate::v1::{ExecutorId, FrameworkId, TaskInfo, TaskStatus};

/// Who calls; every call of an executor names both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The executor.
    pub executor_id: ExecutorId,
    /// Whose executor it is.
    pub framework_id: FrameworkId,
}

impl Caller {
    fn call(&self, r#type: CallType) -> Call {
        Call {
            executor_id: self.executor_id.clone(),
            framework_id: self.framework_id.clone(),
            r#type: Some(r#type as i32),
            ..Call::default()
        }
    }

    /// Subscribes, and says what the agent has not acknowledged yet.
    #[must_use]
    pub fn subscribe(&self, tasks: Vec<TaskInfo>, updates: Vec<TaskStatus>) -> Call {
        let updates = updates.into_iter().map(|status| Update { status });
        Call {
            subscribe: Some(Subscribe { unacknowledged_tasks: tasks, unacknowledged_updates: updates.collect() }),
            ..self.call(CallType::Subscribe)
        }
    }

    /// Tells a task's status, which must have a uuid.
    #[must_use]
    pub fn update(&self, status: TaskStatus) -> Call {
        Call { update: Some(Update { status }), ..self.call(CallType::Update) }
    }

    /// Speaks to the scheduler; delivered at most once.
    #[must_use]
    pub fn message(&self, data: Vec<u8>) -> Call {
        Call { message: Some(MessageOut { data }), ..self.call(CallType::Message) }
    }

    /// Shows that the executor lives.
    #[must_use]
    pub fn heartbeat(&self) -> Call {
        self.call(CallType::Heartbeat)
    }
}
