//! What comes out of a queue, and what becomes of it.

use bigdata_common::event::Envelope;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It was handled, or parked.
    Handled,
    /// It is to be delivered again.
    Returned,
}

/// One event for one queue. A delivery that is dropped is delivered again.
#[derive(Debug)]
pub struct Delivery {
    envelope: Arc<Envelope>,
    settle: Option<oneshot::Sender<Settled>>,
}

impl Delivery {
    /// A delivery that tells `settle` what became of it; dropped, it closes `settle`.
    pub(crate) fn new(envelope: Arc<Envelope>, settle: Option<oneshot::Sender<Settled>>) -> Self {
        Self { envelope, settle }
    }

    /// The event.
    pub fn envelope(&self) -> Arc<Envelope> {
        Arc::clone(&self.envelope)
    }

    /// It is done with.
    pub async fn ack(mut self) {
        self.settle(Settled::Handled);
    }

    /// It shall come again.
    pub async fn nack(mut self) {
        self.settle(Settled::Returned);
    }

    fn settle(&mut self, settled: Settled) {
        if let Some(settle) = self.settle.take() {
            // Whoever waited may have given up: then the event comes again, and the inbox knows it.
            let _ = settle.send(settled);
        }
    }
}

/// The deliveries of one queue.
#[derive(Debug)]
pub struct Subscription(pub(crate) mpsc::Receiver<Delivery>);

impl Subscription {
    /// The next one; None once the bus has dropped the subscription: subscribe again.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.0.recv().await
    }
}
