//! A cluster's history.

use super::{from_text, parsed, signed, unsigned};
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::api::cluster::EventView;
use bigdata_common::{ClusterId, Timestamp};

/// Forgets the history of at most `limit` clusters that were destroyed before this; how many they were.
///
/// # Errors
/// When the database refuses.
pub async fn forget(tx: &mut Tx, before: Timestamp, limit: u32) -> Result<usize, sqlx::Error> {
    // What another replica forgets now is left to it.
    let query = if tx.is_postgres() {
        "SELECT id FROM clusters WHERE ended_at_ms < $1 ORDER BY ended_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED"
    } else {
        "SELECT id FROM clusters WHERE ended_at_ms < $1 ORDER BY ended_at_ms LIMIT $2"
    };
    let ids: Vec<String> = on_tx!(tx, connection => sqlx::query_scalar(query)
        .bind(before.as_millis())
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await)?;
    for id in &ids {
        for query in [
            "DELETE FROM events WHERE cluster_id = $1",
            "DELETE FROM asked WHERE cluster_id = $1",
            "DELETE FROM retries WHERE cluster_id = $1",
            "UPDATE clusters SET ended_at_ms = NULL WHERE id = $1",
        ] {
            on_tx!(tx, connection => sqlx::query(query).bind(id).execute(connection).await.map(drop))?;
        }
    }
    Ok(ids.len())
}

/// Clusters that are asked for in one query.
const ASKED_MAX: usize = 200;

/// The sequence of the newest event of each of these clusters that has any.
///
/// # Errors
/// When the database refuses.
pub async fn newest(db: &Db, clusters: &[ClusterId]) -> Result<Vec<(ClusterId, u64)>, sqlx::Error> {
    let mut newest = Vec::new();
    for clusters in clusters.chunks(ASKED_MAX) {
        let places: Vec<String> = (1..=clusters.len()).map(|place| format!("${place}")).collect();
        // One look into the index for each.
        let query = format!(
            "SELECT c.id, (SELECT MAX(e.sequence) FROM events e WHERE e.cluster_id = c.id) FROM clusters c \
             WHERE c.id IN ({})",
            places.join(", ")
        );
        let rows: Vec<(String, Option<i64>)> = on_db!(db, pool => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(query));
            for cluster in clusters {
                query = query.bind(cluster.to_string());
            }
            query.fetch_all(pool).await
        })?;
        for (id, sequence) in rows {
            if let Some(sequence) = sequence {
                newest.push((parsed(&id)?, unsigned(sequence)));
            }
        }
    }
    Ok(newest)
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
