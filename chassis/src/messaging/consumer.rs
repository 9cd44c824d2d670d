//! Hands deliveries to a service's handler until each is handled or parked.

use super::parked;
use crate::bus::{Bus, BusError, Delivery, Subscription};
use crate::trace::{self, Cause};
use crate::{Clock, Db, Tasks};
use bigdata_common::event::Envelope;
use std::sync::Arc;
use std::time::Duration;

/// How often a delivery is tried before it is parked.
const ATTEMPTS_MAX: u32 = 8;
/// The longest time for one try: past it the handler is taken to hang.
const HANDLE_LIMIT: Duration = Duration::from_secs(60);
/// The first and the longest wait between two tries.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Why an event was not handled.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// It may work later.
    #[error("for now: {0}")]
    Retry(String),
    /// It will never work.
    #[error("{0}")]
    Poison(String),
}

impl From<sqlx::Error> for HandleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Retry(error.to_string())
    }
}

/// What a service does with the events of its queue.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles one event. It may come twice, late, and out of order: use [`crate::messaging::inbox`] in the same
    /// transaction as the change, or do what gives the same result twice. Returns before any long work: after 60 s it is
    /// dropped, and tried again.
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError>;
}

/// Binds the queue named `queue` to these event types and handles what comes, one at a time, until the tasks end. When
/// the bus drops the subscription, the queue is subscribed to again.
///
/// # Errors
/// When the bus cannot bind the queue.
pub async fn spawn(
    queue: &'static str,
    kinds: &'static [&'static str],
    bus: &Arc<dyn Bus>,
    db: Db,
    clock: Clock,
    tasks: &Tasks,
    handler: Arc<dyn Handler>,
) -> Result<(), BusError> {
    let mut subscription = bus.subscribe(queue, kinds).await?;
    let (bus, token) = (Arc::clone(bus), tasks.token());
    let consumer = Consumer { queue, db, clock, handler };
    tasks.spawn("event consumer", async move {
        let work = async {
            loop {
                while let Some(delivery) = subscription.next().await {
                    consumer.handle(delivery).await;
                }
                subscription = subscribe_again(queue, kinds, bus.as_ref()).await;
            }
        };
        // A delivery that is dropped in the middle is delivered again.
        tokio::select! {
            () = token.cancelled() => {}
            () = work => {}
        }
    });
    Ok(())
}

async fn subscribe_again(queue: &'static str, kinds: &'static [&'static str], bus: &dyn Bus) -> Subscription {
    let mut backoff = BACKOFF_MIN;
    loop {
        tracing::warn!(queue, "the bus has dropped the subscription; it is made again");
        tokio::time::sleep(backoff).await;
        match bus.subscribe(queue, kinds).await {
            Ok(subscription) => return subscription,
            Err(error) => tracing::warn!(queue, %error, "the queue cannot be subscribed to"),
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

struct Consumer {
    queue: &'static str,
    db: Db,
    clock: Clock,
    handler: Arc<dyn Handler>,
}

impl Consumer {
    /// Tries until the event is handled or parked. Giving it back instead would only count up its deliveries, past which
    /// a broker parks it: a database that is away for a while is no fault of the event.
    async fn handle(&self, delivery: Delivery) {
        let envelope = delivery.envelope();
        let (mut attempt, mut backoff) = (1, BACKOFF_MIN);
        loop {
            let error = match tried(self.handler.as_ref(), &envelope, HANDLE_LIMIT).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let (queue, kind, reason) = (self.queue, envelope.event.kind(), error.to_string());
            if attempt < ATTEMPTS_MAX && matches!(error, HandleError::Retry(_)) {
                tracing::debug!(queue, event.id = %envelope.id, kind, attempt, reason, "an event is tried again");
            } else {
                tracing::error!(queue, event.id = %envelope.id, kind, reason, "an event is parked");
                match self.park(&envelope, &reason).await {
                    Ok(()) => break,
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(queue, event.id = %envelope.id, error, "an event could not be parked");
                    }
                }
            }
            tokio::time::sleep(backoff).await;
            attempt += 1;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        delivery.ack().await;
    }

    async fn park(&self, envelope: &Envelope, reason: &str) -> Result<(), sqlx::Error> {
        let text = serde_json::to_string(envelope).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        parked::park(&self.db, &envelope.id.to_string(), &text, reason, self.clock.now()).await
    }
}

/// One try, within `limit`.
async fn tried(handler: &dyn Handler, envelope: &Envelope, limit: Duration) -> Result<(), HandleError> {
    let late = || HandleError::Retry(format!("its handler took longer than {} s", limit.as_secs_f32()));
    let cause = Cause { request_id: None, traceparent: envelope.traceparent.clone() };
    let handling = trace::within(cause, handler.handle(envelope));
    tokio::time::timeout(limit, handling).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::event::Event;
    use bigdata_common::{ClusterId, EventId, Timestamp};

    struct Stuck;

    #[async_trait::async_trait]
    impl Handler for Stuck {
        async fn handle(&self, _: &Envelope) -> Result<(), HandleError> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_handler_that_hangs_is_tried_again() {
        let envelope = Envelope {
            id: EventId(uuid::Uuid::now_v7()),
            cluster_id: ClusterId::parse_any("clusters/local/reference/1.0.0/1").unwrap(),
            revision: 1,
            at: Timestamp::from_millis(0),
            traceparent: None,
            event: Event::ClusterRegistered {},
        };
        let error = tried(&Stuck, &envelope, Duration::from_millis(10)).await.unwrap_err();
        assert!(matches!(&error, HandleError::Retry(reason) if reason.contains("longer than 0.01 s")), "{error}");
    }
}
