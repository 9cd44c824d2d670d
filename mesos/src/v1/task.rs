//! Tasks and what becomes of them.

use super::command::{CommandInfo, ExecutorInfo, KillPolicy};
use super::ids::{AgentId, ExecutorId, TaskId};
use super::resource::{Labels, Resource};
use super::{DurationInfo, TimeInfo};

#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskInfo {
    #[prost(string, required, tag = "1")]
    pub name: String,
    #[prost(message, required, tag = "2")]
    pub task_id: TaskId,
    #[prost(message, required, tag = "3")]
    pub agent_id: AgentId,
    #[prost(message, repeated, tag = "4")]
    pub resources: Vec<Resource>,
    #[prost(message, optional, tag = "5")]
    pub executor: Option<ExecutorInfo>,
    #[prost(message, optional, tag = "7")]
    pub command: Option<CommandInfo>,
    #[prost(message, optional, tag = "12")]
    pub kill_policy: Option<KillPolicy>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub data: Option<Vec<u8>>,
    #[prost(message, optional, tag = "10")]
    pub labels: Option<Labels>,
    #[prost(message, optional, tag = "14")]
    pub max_completion_time: Option<DurationInfo>,
}

named_enum!(
    /// What a task is doing.
    pub enum TaskState {
        Staging = 6 => "TASK_STAGING",
        Starting = 0 => "TASK_STARTING",
        Running = 1 => "TASK_RUNNING",
        Killing = 8 => "TASK_KILLING",
        Finished = 2 => "TASK_FINISHED",
        Failed = 3 => "TASK_FAILED",
        Killed = 4 => "TASK_KILLED",
        Error = 7 => "TASK_ERROR",
        Lost = 5 => "TASK_LOST",
        Dropped = 9 => "TASK_DROPPED",
        Unreachable = 10 => "TASK_UNREACHABLE",
        Gone = 11 => "TASK_GONE",
        GoneByOperator = 12 => "TASK_GONE_BY_OPERATOR",
        Unknown = 13 => "TASK_UNKNOWN",
    }
);

impl TaskState {
    /// Whether the task can never be anything else again. `Unreachable` and `Unknown` are not terminal.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        use TaskState::{
            Dropped, Error, Failed, Finished, Gone, GoneByOperator, Killed, Killing, Lost, Running, Staging, Starting,
            Unknown, Unreachable,
        };
        match self {
            Finished | Failed | Killed | Error | Lost | Dropped | Gone | GoneByOperator => true,
            Staging | Starting | Running | Killing | Unreachable | Unknown => false,
        }
    }
}

/// An observation of a task; one with a `uuid` is repeated until it is acknowledged.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskStatus {
    #[prost(message, required, tag = "1")]
    pub task_id: TaskId,
    #[prost(enumeration = "TaskState", required, tag = "2")]
    pub state: i32,
    #[prost(string, optional, tag = "4")]
    pub message: Option<String>,
    #[prost(enumeration = "Source", optional, tag = "9")]
    pub source: Option<i32>,
    #[prost(enumeration = "Reason", optional, tag = "10")]
    pub reason: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub data: Option<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    pub agent_id: Option<AgentId>,
    #[prost(message, optional, tag = "7")]
    pub executor_id: Option<ExecutorId>,
    /// Seconds since the Unix epoch.
    #[prost(double, optional, tag = "6")]
    pub timestamp: Option<f64>,
    #[prost(bytes = "vec", optional, tag = "11")]
    pub uuid: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "8")]
    pub healthy: Option<bool>,
    #[prost(message, optional, tag = "12")]
    pub labels: Option<Labels>,
    #[prost(message, optional, tag = "14")]
    pub unreachable_time: Option<TimeInfo>,
    #[prost(message, optional, tag = "16")]
    pub limitation: Option<TaskResourceLimitation>,
}

impl TaskStatus {
    /// A status of `task_id` that says no more than its state.
    #[must_use]
    pub fn new(task_id: impl Into<TaskId>, state: TaskState) -> Self {
        TaskStatus { task_id: task_id.into(), state: state as i32, ..TaskStatus::default() }
    }

