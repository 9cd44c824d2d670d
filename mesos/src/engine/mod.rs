//! A Mesos master and agent for one machine, in this process, behind Mesos's own HTTP API.
//!
//! `core` decides and does nothing; the shell stores what it wants stored, then does what it wants done. Executors are
//! child processes that outlive the engine: one that is started again on the same work directory and address finds
//! them, even after `kill -9`.
//!
//! Not here, since nobody needs it: the JSON form of the API, command tasks, Mesos's default executor, containers,
//! URIs, task groups, and switching users (executors run as the engine's user).

mod agent;
mod backlog;
mod checkpoint;
mod core;
mod effects;
mod files;
mod groups;
mod http;
mod ids;
mod launcher;
mod machine;
mod master;
mod opening;
mod operations;
mod pool;
mod process;
mod records;
mod remains;
mod secret;
mod shell;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use checkpoint::CheckpointError;

use crate::v1::{Attribute, Resource};
use shell::{Message, Shell};

/// What an engine is to be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes any. Meant for loopback: the API has no encryption.
    pub listen: SocketAddr,
    /// State, sandboxes and volumes. Made if it is not there.
    pub work_dir: PathBuf,
    /// What offers call this machine.
    pub hostname: String,
    /// What offers say of this machine.
    pub attributes: Vec<Attribute>,
    /// What there is to be offered; `None` for what is found on the machine.
    pub resources: Option<Vec<Resource>>,
    /// The ports to be offered where `resources` does not say: first and last of each range.
    pub ports: Vec<(u64, u64)>,
    /// Where whole disks are mounted, which are offered each in one piece, beside `resources`.
    pub mounted_disks: Vec<PathBuf>,
    /// For every executor, beside what its command says.
    pub executor_environment: Vec<(String, String)>,
    /// Principal and secret that schedulers and whoever asks for the state must give (HTTP Basic); `None` to ask for
    /// none, which lets every process of the machine start programs as the engine's user. Executors prove themselves by
    /// a token each in any case.
    pub credential: Option<(String, String)>,
    /// How long things take and may take.
    pub timing: Timing,
}

impl Settings {
    /// An engine on loopback with the usual timing.
    #[must_use]
    pub fn new(listen: SocketAddr, work_dir: impl Into<PathBuf>) -> Self {
        Settings {
            listen,
            work_dir: work_dir.into(),
            hostname: listen.ip().to_string(),
            attributes: Vec::new(),
            resources: None,
            ports: vec![machine::PORTS],
            mounted_disks: Vec::new(),
            executor_environment: Vec::new(),
            credential: None,
            timing: Timing::default(),
        }
    }
}

/// How long things take and may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats to a scheduler.
    pub heartbeat: Duration,
    /// Until a status that is not acknowledged is told again; doubled each time, up to ten minutes.
    pub status_retry: Duration,
    /// Until an offer that is neither used nor declined is rescinded; `None` for never.
    pub offer_timeout: Option<Duration>,
    /// For a framework to come back after the engine's start, if its own failover timeout is shorter.
    pub recovered_framework: Duration,
    /// From an executor's start to its subscription.
    pub executor_registration: Duration,
    /// From the engine's start until an executor of before has subscribed again.
    pub executor_reregistration: Duration,
    /// For executors that do not say how long they need to end.
    pub executor_shutdown_grace: Duration,
    /// How long executors wait for the engine to come back, before they end.
    pub executor_recovery: Duration,
    /// How long the sandbox of an executor that has ended is kept; longer while a status is unacknowledged.
    pub sandbox_retention: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_secs(15),
            status_retry: Duration::from_secs(10),
            offer_timeout: None,
            recovered_framework: Duration::from_secs(75),
            executor_registration: Duration::from_secs(60),
            executor_reregistration: Duration::from_secs(15),
            executor_shutdown_grace: Duration::from_secs(5),
            executor_recovery: Duration::from_secs(15 * 60),
            sandbox_retention: Duration::from_secs(60),
        }
    }
}

/// Why an engine cannot be started, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address cannot be listened at.
    #[error("cannot listen at {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The work directory cannot be used.
    #[error("the work directory {0} cannot be used")]
    WorkDir(PathBuf, #[source] io::Error),
    /// What was named is no whole disk.
    #[error("{0} cannot be offered as a whole disk")]
    Disk(PathBuf, #[source] io::Error),
    /// Another engine works there.
    #[error("another engine uses the work directory {0}")]
    InUse(PathBuf),
    /// The stored state cannot be opened.
    #[error("the stored state cannot be opened")]
    Checkpoint(#[from] CheckpointError),
    /// The stored state is of a kind that this version does not know.
    #[error("the stored state cannot be understood")]
    Record(#[from] prost::DecodeError),
}

/// What becomes of the executors when an engine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// They live on, and wait for the next engine.
    KeepExecutors,
    /// They are asked to end, and after their grace period made to.
    StopExecutors,
}

/// A running engine. Dropped, it ends as by [`Shutdown::KeepExecutors`].
#[derive(Debug)]
pub struct Engine {
    address: SocketAddr,
    agent_id: String,
    messages: tokio::sync::mpsc::Sender<Message>,
    ended: watch::Receiver<bool>,
    server: tokio::task::JoinHandle<()>,
}

impl Engine {
    /// Starts an engine in the current tokio runtime. When this returns, it listens and knows what it knew before.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn start(settings: Settings) -> Result<Engine, EngineError> {
        let listener = TcpListener::bind(settings.listen).await;
        let listener = listener.map_err(|error| EngineError::Listen(settings.listen, error))?;
        let address = listener.local_addr();
        let address = address.map_err(|error| EngineError::Listen(settings.listen, error))?;
        let credential = settings.credential.clone();
        let (hostname, work_dir) = (settings.hostname.clone(), settings.work_dir.clone());
        let opening = tokio::task::spawn_blocking(move || Shell::open(&settings, address));
        let opened = opening.await.map_err(|error| EngineError::WorkDir(work_dir, io::Error::other(error)))?;
        let (shell, first) = opened?;
        let agent_id = shell.agent_id().to_string();
        let messages = shell.messages();
        let (done, ended) = watch::channel(false);
        tokio::spawn(async move {
            shell.run(first).await;
            done.send_replace(true);
        });
        let gate = http::Gate::new(messages.clone(), address, hostname, credential);
        let server = tokio::spawn(http::serve(listener, gate));
        Ok(Engine { address, agent_id, messages, ended, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The one agent, the same after every start on this work directory.
    #[must_use]
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// Waits until the engine has ended: after [`shutdown`](Self::shutdown), or when it cannot store its state any more.
    pub async fn ended(&self) {
        // An error says that the task is gone, which is an end too.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Ends the engine. With [`Shutdown::StopExecutors`] this takes as long as the executors' grace periods.
    pub async fn shutdown(mut self, shutdown: Shutdown) {
        // An error says that it has ended already.
        let _ = self.messages.send(Message::Shutdown(shutdown)).await;
        self.ended().await;
        self.server.abort();
        // Only then the address is free; that the task was aborted is no news.
        let _ = (&mut self.server).await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.server.abort();
        // Where the queue is full the engine is busy, and ends with the runtime.
        let _ = self.messages.try_send(Message::Shutdown(Shutdown::KeepExecutors));
    }
}
