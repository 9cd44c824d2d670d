//! Which events have been handled.

use crate::{Tx, on_tx};
use bigdata_common::{EventId, Timestamp};

/// How long a handled event is remembered: longer than any broker holds one back.
pub const REMEMBERED_MILLIS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Notes that the event `$1` is handled, at `$2`; returns a row where it was not before. It can be a part of a statement of
/// the service's own on Postgres.
pub const NOTE: &str = "INSERT INTO inbox (event_id, handled_at_ms) VALUES ($1, $2) ON CONFLICT (event_id) DO NOTHING \
                        RETURNING event_id";

/// Notes in the handler's transaction that the event is handled; false where it was handled before.
///
/// # Errors
/// When the database refuses.
pub async fn first_time(tx: &mut Tx, event: EventId, now: Timestamp) -> Result<bool, sqlx::Error> {
    let noted: Option<String> = on_tx!(tx, connection => sqlx::query_scalar(NOTE)
        .bind(event.to_string())
        .bind(now.as_millis())
        .fetch_optional(connection)
        .await)?;
    Ok(noted.is_some())
}

/// Forgets events that were handled longer ago than [`REMEMBERED_MILLIS`].
///
/// # Errors
/// When the database refuses.
pub async fn prune(tx: &mut Tx, now: Timestamp) -> Result<u64, sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("DELETE FROM inbox WHERE handled_at_ms < $1")
        .bind(now.as_millis() - REMEMBERED_MILLIS)
        .execute(connection)
        .await
        .map(|result| result.rows_affected()))
}
