//! Publishes what waits in the outbox.

use crate::bus::Bus;
use crate::{Clock, Db, Tasks, on_db, on_tx};
use bigdata_common::event::Envelope;
use futures_util::stream::{FuturesOrdered, StreamExt};
use std::sync::Arc;
use std::time::Duration;

/// Events published at one go.
const BATCH: i64 = 64;
/// How long a batch belongs to the relay that took it.
const LEASE_MILLIS: i64 = 30_000;
/// How often the outbox is looked into without a hint.
const INTERVAL: Duration = Duration::from_secs(5);

/// Publishes events in the order of their ids and deletes each when it is confirmed: at least once, in order as long as
/// nothing fails.
pub struct Relay {
    db: Db,
    bus: Arc<dyn Bus>,
    clock: Clock,
}

/// Why a batch was not published to its end; what was not is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The outbox cannot be read or written.
    #[error("the outbox cannot be used")]
    Database(#[from] sqlx::Error),
    /// The bus did not confirm.
    #[error("the bus did not take an event")]
    Bus(#[from] crate::bus::BusError),
}

#[derive(sqlx::FromRow)]
struct Row {
    event_id: String,
    envelope: String,
}

impl Relay {
    /// A relay from this database to this bus.
    pub fn new(db: Db, bus: Arc<dyn Bus>, clock: Clock) -> Self {
        Self { db, bus, clock }
    }

    /// Publishes on every hint, and on a timer, until the tasks end.
    pub fn spawn(self, tasks: &Tasks) {
        let token = tasks.token();
        let hint = self.db.outbox_hint();
        tasks.spawn("outbox relay", async move {
            let mut backoff = Duration::from_millis(50);
            loop {
                let wait = match self.step().await {
                    Ok(0) => {
                        backoff = Duration::from_millis(50);
                        INTERVAL
                    }
                    Ok(_) => continue,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "events wait in the outbox");
                        backoff = (backoff * 2).min(INTERVAL);
                        backoff
                    }
                };
                tokio::select! {
                    () = token.cancelled() => return,
                    () = hint.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        });
    }

    /// Publishes one batch; the number of events that were confirmed.
    ///
    /// # Errors
    /// When an event was not taken or not confirmed: it stays, and is tried again. The others are done.
    pub async fn step(&self) -> Result<usize, RelayError> {
        let mut rows = self.take().await?;
        rows.sort_by(|left, right| left.event_id.cmp(&right.event_id));
        let mut confirmations = FuturesOrdered::new();
        for row in rows {
            let published = match serde_json::from_str::<Envelope>(&row.envelope) {
                // What cannot be published now holds nothing back that can.
                Ok(envelope) => Some(self.bus.publish(Arc::new(envelope)).await),
                Err(error) => {
                    tracing::error!(event.id = row.event_id, %error, "an event in the outbox cannot be read; it is dropped");
                    None
                }
            };
            confirmations.push_back(async move {
                if let Some(published) = published {
                    published?.wait().await?;
                }
                Ok::<_, RelayError>(row.event_id)
            });
        }
        let mut done = Vec::new();
        let mut failure = None;
        while let Some(confirmed) = confirmations.next().await {
            match confirmed {
                Ok(event_id) => done.push(event_id),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        self.delete(&done).await?;
        failure.map_or(Ok(done.len()), Err)
    }

    async fn take(&self) -> Result<Vec<Row>, sqlx::Error> {
        if !self.db.is_postgres() {
            // The only relay of this file: no lease is needed.
            return on_db!(self.db, pool => sqlx::query_as(
                    "SELECT event_id, envelope FROM outbox ORDER BY event_id LIMIT $1")
                .bind(BATCH)
                .fetch_all(pool)
                .await);
        }
        let now = self.clock.now().as_millis();
        let mut tx = self.db.begin().await?;
        let rows = on_tx!(tx, connection => sqlx::query_as(
                "UPDATE outbox SET lease_until_ms = $1, attempts = attempts + 1 \
                 WHERE event_id IN (SELECT event_id FROM outbox WHERE lease_until_ms < $2 ORDER BY event_id LIMIT $3) \
                 AND lease_until_ms < $2 RETURNING event_id, envelope")
            .bind(now + LEASE_MILLIS)
            .bind(now)
            .bind(BATCH)
            .fetch_all(connection)
            .await)?;
        tx.commit().await?;
        Ok(rows)
    }

    async fn delete(&self, event_ids: &[String]) -> Result<(), sqlx::Error> {
        if event_ids.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        for event_id in event_ids {
            on_tx!(tx, connection => sqlx::query("DELETE FROM outbox WHERE event_id = $1")
                .bind(event_id)
                .execute(connection)
                .await
                .map(drop))?;
        }
        tx.commit().await
    }
}
