//! A container's output, followed into the node's files: each byte once, through restarts of the executor and the engine.

use super::engine::{Engine, in_words};
use super::found::inspect;
use super::workload::ENGINE_PAUSE;
use crate::node::Fixture;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use std::rc::Rc;
use tokio::time::sleep;

/// Where in the node's files the container's output begins.
const CAPTURE_FILE: &str = "container-output.json";

/// Bytes of standard output and standard error.
type Offsets = (u64, u64);

/// Where the node's files end now.
pub(super) fn ends(fixture: &Fixture) -> Offsets {
    (fixture.stdout.end(), fixture.stderr.end())
}

/// Notes that the output of a container that is made now begins here.
pub(super) fn begin(fixture: &Fixture) -> Result<(), String> {
    let text = serde_json::to_vec(&ends(fixture)).map_err(|error| error.to_string())?;
    std::fs::write(fixture.surroundings.folder.root.join(CAPTURE_FILE), text).map_err(|error| error.to_string())
}

/// Where the container's output begins.
fn begins(fixture: &Fixture) -> Option<Offsets> {
    let text = std::fs::read(fixture.surroundings.folder.root.join(CAPTURE_FILE)).ok()?;
    let (stdout, stderr): Offsets = serde_json::from_slice(&text).ok()?;
    (stdout <= fixture.stdout.end() && stderr <= fixture.stderr.end()).then_some((stdout, stderr))
}

/// Follows the container's output until its end.
pub(super) async fn follow(engine: Engine, fixture: Rc<Fixture>, id: String) {
    let first = begins(&fixture).unwrap_or_else(|| ends(&fixture));
    loop {
        // What is captured already, before a restart or by an earlier executor, is not captured twice.
        let now = ends(&fixture);
        let is_whole = copy(&engine, &fixture, &id, (now.0 - first.0, now.1 - first.1)).await;
        match inspect(&engine, &id).await {
            Ok(None) => return,
            Ok(Some(found)) if is_whole && !found.is_running => return,
            // An engine that was restarted has broken it off.
            _ => sleep(ENGINE_PAUSE).await,
        }
    }
}

/// Copies the container's output, without what is `captured` already, for as long as the engine gives it. Whether that was to
/// its end.
async fn copy(engine: &Engine, fixture: &Fixture, id: &str, captured: Offsets) -> bool {
    let (mut stdout, mut stderr) = captured;
    if captured != (0, 0) {
        // The engine may have thrown away what was captured long ago.
        let Some(kept) = kept(engine, id).await else { return false };
        (stdout, stderr) = (stdout.min(kept.0), stderr.min(kept.1));
    }
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(true).build();
    let mut pieces = Box::pin(engine.docker.logs(id, Some(options)));
    while let Some(piece) = pieces.next().await {
        let (stream, skipped, message) = match piece {
            Ok(LogOutput::StdErr { message }) => (&fixture.stderr, &mut stderr, message),
            Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                (&fixture.stdout, &mut stdout, message)
            }
            Ok(LogOutput::StdIn { .. }) => continue,
            Err(error) => {
                tracing::info!(error = in_words(&error), "the container's output breaks off");
                return false;
            }
        };
        let known = usize::try_from(*skipped).unwrap_or(usize::MAX).min(message.len());
        *skipped -= known as u64;
        let _ = stream.capture(&message[known..]).await;
    }
    true
}

/// How much of the container's output the engine has; None: it does not say.
async fn kept(engine: &Engine, id: &str) -> Option<Offsets> {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let mut pieces = Box::pin(engine.docker.logs(id, Some(options)));
    let mut kept = (0, 0);
    while let Some(piece) = pieces.next().await {
        match piece.ok()? {
            LogOutput::StdErr { message } => kept.1 += message.len() as u64,
            LogOutput::StdOut { message } | LogOutput::Console { message } => kept.0 += message.len() as u64,
            LogOutput::StdIn { .. } => {}
        }
    }
    Some(kept)
}
