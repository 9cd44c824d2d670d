//! What processes of an attempt are left beside its workload, and their end.

use crate::environment::{ATTEMPT_VARIABLE, Surroundings};
use bigdata_sandbox::{Error, Process, descendants, kill_all, processes_with_environment};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the end of processes that escaped the workload's tree may take, and that of sandboxes by themselves.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two looks at sandboxes that are ending. It doubles.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Ends whatever still carries the attempt's mark, where a sandbox or a former executor of the attempt was lost.
///
/// Processes of other nodes of the cluster share its uid on this machine, so the mark alone decides.
///
/// # Errors
/// In words, when something is left.
pub(super) async fn end_marked(node: &Surroundings) -> Result<(), String> {
    let attempt = node.node.attempt.id.to_string();
    end_by(move || kill_all(|| marked(&attempt), KILL_LIMIT)).await
}

/// Ends every process of an attempt that starts none any more, and waits for its sandboxes: in one that is about to start its
/// command nothing carries the attempt's mark yet.
///
/// # Errors
/// In words, when something is left.
pub(super) async fn end_sandboxes(node: &Surroundings) -> Result<(), String> {
    let attempt = node.node.attempt.id.to_string();
    end_by(move || {
        let own = std::process::id().cast_signed();
        let until = Instant::now() + KILL_LIMIT;
        let mut pause = PAUSE_MIN;
        let mut ended = 0;
        loop {
            // Looked for before what is marked is ended: what they have started until then is found.
            let sandboxes = descendants(own)?;
            ended += kill_all(|| marked(&attempt), KILL_LIMIT)?;
            if sandboxes.is_empty() {
                return Ok(ended);
            }
            // By itself a sandbox ends when nobody needs it, and leaves no control group.
            if Instant::now() >= until {
                return Ok(ended + kill_all(|| descendants(own), KILL_LIMIT)?);
            }
            sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    })
    .await
}

fn marked(attempt: &str) -> Result<Vec<Process>, Error> {
    processes_with_environment(ATTEMPT_VARIABLE, attempt)
}

/// Ends processes on a thread of its own.
async fn end_by(end: impl FnOnce() -> Result<usize, Error> + Send + 'static) -> Result<(), String> {
    let reason = match tokio::task::spawn_blocking(end).await {
        Ok(Ok(0)) => return Ok(()),
        Ok(Ok(count)) => {
            tracing::warn!(count, "processes outside the workload's tree are ended");
            return Ok(());
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(reason, "processes of the node are left");
    Err(reason)
}
