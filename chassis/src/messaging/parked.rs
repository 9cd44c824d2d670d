//! Events that could not be handled or published, each with the reason, for an operator.

use crate::{Db, on_db, on_tx};
use bigdata_common::Timestamp;
use serde::Serialize;

/// The most that [`list`] returns.
const LIST_MAX: u32 = 1_000;

/// One parked event.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct Parked {
    /// The event's id.
    pub event_id: String,
    /// The envelope as it was received: JSON, unless just that is the reason.
    pub envelope: String,
    /// Why it was parked.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub parked_at_ms: i64,
}

/// What is parked, the newest first; at most `limit`, and at most 1,000.
///
/// # Errors
/// When the database refuses.
pub async fn list(db: &Db, limit: u32) -> Result<Vec<Parked>, sqlx::Error> {
    on_db!(db, pool => sqlx::query_as(
            "SELECT event_id, envelope, reason, parked_at_ms FROM parked ORDER BY parked_at_ms DESC, event_id LIMIT $1")
        .bind(i64::from(limit.min(LIST_MAX)))
        .fetch_all(pool)
        .await)
}

/// Brings a parked event back into handling; false where there is none with this id.
///
/// It goes the way of every event, through the outbox and the bus, to every queue that is bound to its type: those who
/// have handled it know it by its id.
///
/// # Errors
/// When the database refuses: then it is still parked.
pub async fn retry(db: &Db, event_id: &str) -> Result<bool, sqlx::Error> {
    let mut tx = db.begin().await?;
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO outbox (event_id, envelope) SELECT event_id, envelope FROM parked WHERE event_id = $1 \
             ON CONFLICT (event_id) DO NOTHING")
        .bind(event_id)
        .execute(connection)
        .await
        .map(drop))?;
    let removed = on_tx!(tx, connection => sqlx::query("DELETE FROM parked WHERE event_id = $1")
        .bind(event_id)
        .execute(connection)
        .await
        .map(|result| result.rows_affected()))?;
    tx.wake_outbox_on_commit();
    tx.commit().await?;
    Ok(removed == 1)
}

/// Parks an event; one that is parked already gets the newer reason.
pub(super) async fn park(
    db: &Db,
    event_id: &str,
    envelope: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut tx = db.begin().await?;
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO parked (event_id, envelope, reason, parked_at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (event_id) DO UPDATE SET reason = excluded.reason, parked_at_ms = excluded.parked_at_ms")
        .bind(event_id)
        .bind(envelope)
        .bind(reason)
        .bind(now.as_millis())
        .execute(connection)
        .await
        .map(drop))?;
    tx.commit().await
}
