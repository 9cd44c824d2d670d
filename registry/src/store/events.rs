//! A cluster's history.

use super::{from_text, signed, to_text};
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::ClusterId;
use bigdata_common::api::cluster::EventView;

/// Appends an event whose sequence the caller has counted up on the cluster that it holds.
///
/// # Errors
/// When the database refuses, above all where the sequence is taken.
pub async fn append(tx: &mut Tx, cluster: &ClusterId, event: &EventView) -> Result<(), sqlx::Error> {
    let text = to_text(event)?;
    on_tx!(tx, connection => sqlx::query("INSERT INTO events (cluster_id, sequence, event) VALUES ($1, $2, $3)")
        .bind(cluster.to_string())
        .bind(signed(event.sequence))
        .bind(text)
        .execute(connection)
        .await
        .map(drop))
}

/// At most `limit` events after the one with this sequence.
///
/// # Errors
/// When the database refuses.
pub async fn page(db: &Db, cluster: &ClusterId, after: u64, limit: u32) -> Result<Vec<EventView>, sqlx::Error> {
    let texts: Vec<String> = on_db!(db, pool => sqlx::query_scalar(
            "SELECT event FROM events WHERE cluster_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3")
        .bind(cluster.to_string())
        .bind(signed(after))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?;
    texts.iter().map(|text| from_text(text)).collect()
}
