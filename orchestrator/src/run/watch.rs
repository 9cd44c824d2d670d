//! A script under way: its output is read, its directory is measured, and its end is awaited or brought about.

use super::Hold;
use super::child::{self, Child};
use super::log::Log;
use crate::service::Context;
use bigdata_sandbox::{Mask, Report, disk_usage};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How long a tree may take to end beyond its time, before its sandbox is given up.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How long output is read once the tree is gone.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// How often the directory is measured; measuring may take one part in so many of the time.
const MEASURE_INTERVAL: Duration = Duration::from_secs(2);
const MEASURE_SHARE: u32 = 20;

/// Why a tree was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Cancelled,
    ShuttingDown,
    /// The claim is lost: another may begin the run again at any moment.
    ClaimLost,
    /// Its directory holds more than it may.
    DirectoryFull,
}

/// What was seen of a script.
pub(super) struct Seen {
    /// None where its sandbox ended without one, or was given up.
    pub(super) report: Option<Report>,
    /// The last line with something in it, of standard error where there is one.
    pub(super) last_line: Option<String>,
    pub(super) ended: Option<Ended>,
}

/// What a script is watched with.
pub(super) struct Watch<'a> {
    pub(super) context: &'a Context,
    pub(super) directory: &'a Path,
    pub(super) mask: &'a Mask,
    pub(super) log: &'a Log,
    pub(super) cancel: &'a CancellationToken,
    pub(super) hold: &'a Hold,
    pub(super) time_left: Duration,
}

impl Watch<'_> {
    /// Reads the script's output until its tree is gone, and ends it when it is cancelled, the service ends or its
    /// directory is full.
    pub(super) async fn run(&self, child: Child) -> Seen {
        let line_bytes = self.context.settings.limits.line_bytes;
        let (mut ending, stdout, stderr) = child.split();
        let reading = async {
            tokio::join!(
                child::read(stdout, "stdout", line_bytes, self.mask, self.log),
                child::read(stderr, "stderr", line_bytes, self.mask, self.log),
            )
        };
        let filling = filled(self.directory, self.context.settings.limits.directory_bytes);
        tokio::pin!(reading, filling);
        let mut last_lines = None;
        let mut ended = None;
        let shutting_down = self.context.tasks.token();
        let mut hold = self.hold.clone();
        ending.keep_alive(hold.left()).await;
        let mut give_up_at = Instant::now() + self.time_left + END_LIMIT;
        let report = loop {
            tokio::select! {
                report = ending.ended() => break report,
                lines = &mut reading, if last_lines.is_none() => last_lines = Some(lines),
                () = self.cancel.cancelled(), if ended.is_none() => ended = Some(Ended::Cancelled),
                () = shutting_down.cancelled(), if ended.is_none() => ended = Some(Ended::ShuttingDown),
                () = self.hold.lost(), if ended.is_none() => ended = Some(Ended::ClaimLost),
                () = &mut filling, if ended.is_none() => ended = Some(Ended::DirectoryFull),
                () = hold.renewed() => ending.keep_alive(hold.left()).await,
                () = sleep_until(give_up_at) => break None,
            }
            if ended.is_some() {
                ending.kill().await;
                give_up_at = give_up_at.min(Instant::now() + END_LIMIT);
            }
        };
        ending.collect(DRAIN_LIMIT).await;
        if last_lines.is_none() {
            last_lines = timeout(DRAIN_LIMIT, &mut reading).await.ok();
        }
        let last_line = last_lines.and_then(|(stdout, stderr)| stderr.or(stdout));
        Seen { report, last_line, ended }
    }
}

/// Resolves when the directory holds more than `limit` bytes. What is deleted but still open is not seen.
async fn filled(directory: &Path, limit: u64) {
    let mut pause = MEASURE_INTERVAL;
    loop {
        sleep(pause).await;
        let (directories, begun) = ([directory.to_owned()], Instant::now());
        let measured = tokio::task::spawn_blocking(move || disk_usage(&directories, limit)).await;
        match measured {
            Ok(usage) if usage.bytes > limit => return,
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a run's directory is not measured"),
        }
        pause = MEASURE_INTERVAL.max(begun.elapsed() * MEASURE_SHARE);
    }
}
