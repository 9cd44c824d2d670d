//! What survives the engine's death: prost messages under text keys (see [`super::checkpoint`]).

use std::time::Duration;

use prost::Message;

use crate::v1::{
    ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, OperationStatus, Resource, TaskId, TaskInfo, TaskStatus,
};

/// A change of one key: a new value, or none any more.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Change {
    #[prost(string, required, tag = "1")]
    pub(crate) key: String,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) value: Option<Vec<u8>>,
}

impl Change {
    pub(crate) fn put(key: String, record: &impl Message) -> Self {
        Change { key, value: Some(record.encode_to_vec()) }
    }

    pub(crate) fn delete(key: String) -> Self {
        Change { key, value: None }
    }
}

/// The kinds of keys; the part before the first `/`.
pub(crate) mod kind {
    pub(crate) const IDENTITY: &str = "identity";
    pub(crate) const RESOURCES: &str = "resources";
    pub(crate) const FRAMEWORK: &str = "framework";
    pub(crate) const GONE: &str = "gone";
    pub(crate) const EXECUTOR: &str = "executor";
    pub(crate) const TASK: &str = "task";
    pub(crate) const OPERATION: &str = "operation";
    pub(crate) const DOOMED: &str = "doomed";
}

/// Who this master and this agent are, for ever.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct IdentityRecord {
    #[prost(string, required, tag = "1")]
    pub(crate) master_id: String,
    #[prost(string, required, tag = "2")]
    pub(crate) agent_id: String,
    #[prost(uint64, required, tag = "3")]
    pub(crate) frameworks_named: u64,
    #[prost(uint64, required, tag = "4")]
    pub(crate) starts: u64,
}

/// What operations have made of the agent's resources: dynamic reservations and volumes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResourcesRecord {
    #[prost(message, repeated, tag = "1")]
    pub(crate) converted: Vec<Resource>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FrameworkRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) info: FrameworkInfo,
    #[prost(string, repeated, tag = "2")]
    pub(crate) suppressed: Vec<String>,
}

/// A framework that is over; its id must not come back.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct GoneRecord {}

/// A volume whose data is being removed.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DoomedRecord {
    #[prost(string, required, tag = "1")]
    pub(crate) role: String,
    #[prost(string, required, tag = "2")]
    pub(crate) id: String,
}

/// One life of an executor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExecutorRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) framework_id: FrameworkId,
    #[prost(message, required, tag = "2")]
    pub(crate) info: ExecutorInfo,
    #[prost(string, required, tag = "3")]
    pub(crate) container_id: String,
    /// The role that its resources are allocated to.
    #[prost(string, required, tag = "4")]
    pub(crate) role: String,
    /// Proves at the agent's API that a caller is this executor.
    #[prost(string, required, tag = "5")]
    pub(crate) token: String,
    #[prost(message, optional, tag = "6")]
    pub(crate) process: Option<Process>,
    #[prost(bool, required, tag = "7")]
    pub(crate) ended: bool,
    /// Whether its framework lets executors outlive the engine.
    #[prost(bool, required, tag = "8")]
    pub(crate) checkpoint: bool,
}

impl ExecutorRecord {
    /// How long it may take to end.
    pub(crate) fn grace(&self, default: Duration) -> Duration {
        self.info.shutdown_grace_period.map_or(default, |grace| grace.duration())
    }
}

/// A process that cannot be taken for a later one with the same number.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Process {
    #[prost(int32, required, tag = "1")]
    pub(crate) pid: i32,
    /// Clock ticks since the machine's start.
    #[prost(uint64, required, tag = "2")]
    pub(crate) started: u64,
    /// Which start of the machine that was.
    #[prost(uint64, required, tag = "3")]
    pub(crate) boot: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) framework_id: FrameworkId,
    #[prost(message, required, tag = "2")]
    pub(crate) executor_id: ExecutorId,
    #[prost(message, required, tag = "3")]
    pub(crate) info: TaskInfo,
    /// The newest status, acknowledged or not; none while staging.
    #[prost(message, optional, tag = "4")]
    pub(crate) latest: Option<TaskStatus>,
    /// What the framework has not acknowledged, oldest first.
    #[prost(message, repeated, tag = "5")]
    pub(crate) updates: Vec<TaskStatus>,
    /// Uuids of the last few updates that it has acknowledged, so that an executor's repetition is known as one.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub(crate) acknowledged: Vec<Vec<u8>>,
    /// A kill was asked for, with the encoded policy, if any.
    #[prost(message, optional, tag = "7")]
    pub(crate) kill: Option<KillRecord>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct KillRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) policy: Option<crate::v1::KillPolicy>,
}

/// An operation's status that its framework has not acknowledged.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperationRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) framework_id: FrameworkId,
    #[prost(message, required, tag = "2")]
    pub(crate) status: OperationStatus,
}

pub(crate) fn framework_key(id: &FrameworkId) -> String {
    format!("{}/{id}", kind::FRAMEWORK)
}

pub(crate) fn gone_key(id: &FrameworkId) -> String {
    format!("{}/{id}", kind::GONE)
}

/// A container is one life of an executor; an executor's id may be used again.
pub(crate) fn executor_key(container_id: &str) -> String {
    format!("{}/{container_id}", kind::EXECUTOR)
}

pub(crate) fn task_key(framework: &FrameworkId, task: &TaskId) -> String {
    format!("{}/{framework}/{task}", kind::TASK)
}

pub(crate) fn operation_key(framework: &FrameworkId, operation: &str) -> String {
    format!("{}/{framework}/{operation}", kind::OPERATION)
}

pub(crate) fn doomed_key(role: &str, id: &str) -> String {
    format!("{}/{role}/{id}", kind::DOOMED)
}
