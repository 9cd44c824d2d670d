//! Publishes what waits in the outbox.

use super::parked;
use crate::bus::{Bus, BusError};
use crate::{Clock, Db, Tasks, on_db, on_tx};
use bigdata_common::event::Envelope;
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Events published at one go.
const BATCH: u16 = 128;
/// How long a batch belongs to the relay that took it: for so long the events of a relay that was killed wait.
const LEASE_MILLIS: i64 = 30_000;
/// The longest that a relay is busy with a batch: it ends well before the lease does, so that no other relay publishes
/// the batch beside it.
const STEP_LIMIT: Duration = Duration::from_secs(25);
/// How long a relay that is to end still waits for the bus: who would confirm may have ended before it.
const END_LIMIT: Duration = Duration::from_secs(1);
/// How often the outbox is looked into without a hint.
const INTERVAL: Duration = Duration::from_secs(5);
/// The shortest wait for an event that was put off.
const MINIMAL_MILLIS: i64 = 20;
/// Where a batch held several events, the next one begins no sooner after it did: under load a batch costs what one event
/// does, and a lone event, as of a single launch, does not wait.
const GATHER: Duration = Duration::from_millis(5);
/// The waits after failures: the first is twice the former.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(2));

/// Publishes events in the order of their ids and deletes each when it is confirmed: at least once, in order as long as
/// nothing fails. An event that could not be published is put off, a little longer each time, and holds no other back.
/// Several relays may share a database.
pub struct Relay {
    db: Db,
    bus: Arc<dyn Bus>,
    clock: Clock,
    /// Cancelled when it is to end.
    end: CancellationToken,
}