    /// The reason, if one is given and known.
    #[must_use]
    pub fn known_reason(&self) -> Option<Reason> {
        self.reason.and_then(|number| Reason::try_from(number).ok())
    }
}

named_enum!(
    /// Who wrote a status.
    pub enum Source {
        Master = 0 => "SOURCE_MASTER",
        Agent = 1 => "SOURCE_AGENT",
        Executor = 2 => "SOURCE_EXECUTOR",
    }
);

named_enum!(
    /// Why a status was written.
    pub enum Reason {
        CommandExecutorFailed = 0 => "REASON_COMMAND_EXECUTOR_FAILED",
        ContainerLaunchFailed = 21 => "REASON_CONTAINER_LAUNCH_FAILED",
        ContainerLimitation = 19 => "REASON_CONTAINER_LIMITATION",
        ContainerLimitationDisk = 20 => "REASON_CONTAINER_LIMITATION_DISK",
        ContainerLimitationMemory = 8 => "REASON_CONTAINER_LIMITATION_MEMORY",
        ContainerPreempted = 17 => "REASON_CONTAINER_PREEMPTED",
        ContainerUpdateFailed = 22 => "REASON_CONTAINER_UPDATE_FAILED",
        MaxCompletionTimeReached = 33 => "REASON_MAX_COMPLETION_TIME_REACHED",
        ExecutorRegistrationTimeout = 23 => "REASON_EXECUTOR_REGISTRATION_TIMEOUT",
        ExecutorReregistrationTimeout = 24 => "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
        ExecutorTerminated = 1 => "REASON_EXECUTOR_TERMINATED",
        ExecutorUnregistered = 2 => "REASON_EXECUTOR_UNREGISTERED",
        FrameworkRemoved = 3 => "REASON_FRAMEWORK_REMOVED",
        GcError = 4 => "REASON_GC_ERROR",
        InvalidFrameworkId = 5 => "REASON_INVALID_FRAMEWORKID",
        InvalidOffers = 6 => "REASON_INVALID_OFFERS",
        IoSwitchboardExited = 27 => "REASON_IO_SWITCHBOARD_EXITED",
        MasterDisconnected = 7 => "REASON_MASTER_DISCONNECTED",
        Reconciliation = 9 => "REASON_RECONCILIATION",
        ResourcesUnknown = 18 => "REASON_RESOURCES_UNKNOWN",
        AgentDisconnected = 10 => "REASON_AGENT_DISCONNECTED",
        AgentDraining = 34 => "REASON_AGENT_DRAINING",
        AgentRemoved = 11 => "REASON_AGENT_REMOVED",
        AgentRemovedByOperator = 31 => "REASON_AGENT_REMOVED_BY_OPERATOR",
        AgentReregistered = 32 => "REASON_AGENT_REREGISTERED",
        AgentRestarted = 12 => "REASON_AGENT_RESTARTED",
        AgentUnknown = 13 => "REASON_AGENT_UNKNOWN",
        TaskKilledDuringLaunch = 30 => "REASON_TASK_KILLED_DURING_LAUNCH",
        TaskCheckStatusUpdated = 28 => "REASON_TASK_CHECK_STATUS_UPDATED",
        TaskHealthCheckStatusUpdated = 29 => "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
        TaskGroupInvalid = 25 => "REASON_TASK_GROUP_INVALID",
        TaskGroupUnauthorized = 26 => "REASON_TASK_GROUP_UNAUTHORIZED",
        TaskInvalid = 14 => "REASON_TASK_INVALID",
        TaskUnauthorized = 15 => "REASON_TASK_UNAUTHORIZED",
        TaskUnknown = 16 => "REASON_TASK_UNKNOWN",
    }
);

/// The resources whose limit ended a task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskResourceLimitation {
    #[prost(message, repeated, tag = "1")]
    pub resources: Vec<Resource>,
}
