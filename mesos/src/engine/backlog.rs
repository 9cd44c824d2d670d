//! What a subscriber was told and has not read: bounded by its size, so that one that is only slow is not cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

/// More that is not read, and the subscriber does not read.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const MAX_RECORDS: usize = 256 * 1024;

/// Where a subscription's records go. The stream ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    records: mpsc::Sender<Bytes>,
    unread: Arc<AtomicUsize>,
}

/// The other end.
#[derive(Debug)]
pub(crate) struct Records {
    records: mpsc::Receiver<Bytes>,
    unread: Arc<AtomicUsize>,
}

pub(crate) fn channel() -> (Stream, Records) {
    let (sender, receiver) = mpsc::channel(MAX_RECORDS);
    let unread = Arc::new(AtomicUsize::new(0));
    (Stream { records: sender, unread: Arc::clone(&unread) }, Records { records: receiver, unread })
}

impl Stream {
    /// Adds a record; false where too much is unread.
    pub(crate) fn send(&self, record: Bytes) -> bool {
        let length = record.len();
        if self.unread.fetch_add(length, Ordering::Relaxed) + length > MAX_BYTES {
            return false;
        }
        // A reader that is gone is told of by its own end.
        !matches!(self.records.try_send(record), Err(mpsc::error::TrySendError::Full(_)))
    }
}

impl Records {
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let record = self.records.poll_recv(context);
        if let Poll::Ready(Some(record)) = &record {
            self.unread.fetch_sub(record.len(), Ordering::Relaxed);
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_small_records_wait_and_only_too_many_bytes_are_too_much() {
        let (stream, mut records) = channel();
        let small = Bytes::from_static(&[7; 100]);
        for _ in 0..100_000 {
            assert!(stream.send(small.clone()));
        }
        for _ in 0..100_000 {
            assert!(std::future::poll_fn(|context| records.poll_next(context)).await.is_some());
        }
        let half = Bytes::from(vec![0; MAX_BYTES / 2]);
        assert!(stream.send(half.clone()) && stream.send(half.clone()));
        assert!(!stream.send(small));
    }
}