/// Why a batch was not published to its end; what was not is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The outbox cannot be read or written.
    #[error("the outbox cannot be used")]
    Database(#[from] sqlx::Error),
    /// The bus did not confirm.
    #[error("the bus did not take an event")]
    Bus(#[from] BusError),
}

#[derive(sqlx::FromRow)]
struct Row {
    event_id: String,
    envelope: String,
}

/// What became of one row.
enum Outcome {
    Published,
    Failed(BusError),
    Unreadable(String),
}

impl Relay {
    /// A relay from this database to this bus.
    pub fn new(db: Db, bus: Arc<dyn Bus>, clock: Clock) -> Self {
        Self { db, bus, clock, end: CancellationToken::new() }
    }

    /// Publishes on every hint, and on a timer, until the tasks end.
    pub fn spawn(mut self, tasks: &Tasks) {
        let token = tasks.token();
        self.end = token.clone();
        let hint = self.db.outbox_hint();
        tasks.spawn("outbox relay", async move {
            let mut backoff = BACKOFF.0;
            while !token.is_cancelled() {
                let begun = tokio::time::Instant::now();
                let wait = match self.step().await {
                    Ok(0) => self.pause().await,
                    Ok(published) => {
                        backoff = BACKOFF.0;
                        if published > 1 && published < usize::from(BATCH) {
                            tokio::time::sleep_until(begun + GATHER).await;
                        }
                        continue;
                    }
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        if backoff == BACKOFF.0 {
                            tracing::warn!(error, "events wait in the outbox");
                        } else {
                            tracing::debug!(error, "events still wait in the outbox");
                        }
                        backoff = (backoff * 2).min(BACKOFF.1);
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

    /// Publishes one batch; the number of events that are done with.
    ///
    /// # Errors
    /// When an event was not taken or not confirmed: it stays, and is tried again. The others are done.
    pub async fn step(&self) -> Result<usize, RelayError> {
        let rows = self.take().await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let (mut done, mut failed, mut failure) = (Vec::new(), Vec::new(), None);
        for (row, outcome) in self.publish(rows).await {
            match outcome {
                Outcome::Published => done.push(row.event_id),
                Outcome::Failed(error) => {
                    failed.push(row.event_id);
                    failure.get_or_insert(error);
                }
                Outcome::Unreadable(reason) => {
                    tracing::error!(event.id = row.event_id, reason, "an event in the outbox is parked");
                    parked::park(&self.db, &row.event_id, &row.envelope, &reason, self.clock.now()).await?;
                    done.push(row.event_id);
                }
            }
        }
        self.settle(&done, &failed).await?;
        failure.map_or(Ok(done.len()), |error| Err(error.into()))
    }

    /// Hands every event over, in their order, and waits until each is confirmed or has failed.
    async fn publish(&self, mut rows: Vec<Row>) -> Vec<(Row, Outcome)> {
        rows.sort_by(|left, right| left.event_id.cmp(&right.event_id));
        let late = self.too_late().shared();
        let mut confirmations = FuturesOrdered::new();
        for row in rows {
            let handed_over = match serde_json::from_str::<Envelope>(&row.envelope) {
                Ok(envelope) => {
                    tokio::select! {
                        biased;
                        published = self.bus.publish(Arc::new(envelope)) => Ok(published),
                        () = late.clone() => {
                            Ok(Err(BusError::Unavailable("a batch took too long".to_owned())))
                        }
                    }
                }
                Err(error) => Err(format!("it cannot be read: {error}")),
            };
            // What cannot be published now holds nothing back that can.
            let late = late.clone();
            confirmations.push_back(async move {
                let outcome = match handed_over {
                    Err(reason) => Outcome::Unreadable(reason),
                    Ok(Err(error)) => Outcome::Failed(error),
                    Ok(Ok(confirmation)) => tokio::select! {
                        biased;
                        confirmed = confirmation.wait() => match confirmed {
                            Ok(()) => Outcome::Published,
                            Err(error) => Outcome::Failed(error),
                        },
                        () = late => Outcome::Failed(BusError::Unconfirmed),
                    },
                };
                (row, outcome)
            });
        }
        confirmations.collect().await
    }

    /// Resolves when a batch that begins now has taken too long.
    async fn too_late(&self) {
        let ends = async {
            self.end.cancelled().await;
            tokio::time::sleep(END_LIMIT).await;
        };
        tokio::select! {
            () = tokio::time::sleep(STEP_LIMIT) => {}
            () = ends => {}
        }
    }

    /// The next events, which belong to this relay until their lease has ended or they are put off.
    async fn take(&self) -> Result<Vec<Row>, sqlx::Error> {
        let now = self.clock.now().as_millis();
        if !self.db.is_postgres() {
            // The only relay of this file: no lease is needed.
            return on_db!(self.db, pool => sqlx::query_as(
                    "SELECT event_id, envelope FROM outbox WHERE lease_until_ms <= $1 ORDER BY event_id LIMIT $2")
                .bind(now)
                .bind(i64::from(BATCH))
                .fetch_all(pool)
                .await);
        }
        // Rows that another relay is taking now are skipped: each gets a batch of its own, and neither waits.
        on_db!(self.db, pool => sqlx::query_as(
                "UPDATE outbox SET lease_until_ms = $1 \
                 WHERE event_id IN (SELECT event_id FROM outbox WHERE lease_until_ms <= $2 \
                                    ORDER BY event_id LIMIT $3 FOR UPDATE SKIP LOCKED) \
                 RETURNING event_id, envelope")
            .bind(now + LEASE_MILLIS)
            .bind(now)
            .bind(i64::from(BATCH))
            .fetch_all(pool)
            .await)
    }

    /// How long nothing of the outbox is due; at most [`INTERVAL`].
    async fn pause(&self) -> Duration {
        let next: Result<Option<i64>, _> = on_db!(self.db, pool =>
            sqlx::query_scalar("SELECT MIN(lease_until_ms) FROM outbox").fetch_one(pool).await);
        let millis =
            next.ok().flatten().map(|due| due.saturating_sub(self.clock.now().as_millis()).max(MINIMAL_MILLIS));
        millis
            .and_then(|millis| u64::try_from(millis).ok())
            .map_or(INTERVAL, |it| Duration::from_millis(it).min(INTERVAL))
    }

    /// Deletes what is done with, and puts off what was not published: for 0.1 s after the first time, at most 5 s.
    async fn settle(&self, done: &[String], failed: &[String]) -> Result<(), sqlx::Error> {
        let (delete, put_off) = if self.db.is_postgres() {
            (
                "DELETE FROM outbox WHERE event_id IN (SELECT jsonb_array_elements_text(CAST($1 AS TEXT)::jsonb))",
                "UPDATE outbox SET attempts = attempts + 1, \
                 lease_until_ms = $2 + CASE WHEN attempts < 50 THEN 100 * (attempts + 1) ELSE 5000 END \
                 WHERE event_id IN (SELECT jsonb_array_elements_text(CAST($1 AS TEXT)::jsonb))",
            )
        } else {
            (
                "DELETE FROM outbox WHERE event_id IN (SELECT value FROM json_each($1))",
                "UPDATE outbox SET attempts = attempts + 1, \
                 lease_until_ms = $2 + CASE WHEN attempts < 50 THEN 100 * (attempts + 1) ELSE 5000 END \
                 WHERE event_id IN (SELECT value FROM json_each($1))",
            )
        };
        if failed.is_empty() && self.db.is_postgres() {
            // Alone it needs no round trips but its own.
            let ids = json(done)?;
            return on_db!(self.db, pool => sqlx::query(delete).bind(ids).execute(pool).await.map(drop));
        }
        let mut tx = self.db.begin().await?;
        if !done.is_empty() {
            let ids = json(done)?;
            on_tx!(tx, connection => sqlx::query(delete).bind(ids).execute(connection).await.map(drop))?;
        }
        if !failed.is_empty() {
            let (ids, now) = (json(failed)?, self.clock.now().as_millis());
            on_tx!(tx, connection => sqlx::query(put_off).bind(ids).bind(now).execute(connection).await.map(drop))?;
        }
        tx.commit().await
    }
}

fn json(event_ids: &[String]) -> Result<String, sqlx::Error> {
    serde_json::to_string(event_ids).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}
