//! The bus between the services: at least once, in any order, each event to every queue that is bound to its type.
//!
//! Two implementations keep to this, and one suite holds both against it: [`embedded`] for services that share a
//! process, [`rabbitmq`] for a fleet.

pub mod delivery;
pub mod embedded;
pub mod rabbitmq;

pub use delivery::{Delivery, Subscription};

use bigdata_common::event::Envelope;
use futures_util::future::BoxFuture;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for a confirmation on any bus: past it the event counts as not published. An implementation may have
/// a shorter one.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the bus did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// It is not there now.
    #[error("the bus is not available: {0}")]
    Unavailable(String),
    /// It took the event and did not confirm it in time, or gave it back.
    #[error("the bus did not confirm an event")]
    Unconfirmed,
    /// No queue is bound to events of this type yet: the service that consumes them has never been there.
    #[error("no queue is bound to {0} yet")]
    Unrouted(String),
}

/// Whether the bus can do its work now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusState {
    /// It takes events, and delivers them.
    Connected,
    /// It does not, and tries again by itself; events wait where they are.
    Waiting {
        /// What is in the way, for people.
        reason: String,
    },
}

/// Carries events. Implementations pass one conformance suite.
#[async_trait::async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Hands an event over; it is published once the [`Confirmation`] says so. Only the relay calls this. Fails at once
    /// while the bus is away, and never waits for longer than [`CONFIRM_TIMEOUT`].
    async fn publish(&self, envelope: Arc<Envelope>) -> Result<Confirmation, BusError>;

    /// Binds a durable queue to these event types, and takes its deliveries. Those who subscribe to one queue, in this
    /// process or another, share its deliveries.
    async fn subscribe(&self, queue: &'static str, kinds: &'static [&'static str]) -> Result<Subscription, BusError>;

    /// How many clusters' events a process handles at a time of those that it subscribes to.
    fn lanes(&self) -> usize {
        1
    }

    /// Whether it can do its work now.
    fn state(&self) -> BusState {
        BusState::Connected
    }
}

/// Tells when an event is safe with the bus.
pub struct Confirmation(BoxFuture<'static, Result<(), BusError>>);

impl Confirmation {
    /// A confirmation that comes when `safe` does.
    pub(crate) fn when(safe: impl Future<Output = Result<(), BusError>> + Send + 'static) -> Self {
        Self(Box::pin(safe))
    }

    /// Waits until the event is safe.
    ///
    /// # Errors
    /// When it is not within [`CONFIRM_TIMEOUT`], or the bus gave it back.
    pub async fn wait(self) -> Result<(), BusError> {
        tokio::time::timeout(CONFIRM_TIMEOUT, self.0).await.unwrap_or(Err(BusError::Unconfirmed))
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Confirmation")
    }
}
