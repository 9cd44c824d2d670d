//! The end of a container, waited for through restarts of the engine: that a container does not run is known only when the
//! engine says so.

use super::engine::Engine;
use super::found::{Found, inspect, remove};
use super::workload::ENGINE_PAUSE;
use bigdata_sandbox::Process;
use bollard::query_parameters::WaitContainerOptionsBuilder;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long one question for the end may last.
const WAIT_LIMIT: Duration = Duration::from_mins(10);
/// How often the container's process is looked at meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// A container that runs.
pub(super) struct Watch {
    engine: Engine,
    id: String,
    /// Its first process, where that is seen from here: an executor may have process ids of its own.
    pid: Option<i32>,
}

impl Watch {
    /// Of a container that was looked at just now.
    pub(super) fn new(engine: &Engine, found: &Found) -> Self {
        Self { engine: engine.clone(), id: found.id.clone(), pid: first_process(found) }
    }

    /// Waits for its end, and tells what is left of it; None: nothing, it was removed.
    pub(super) async fn ended(mut self) -> Option<Found> {
        let mut is_lost = false;
        loop {
            self.answered().await;
            match inspect(&self.engine, &self.id).await {
                Ok(Some(found)) if found.is_running && self.is_gone() && found.pid == self.pid => {
                    // At the second look it is no end that the engine is just about to notice.
                    if std::mem::replace(&mut is_lost, true) {
                        self.give_up().await;
                    }
                }
                Ok(Some(found)) if found.is_running => {
                    // Somebody else may have restarted it.
                    self.pid = first_process(&found);
                    is_lost = false;
                }
                Ok(ended) => return ended,
                Err(error) => tracing::warn!(error, "the end of a container is waited for"),
            }
            sleep(ENGINE_PAUSE).await;
        }
    }

    /// Waits until the engine answers that the container has ended, or is to be asked what it is. Its answer is not believed:
    /// some engines give the code of an earlier run, or break the wait off.
    async fn answered(&self) {
        let until = Instant::now() + WAIT_LIMIT;
        let patient = self.engine.docker.clone().with_timeout(WAIT_LIMIT);
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut waiting = Box::pin(patient.wait_container(&self.id, Some(options)));
        while Instant::now() < until && timeout(LOOK_INTERVAL, waiting.next()).await.is_err() {
            if self.is_gone() {
                return;
            }
        }
    }

    fn is_gone(&self) -> bool {
        self.pid.is_some_and(|pid| Process::read(pid).is_none())
    }

    /// Removes a container that has ended unseen: Podman neither notices it by itself nor starts such a container again where
    /// what watched it was killed, too.
    async fn give_up(&self) {
        tracing::warn!(id = self.id, "the engine takes a container for running whose process is gone: it is removed");
        if let Err(reason) = remove(&self.engine, &self.id).await {
            tracing::warn!(reason, "a container whose process is gone is left");
        }
    }
}

/// The process, if it is in the control group of this container, whose name has its id in it.
fn first_process(found: &Found) -> Option<i32> {
    let is_its = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(&found.id))
    };
    found.pid.filter(is_its)
}
