//! A process's background work, what it waits for, and its end.

use crate::Readiness;
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest that a process's work may take to end once it is asked to: requests that are under way among it. What would
/// wait for longer by its nature ends by itself when the token is cancelled.
pub const END_LIMIT: Duration = Duration::from_secs(20);
/// The longest that requests may take to be answered then: whatever else is to end needs a moment, too.
pub const ANSWERS_LIMIT: Duration = Duration::from_secs(END_LIMIT.as_secs() - 2);

/// Spawns tasks and ends them together. A task that panics ends the process's work: a service that lost a limb must not
/// pretend to live.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
    readiness: Readiness,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// No tasks yet, in a process that waits for what this says.
    pub fn with_readiness(readiness: Readiness) -> Self {
        Self { readiness, ..Self::default() }
    }

    /// What the work waits for.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Cancelled when the work shall end: tasks watch it wherever they wait.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Spawns a task; `name` is for the log.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.token.clone();
        self.tracker.spawn(async move {
            // A panic unwinds through this guard and ends everything.
            let guard = EndOnPanic { token, name };
            task.await;
            drop(guard);
        });
    }

    /// Resolves when the work shall end.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Asks every task to end and waits for them, for at most `limit`; false where some did not.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        self.token.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

struct EndOnPanic {
    token: CancellationToken,
    name: &'static str,
}

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "a task panicked; everything is ended");
            self.token.cancel();
        }
    }
}
