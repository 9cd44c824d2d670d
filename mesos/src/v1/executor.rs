//! `mesos.v1.executor`: between an executor and its agent.

use super::ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use super::{AgentInfo, ExecutorInfo, FrameworkInfo, KillPolicy, TaskInfo, TaskStatus};

/// From the agent. [`crate::event::ExecutorEvent`] is the checked form.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    #[prost(enumeration = "EventType", optional, tag = "1")]
    pub r#type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub subscribed: Option<Subscribed>,
    #[prost(message, optional, tag = "3")]
    pub acknowledged: Option<Acknowledged>,
    #[prost(message, optional, tag = "4")]
    pub launch: Option<Launch>,
    #[prost(message, optional, tag = "8")]
    pub launch_group: Option<LaunchGroup>,
    #[prost(message, optional, tag = "5")]
    pub kill: Option<Kill>,
    #[prost(message, optional, tag = "6")]
    pub message: Option<MessageIn>,
    #[prost(message, optional, tag = "7")]
    pub error: Option<Error>,
}

named_enum!(
    /// See [`Event`].
    pub enum EventType {
        Unknown = 0 => "UNKNOWN",
        Subscribed = 1 => "SUBSCRIBED",
        Launch = 2 => "LAUNCH",
        LaunchGroup = 8 => "LAUNCH_GROUP",
        Kill = 3 => "KILL",
        Acknowledged = 4 => "ACKNOWLEDGED",
        Message = 5 => "MESSAGE",
        Error = 6 => "ERROR",
        Shutdown = 7 => "SHUTDOWN",
        Heartbeat = 9 => "HEARTBEAT",
    }
);

#[derive(Clone, PartialEq, prost::Message)]
pub struct Subscribed {
    #[prost(message, required, tag = "1")]
    pub executor_info: ExecutorInfo,
    #[prost(message, required, tag = "2")]
    pub framework_info: FrameworkInfo,
    #[prost(message, required, tag = "3")]
    pub agent_info: AgentInfo,
    #[prost(message, optional, tag = "4")]
    pub container_id: Option<ContainerId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Launch {
    #[prost(message, required, tag = "1")]
    pub task: TaskInfo,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LaunchGroup {
    #[prost(message, required, tag = "1")]
    pub task_group: TaskGroupInfo,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskGroupInfo {
    #[prost(message, repeated, tag = "1")]
    pub tasks: Vec<TaskInfo>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Kill {
    #[prost(message, required, tag = "1")]
    pub task_id: TaskId,
    #[prost(message, optional, tag = "2")]
    pub kill_policy: Option<KillPolicy>,
}

/// The agent has stored the update; it answers for it from now on.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Acknowledged {
    #[prost(message, required, tag = "1")]
    pub task_id: TaskId,
    #[prost(bytes = "vec", required, tag = "2")]
    pub uuid: Vec<u8>,
}

/// From the scheduler.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MessageIn {
    #[prost(bytes = "vec", required, tag = "1")]
    pub data: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Error {
    #[prost(string, required, tag = "1")]
    pub message: String,
}

/// To the agent. Built by [`crate::call::executor`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Call {
    #[prost(message, required, tag = "1")]
    pub executor_id: ExecutorId,
    #[prost(message, required, tag = "2")]
    pub framework_id: FrameworkId,
    #[prost(enumeration = "CallType", optional, tag = "3")]
    pub r#type: Option<i32>,
    #[prost(message, optional, tag = "4")]
    pub subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "5")]
    pub update: Option<Update>,
    #[prost(message, optional, tag = "6")]
    pub message: Option<MessageOut>,
}

named_enum!(
    /// See [`Call`].
    pub enum CallType {
        Unknown = 0 => "UNKNOWN",
        Subscribe = 1 => "SUBSCRIBE",
        Update = 2 => "UPDATE",
        Message = 3 => "MESSAGE",
        Heartbeat = 4 => "HEARTBEAT",
    }
);

/// What the agent may not know of, after it or the executor was away.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Subscribe {
    #[prost(message, repeated, tag = "1")]
    pub unacknowledged_tasks: Vec<TaskInfo>,
    #[prost(message, repeated, tag = "2")]
    pub unacknowledged_updates: Vec<Update>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Update {
    #[prost(message, required, tag = "1")]
    pub status: TaskStatus,
}

/// To the scheduler.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MessageOut {
    #[prost(bytes = "vec", required, tag = "2")]
    pub data: Vec<u8>,
}
