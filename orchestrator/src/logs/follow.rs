//! Following a log: lines as they are stored.

use crate::store::{LogOf, Store, StoreError};
use bigdata_common::ClusterId;
use bigdata_common::api::cluster::LogLine;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often the table is looked at without a signal: lines of other replicas come so.
const POLL: Duration = Duration::from_millis(700);
/// Lines read at a time.
const BATCH: u32 = 500;

/// Tells followers in this process that a log has grown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals(Arc<Mutex<HashMap<ClusterId, watch::Sender<u64>>>>);

impl Signals {
    /// A log has grown to this sequence.
    pub(crate) fn grown(&self, cluster: &ClusterId, last: u64) {
        let mut signals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signal) = signals.get(cluster)
            && signal.send(last).is_err()
        {
            signals.remove(cluster);
        }
    }

    fn watch(&self, cluster: &ClusterId) -> watch::Receiver<u64> {
        let mut signals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signals.retain(|_, signal| signal.receiver_count() > 0);
        signals.entry(cluster.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
    }
}

/// A place in a log that is followed.
pub(crate) struct Follower {
    store: Store,
    log: LogOf,
    after: u64,
    signal: watch::Receiver<u64>,
}

impl Follower {
    /// Begins after the sequence `after`.
    pub(crate) fn new(store: Store, signals: &Signals, log: LogOf, after: u64) -> Self {
        let signal = signals.watch(log.cluster());
        Self { store, log, after, signal }
    }

    /// The next lines in order; none where `patience` has passed without any.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<Vec<LogLine>, StoreError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            // Marked first: a line that is stored after the read below is signalled anew.
            self.signal.mark_unchanged();
            let lines = self.store.lines_after(&self.log, self.after, BATCH).await?;
            if let Some(last) = lines.last() {
                self.after = last.sequence;
                return Ok(lines);
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(lines);
            }
            // Signalled, or it is time to look anyway, or the sender is gone: look again in each case.
            if let Ok(Err(_)) =
                tokio::time::timeout_at(deadline.min(tokio::time::Instant::now() + POLL), self.signal.changed()).await
            {
                tokio::time::sleep(POLL).await;
            }
        }
    }
}
