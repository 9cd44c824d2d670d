//! What an executor leaves behind: processes that it started, and that outlive it.
//!
//! They are in sessions of their own, and their parent is gone, but their environment still names the executor's
//! container. Its resources are in use until they have ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::process::{self, Census};
use super::records::Process;

/// How soon they are looked at again, at first and at the most.
const INTERVAL_MIN: Duration = Duration::from_millis(20);
const INTERVAL_MAX: Duration = Duration::from_millis(500);
/// How many times as long as a census took the next one is put off, and for how long at the most.
const PAUSE: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long the end of killed processes may take: on a machine that ends a thousand at a time, too.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// Waits until nothing of the container is left, whose first process was `leader`. What has not ended by itself within
/// `grace` is killed.
pub(crate) async fn end(container_id: &str, leader: &Process, grace: Duration) {
    let ended = async |kill: bool| {
        let mut interval = INTERVAL_MIN;
        while !is_empty(container_id, leader, kill).await {
            sleep(interval).await;
            interval = (interval * 2).min(INTERVAL_MAX);
        }
    };
    if timeout(grace, ended(false)).await.is_ok() {
        return;
    }
    tracing::warn!(container_id, ?grace, "an executor's processes outlive it and are killed");
    if timeout(KILL_LIMIT, ended(true)).await.is_err() {
        tracing::error!(container_id, "an executor's processes cannot be ended");
    }
}

async fn is_empty(container_id: &str, leader: &Process, kill: bool) -> bool {
    let left = census(Instant::now()).await.of(container_id, leader);
    if kill {
        left.iter().for_each(process::kill_one);
    }
    left.is_empty()
}

/// The newest census, shared by all who ask at about the same time.
struct Newest {
    begun: Instant,
    took: Duration,
    census: Arc<Census>,
}

static KNOWN: process::Environments = process::Environments::new();

static NEWEST: Mutex<Option<Newest>> = Mutex::const_new(None);

/// A census that was begun after `asked`. With many executors ending at once, each looking through all processes would
/// keep the machine busy: so the longer a census takes, the longer are others waited for that want one as well.
async fn census(asked: Instant) -> Arc<Census> {
    let mut newest = NEWEST.lock().await;
    if let Some(newest) = newest.as_ref() {
        if newest.begun >= asked {
            return Arc::clone(&newest.census);
        }
        sleep((newest.took * PAUSE).min(PAUSE_MAX)).await;
    }
    let begun = Instant::now();
    // An engine that ends looks no more; the next one does.
    let census = Arc::new(tokio::task::spawn_blocking(|| Census::take(&KNOWN)).await.unwrap_or_default());
    *newest = Some(Newest { begun, took: begun.elapsed(), census: Arc::clone(&census) });
    census
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    /// A process in a session of its own that belongs to a container, and ignores SIGTERM.
    fn stray(container_id: &str) -> Child {
        let mut child = Command::new("setsid")
            .args(["sh", "-c", "trap '' TERM; echo; while :; do sleep 1; done"])
            .env("HOME", format!("/sandboxes/{container_id}/work"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        child
    }

    #[tokio::test]
    async fn what_outlives_its_executor_is_ended_before_its_resources_are_free() {
        let (one, other) = (uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string());
        let (mut left, mut foreign) = (stray(&one), stray(&other));
        let nobody = Process { pid: i32::MAX, started: 0, boot: 0 };
        let began = Instant::now();
        end(&one, &nobody, Duration::from_millis(100)).await;
        assert!(began.elapsed() >= Duration::from_millis(100), "it had no grace");
        assert!(left.try_wait().unwrap().is_some(), "it lives on");
        assert!(foreign.try_wait().unwrap().is_none(), "another container's process was killed");
        // Nothing is left, so that nothing is waited for.
        timeout(KILL_LIMIT, end(&one, &nobody, Duration::from_secs(3600))).await.unwrap();
        foreign.kill().unwrap();
        foreign.wait().unwrap();
    }
}
