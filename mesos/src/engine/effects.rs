//! The core's vocabulary: what it is told ([`Input`]), what it wants done ([`Output`]), and where both meet.

use std::time::Duration;

use super::records::{Change, ExecutorRecord, Process};
use crate::v1::{AgentId, ExecutorId, FrameworkId, OperationStatus, Resource, TaskStatus, executor, scheduler};

/// A subscription's stream; the shell numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Connection(pub(crate) u64);

/// An executor of a framework.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExecutorKey {
    pub(crate) framework_id: FrameworkId,
    pub(crate) executor_id: ExecutorId,
}

/// Both clocks, read once per step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Now {
    /// Since the engine's start. Deadlines are points of this clock.
    pub(crate) elapsed: Duration,
    /// Since the Unix epoch.
    pub(crate) unix: Duration,
}

/// What happens to the core.
#[derive(Debug)]
pub(crate) enum Input {
    /// A scheduler subscribes.
    Subscribe { connection: Connection, stream_id: String, call: Box<scheduler::Call> },
    /// Any other call of a scheduler.
    Call { stream_id: Option<String>, call: Box<scheduler::Call> },
    /// An executor subscribes.
    ExecutorSubscribe { connection: Connection, token: Option<String>, call: Box<executor::Call> },
    /// Any other call of an executor.
    ExecutorCall { token: Option<String>, call: Box<executor::Call> },
    /// A stream's other side is gone.
    Closed(Connection),
    /// An executor's process was started.
    Started { container_id: String, process: Process },
    /// An executor's process could not be started.
    LaunchFailed { container_id: String, reason: String },
    /// A task could not be given its volumes.
    VolumeFailed { container_id: String, reason: String },
    /// An executor's process has ended; the status as `wait(2)` gives it, where it is known.
    Ended { container_id: String, status: Option<i32> },
    /// A volume's data is removed.
    VolumeRemoved { role: String, id: String },
    /// End all executors, gracefully.
    StopExecutors,
    /// A deadline has passed.
    Tick,
}

/// A persistent volume and where its task wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeLink {
    pub(crate) role: String,
    pub(crate) id: String,
    pub(crate) container_path: String,
    /// Where the whole disk is mounted that the volume is.
    pub(crate) root: Option<String>,
}

impl VolumeLink {
    /// The volumes among `resources`.
    pub(crate) fn all(resources: &[Resource]) -> Vec<VolumeLink> {
        let link = |resource: &Resource| {
            Some(VolumeLink {
                role: resource.reserved_role()?.to_owned(),
                id: resource.persistence_id()?.to_owned(),
                container_path: resource.container_path()?.to_owned(),
                root: resource.mount_root().map(str::to_owned),
            })
        };
        resources.iter().filter_map(link).collect()
    }
}

/// What the shell is to do, in order, once the step's changes are durable.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    ToScheduler(Connection, Box<scheduler::Event>),
    ToExecutor(Connection, Box<executor::Event>),
    /// Make the volumes appear in the sandbox, then send.
    Deliver {
        connection: Connection,
        container: Box<ExecutorRecord>,
        links: Vec<VolumeLink>,
        event: Box<executor::Event>,
    },
    /// End the stream, after what was sent before.
    Close(Connection),
    /// Start an executor's process, then say `Started` or `LaunchFailed`.
    Launch(Box<ExecutorRecord>),
    /// Say `Ended` when the process, which an earlier engine started, has ended.
    Watch {
        container_id: String,
        process: Process,
        /// How long what it leaves behind may go on.
        grace: Duration,
    },
    /// Let the process and its session go on if somebody has stopped it: it is to hear that it must end.
    Resume(Process),
    /// End the process and its session by force.
    Kill(Process),
    CreateVolume {
        role: String,
        id: String,
        root: Option<String>,
    },
    /// Remove the data, then say `VolumeRemoved`.
    RemoveVolume {
        role: String,
        id: String,
    },
    RemoveSandbox(Box<ExecutorRecord>),
}

/// What the agent tells the master.
#[derive(Debug)]
pub(crate) enum Notice {
    Update(FrameworkId, Box<TaskStatus>),
    OperationUpdate(FrameworkId, Box<OperationStatus>),
    Message {
        framework_id: FrameworkId,
        executor_id: ExecutorId,
        data: Vec<u8>,
    },
    ExecutorEnded {
        framework_id: FrameworkId,
        executor_id: ExecutorId,
        status: Option<i32>,
    },
    /// Resources became free.
    Freed,
}

/// Collects what a step brings about.
#[derive(Debug)]
pub(crate) struct Effects {
    pub(crate) now: Now,
    pub(crate) changes: Vec<Change>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) notices: Vec<Notice>,
}

impl Effects {
    pub(crate) fn new(now: Now) -> Self {
        Effects { now, changes: Vec::new(), outputs: Vec::new(), notices: Vec::new() }
    }

    /// `after` from now.
    pub(crate) fn after(&self, after: Duration) -> Duration {
        self.now.elapsed.saturating_add(after)
    }

    pub(crate) fn is_past(&self, deadline: Duration) -> bool {
        deadline <= self.now.elapsed
    }

    pub(crate) fn put(&mut self, key: String, record: &impl prost::Message) {
        self.changes.push(Change::put(key, record));
    }

    pub(crate) fn delete(&mut self, key: String) {
        self.changes.push(Change::delete(key));
    }

    pub(crate) fn emit(&mut self, output: Output) {
        self.outputs.push(output);
    }

    pub(crate) fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    pub(crate) fn tell_scheduler(&mut self, connection: Connection, event: scheduler::Event) {
        self.emit(Output::ToScheduler(connection, Box::new(event)));
    }

    pub(crate) fn tell_executor(&mut self, connection: Connection, event: executor::Event) {
        self.emit(Output::ToExecutor(connection, Box::new(event)));
    }
}

/// A call that was not taken: an HTTP status and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Refusal { status: 400, reason: reason.into() }
    }

    pub(crate) fn with_status(status: u16, reason: impl Into<String>) -> Self {
        Refusal { status, reason: reason.into() }
    }
}

/// What a caller hears.
pub(crate) type Answer = Result<(), Refusal>;

/// What stays the same while an engine runs.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) agent_id: AgentId,
    pub(crate) master_id: String,
    pub(crate) hostname: String,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) attributes: Vec<crate::v1::Attribute>,
    /// Whom schedulers have proved to be, where they are asked.
    pub(crate) principal: Option<String>,
    pub(crate) timing: super::Timing,
}
