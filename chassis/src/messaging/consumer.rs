//! Hands deliveries to a service's handler until each is handled or parked.

use crate::bus::{Bus, BusError, Delivery};
use crate::{Clock, Db, Tasks, on_tx};
use bigdata_common::event::Envelope;
use std::sync::Arc;
use std::time::Duration;

/// How often a delivery is tried before it is parked.
const ATTEMPTS_MAX: u32 = 8;
/// The longest wait between two tries.
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
    /// transaction as the change, or do what gives the same result twice. Returns before any long work.
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError>;
}

/// Binds the queue named `queue` to these event types and handles what comes, one at a time, until the tasks end.
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
    let token = tasks.token();
    tasks.spawn("event consumer", async move {
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                delivery = subscription.next() => match delivery {
                    Some(delivery) => tokio::select! {
                        () = token.cancelled() => return,
                        () = handle(queue, delivery, &db, &clock, handler.as_ref()) => {}
                    },
                    None => return,
                },
            }
        }
    });
    Ok(())
}

async fn handle(queue: &str, delivery: Delivery, db: &Db, clock: &Clock, handler: &dyn Handler) {
    let envelope = delivery.envelope();
    let mut backoff = Duration::from_millis(50);
    for attempt in 1..=ATTEMPTS_MAX {
        let reason = match handler.handle(&envelope).await {
            Ok(()) => {
                delivery.ack().await;
                return;
            }
            Err(HandleError::Retry(reason)) if attempt < ATTEMPTS_MAX => {
                tracing::debug!(queue, event.id = %envelope.id, kind = envelope.event.kind(), attempt, reason, "an event is tried again");
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
                continue;
            }
            Err(error) => error.to_string(),
        };
        tracing::error!(queue, event.id = %envelope.id, kind = envelope.event.kind(), reason, "an event is parked");
        match park(db, clock, &envelope, &reason).await {
            Ok(()) => delivery.ack().await,
            // The bus delivers it again: nothing is lost.
            Err(error) => {
                tracing::error!(queue, event.id = %envelope.id, error = &error as &dyn std::error::Error, "an event could not be parked");
                delivery.nack().await;
            }
        }
        return;
    }
}

async fn park(db: &Db, clock: &Clock, envelope: &Envelope, reason: &str) -> Result<(), sqlx::Error> {
    let text = serde_json::to_string(envelope).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let mut tx = db.begin().await?;
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO parked (event_id, envelope, reason, parked_at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (event_id) DO UPDATE SET reason = excluded.reason, parked_at_ms = excluded.parked_at_ms")
        .bind(envelope.id.to_string())
        .bind(text)
        .bind(reason)
        .bind(clock.now().as_millis())
        .execute(connection)
        .await
        .map(drop))?;
    tx.commit().await
}
