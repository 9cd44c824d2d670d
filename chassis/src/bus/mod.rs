//! The bus between the services: at least once, in any order, each event to every queue that is bound to its type.

pub mod embedded;

use bigdata_common::event::Envelope;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The longest wait for a confirmation: past it the event counts as not published.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the bus did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// It is not there now.
    #[error("the bus is not available: {0}")]
    Unavailable(String),
    /// It took the event and did not confirm it in time.
    #[error("the bus did not confirm within {} s", CONFIRM_TIMEOUT.as_secs())]
    Unconfirmed,
}

/// Carries events. Implementations pass one conformance suite.
#[async_trait::async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Hands an event over; it is published once the [`Confirmation`] says so. Only the relay calls this.
    async fn publish(&self, envelope: Arc<Envelope>) -> Result<Confirmation, BusError>;

    /// Binds a durable queue to these event types, and takes its deliveries.
    async fn subscribe(&self, queue: &'static str, kinds: &'static [&'static str]) -> Result<Subscription, BusError>;
}

/// Tells when an event is safe with the bus.
#[derive(Debug)]
pub struct Confirmation(Vec<oneshot::Receiver<Settled>>);

impl Confirmation {
    /// A confirmation that waits until each of these is settled.
    pub(crate) fn of(parts: Vec<oneshot::Receiver<Settled>>) -> Self {
        Self(parts)
    }

    /// Waits until the event is safe.
    ///
    /// # Errors
    /// When it is not within [`CONFIRM_TIMEOUT`], or the bus gave it back.
    pub async fn wait(self) -> Result<(), BusError> {
        let all = async {
            for part in self.0 {
                match part.await {
                    Ok(Settled::Handled) => {}
                    Ok(Settled::Returned) | Err(_) => return Err(BusError::Unconfirmed),
                }
            }
            Ok(())
        };
        tokio::time::timeout(CONFIRM_TIMEOUT, all).await.unwrap_or(Err(BusError::Unconfirmed))
    }
}

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
pub struct Subscription(mpsc::Receiver<Delivery>);

impl Subscription {
    /// The next one; None once the bus is gone.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.0.recv().await
    }
}
