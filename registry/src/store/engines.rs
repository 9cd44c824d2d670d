//! What the framework has said last of the agents' container engines.

use super::{from_text, to_text};
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::Timestamp;
use bigdata_common::internal::Engines;

/// Stores a word in the place of the one before.
///
/// # Errors
/// When the database refuses.
pub async fn hear(tx: &mut Tx, engines: &Engines, now: Timestamp) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO engines (one, told, heard_at_ms) VALUES (1, $1, $2) \
             ON CONFLICT (one) DO UPDATE SET told = excluded.told, heard_at_ms = excluded.heard_at_ms")
        .bind(to_text(engines)?)
        .bind(now.as_millis())
        .execute(connection)
        .await
        .map(drop))
}

/// The last word, and when it came.
///
/// # Errors
/// When the database refuses.
pub async fn heard(db: &Db) -> Result<Option<(Engines, Timestamp)>, sqlx::Error> {
    let row: Option<(String, i64)> = on_db!(db, pool => sqlx::query_as("SELECT told, heard_at_ms FROM engines WHERE one = 1")
            .fetch_optional(pool)
            .await)?;
    row.map(|(told, at)| Ok((from_text(&told)?, Timestamp::from_millis(at)))).transpose()
}
