//! Writes an attempt's lines into its cluster's log, in batches.

use super::verdict;
use crate::logs::Signals;
use crate::store::{Claim, NewLine, Store, StoreError};
use bigdata_chassis::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Lines that wait; a full queue makes the script wait.
const QUEUE_LENGTH: usize = 512;
/// Lines of one transaction.
const BATCH_MAX: usize = 1000;
/// The longest that a line waits for others.
const BATCH_TIME: Duration = Duration::from_millis(100);
/// What a stored line costs beyond its text, in bytes.
const LINE_COST: u64 = 64;
/// How often a batch is tried; then its lines are lost, and the script goes on.
const TRIES: u32 = 8;

/// Where an attempt's lines go. Clones write to the same log.
#[derive(Clone)]
pub(crate) struct Log {
    lines: mpsc::Sender<NewLine>,
    clock: Clock,
    budget: Arc<Mutex<Budget>>,
}

/// Waits for the lines to be stored.
pub(crate) struct LogEnd(JoinHandle<()>);

/// How much of the script's output is still stored.
struct Budget {
    limit: u64,
    left: u64,
    dropped_lines: u64,
    dropped_bytes: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Stored,
    Dropped { is_first: bool },
}

impl Budget {
    fn spend(&mut self, bytes: u64) -> Fate {
        if self.dropped_lines == 0 && bytes + LINE_COST <= self.left {
            self.left -= bytes + LINE_COST;
            return Fate::Stored;
        }
        self.dropped_lines += 1;
        self.dropped_bytes += bytes;
        Fate::Dropped { is_first: self.dropped_lines == 1 }
    }
}

impl Log {
    /// Begins to write; at most `limit` bytes of the script's own lines are stored.
    pub(crate) fn open(store: Store, signals: Signals, claim: Claim, limit: u64) -> (Self, LogEnd) {
        let (lines, receiver) = mpsc::channel(QUEUE_LENGTH);
        let budget = Budget { limit, left: limit, dropped_lines: 0, dropped_bytes: 0 };
        let log = Self { lines, clock: store.clock.clone(), budget: Arc::new(Mutex::new(budget)) };
        (log, LogEnd(tokio::spawn(write(store, signals, claim, receiver))))
    }

    /// A line of the script's; false where it was dropped.
    pub(crate) async fn script_line(&self, stream: &'static str, line: String) -> bool {
        let (fate, limit) = {
            let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
            (budget.spend(line.len() as u64), budget.limit)
        };
        match fate {
            Fate::Stored => self.send(stream, line).await,
            Fate::Dropped { is_first: true } => {
                let limit = size(limit);
                self.platform_line(format!(
                    "{limit} of output are stored: what the script writes from here on is dropped"
                ))
                .await;
            }
            Fate::Dropped { is_first: false } => {}
        }
        fate == Fate::Stored
    }

    /// A line of the platform's.
    pub(crate) async fn platform_line(&self, line: String) {
        self.send("platform", line).await;
    }

    /// How the attempt ended, and what was dropped.
    pub(crate) async fn conclude(&self, action: &str, result: &bigdata_common::event::RunResult) {
        let dropped = {
            let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
            (budget.dropped_lines > 0).then(|| (budget.dropped_lines, budget.dropped_bytes))
        };
        if let Some((lines, bytes)) = dropped {
            self.platform_line(format!("{lines} lines ({}) of output were dropped", size(bytes))).await;
        }
        self.platform_line(format!("{action} {}", verdict::words(result))).await;
    }

    async fn send(&self, stream: &'static str, line: String) {
        // It fails only when the writer is gone, and then the attempt is over.
        let _ = self.lines.send(NewLine { at: self.clock.now(), stream, line }).await;
    }
}

impl LogEnd {
    /// Waits until everything is stored. Every [`Log`] must be dropped before.
    pub(crate) async fn wait(self) {
        if let Err(error) = self.0.await {
            tracing::error!(%error, "the writer of a log failed");
        }
    }
}

async fn write(store: Store, signals: Signals, claim: Claim, mut receiver: mpsc::Receiver<NewLine>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let full_at = tokio::time::Instant::now() + BATCH_TIME;
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            match tokio::time::timeout_at(full_at, receiver.recv_many(&mut batch, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        append(&store, &signals, &claim, &batch).await;
        batch.clear();
    }
}

async fn append(store: &Store, signals: &Signals, claim: &Claim, batch: &[NewLine]) {
    for attempt in 1..=TRIES {
        match store.append_lines(claim, batch).await {
            Ok(last) => return signals.grown(&claim.cluster, last),
            // The log is another attempt's now.
            Err(StoreError::Overtaken) => {
                return tracing::info!(run.id = %claim.run.run, attempt = claim.run.attempt, lines = batch.len(), "lines of an attempt that is over are not stored");
            }
            Err(error) => {
                tracing::warn!(cluster.id = %claim.cluster, attempt, error = &error as &dyn std::error::Error, "lines of a log wait");
                tokio::time::sleep(BATCH_TIME * 2u32.pow(attempt.min(5))).await;
            }
        }
    }
    tracing::error!(cluster.id = %claim.cluster, lines = batch.len(), "lines of a log are lost");
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_once_is_not_stored_later() {
        let mut budget = Budget { limit: 200, left: 200, dropped_lines: 0, dropped_bytes: 0 };
        assert_eq!(budget.spend(100), Fate::Stored);
        assert_eq!(budget.spend(100), Fate::Dropped { is_first: true });
        assert_eq!(budget.spend(0), Fate::Dropped { is_first: false });
        assert_eq!((budget.dropped_lines, budget.dropped_bytes), (2, 100));
    }

    #[test]
    fn sizes() {
        assert_eq!([size(100), size(5000), size(4 << 20)], ["100 bytes", "4 KiB", "4 MiB"]);
    }
}
