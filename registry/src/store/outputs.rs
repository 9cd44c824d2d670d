//! What clusters' scripts published.

use super::{from_text, to_text};
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::event::Output;
use bigdata_common::{ClusterId, EventId};

/// Stores an output in place of an earlier one of the same name; whether its value is another than before. Events come in
/// any order: one that was told of before the one that is stored (ids are UUIDv7) changes nothing.
///
/// # Errors
/// When the database refuses.
pub async fn put(tx: &mut Tx, cluster: &ClusterId, event: EventId, output: &Output) -> Result<bool, sqlx::Error> {
    let before: Option<(String, String)> = on_tx!(tx, connection => sqlx::query_as(
            "SELECT output, event_id FROM outputs WHERE cluster_id = $1 AND name = $2")
        .bind(cluster.to_string())
        .bind(&output.key)
        .fetch_optional(connection)
        .await)?;
    let event = event.to_string();
    if before.as_ref().is_some_and(|(_, stored_by)| *stored_by >= event) {
        return Ok(false);
    }
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO outputs (cluster_id, name, output, event_id) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (cluster_id, name) DO UPDATE SET output = excluded.output, event_id = excluded.event_id")
        .bind(cluster.to_string())
        .bind(&output.key)
        .bind(to_text(output)?)
        .bind(event)
        .execute(connection)
        .await
        .map(drop))?;
    match before {
        Some((before, _)) => Ok(from_text::<Output>(&before)? != *output),
        None => Ok(true),
    }
}

/// Every output of a cluster, by name.
///
/// # Errors
/// When the database refuses.
pub async fn all(db: &Db, cluster: &ClusterId) -> Result<Vec<Output>, sqlx::Error> {
    let texts: Vec<String> = on_db!(db, pool => sqlx::query_scalar(
            "SELECT output FROM outputs WHERE cluster_id = $1 ORDER BY name")
        .bind(cluster.to_string())
        .fetch_all(pool)
        .await)?;
    texts.iter().map(|text| from_text(text)).collect()
}
