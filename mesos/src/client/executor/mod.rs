//! An executor: its subscription at the agent that started it, and the updates that it answers for.
//!
//! Made for small processes: plain HTTP/1 without a pool, one connection kept, and no timer while nothing happens.

mod driver;
mod environment;
mod transport;
mod unacknowledged;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

pub use environment::{EnvironmentError, ExecutorEnvironment};
pub use unacknowledged::Unacknowledged;

use crate::event::ExecutorEvent;
use crate::v1::{AgentInfo, ExecutorId, ExecutorInfo, FrameworkInfo, Source, TaskStatus};
use driver::{Command, Driver};

/// Events and commands that may wait.
const QUEUE: usize = 32;

/// What the client tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Subscribed at the agent.
    Connected {
        /// The executor itself.
        executor: Box<ExecutorInfo>,
        /// Whose executor it is.
        framework: Box<FrameworkInfo>,
        /// Where it runs.
        agent: Box<AgentInfo>,
    },
    /// The subscription was lost, or an attempt failed. The client goes on trying; tasks go on running.
    Disconnected {
        /// For people.
        reason: String,
    },
    /// From the agent; never `Subscribed`, `Acknowledged` nor `Heartbeat`. After an `Error` nothing follows.
    Received(ExecutorEvent),
    /// The agent will not have the executor back: end the tasks, then the process. Nothing follows.
    GivenUp {
        /// For people.
        reason: String,
    },
}

/// The client has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the executor's client has ended")]
pub struct Ended;

/// Tells the agent things. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    executor_id: ExecutorId,
    commands: mpsc::Sender<Command>,
    unacknowledged: watch::Receiver<usize>,
}

impl Handle {
    /// Tells a status of a task, and tells it again after every reconnection until the agent has stored it.
    ///
    /// The status gets a uuid, its source, the executor's id, and (where it has none) the time of now.
    ///
    /// # Errors
    /// [`Ended`]: nobody will hear of it.
    pub async fn update(&self, mut status: TaskStatus) -> Result<(), Ended> {
        status.uuid = Some(uuid::Uuid::new_v4().into_bytes().to_vec());
        status.source = Some(Source::Executor as i32);
        // The agent would not say it.
        status.executor_id = Some(self.executor_id.clone());
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        status.timestamp.get_or_insert_with(|| now().as_secs_f64());
        let command = Command::Update(Box::new(status));
        self.commands.send(command).await.map_err(|_| Ended)
    }

    /// Speaks to the scheduler; delivered at most once.
    ///
    /// # Errors
    /// [`Ended`]: nobody will hear of it.
    pub async fn message(&self, data: Vec<u8>) -> Result<(), Ended> {
        self.commands.send(Command::Message(data)).await.map_err(|_| Ended)
    }

    /// Waits until the agent has stored every update told so far, at most for `limit`. Says whether it has.
    pub async fn settled(&self, limit: Duration) -> bool {
        let mut unacknowledged = self.unacknowledged.clone();
        let settle = async {
            let (done, settled) = tokio::sync::oneshot::channel();
            // Through the queue, so that what was told before is counted.
            self.commands.send(Command::Settle(done)).await.ok()?;
            settled.await.ok()?;
            unacknowledged.wait_for(|count| *count == 0).await.ok().map(|_| ())
        };
        matches!(tokio::time::timeout(limit, settle).await, Ok(Some(())))
    }
}

/// The events of an [`ExecutorClient`], in order. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` once the client has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

/// Starts an executor's subscription.
#[derive(Debug)]
pub struct ExecutorClient;

impl ExecutorClient {
    /// Begins to subscribe, in a task of the current tokio runtime.
    #[must_use]
    pub fn start(environment: ExecutorEnvironment) -> (Handle, Events) {
        let (events, receiver) = mpsc::channel(QUEUE);
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (count, unacknowledged) = watch::channel(0);
        let executor_id = environment.caller.executor_id.clone();
        tokio::spawn(Driver::new(environment, inbox, events, count).run());
        let handle = Handle { executor_id, commands, unacknowledged };
        (handle, Events(receiver))
    }
}
