//! How old the newest word of each node is. See [`Heard`](bigdata_common::internal::Heard).

use super::{parsed, signed};
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::internal::HeardNode;
use bigdata_common::{ClusterId, Name, Timestamp};
use indexmap::IndexMap;

/// Nodes that are written by one statement.
const WRITTEN_MAX: usize = 250;

/// Notes that the observations of these nodes still held when they were told again; what is newer or older than what is
/// known of a node changes nothing. A sender's clock that is ahead counts as now.
///
/// # Errors
/// When the database refuses.
pub async fn hear(tx: &mut Tx, nodes: &[HeardNode], now: Timestamp) -> Result<(), sqlx::Error> {
    for nodes in nodes.chunks(WRITTEN_MAX) {
        let row = |index: usize| {
            let place = index * 5;
            let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|offset| place + offset);
            format!("(${a}, ${b}, CAST(${c} AS BIGINT), CAST(${d} AS BIGINT), CAST(${e} AS BIGINT))")
        };
        let rows: Vec<String> = (0..nodes.len()).map(row).collect();
        let query = format!(
            "WITH heard (cluster_id, name, sequence, at_ms, holds_ms) AS (VALUES {}) \
             UPDATE nodes SET observed_at_ms = heard.at_ms, holds_ms = heard.holds_ms FROM heard \
             WHERE nodes.cluster_id = heard.cluster_id AND nodes.name = heard.name \
             AND nodes.sequence = heard.sequence AND nodes.observed_at_ms <= heard.at_ms",
            rows.join(", ")
        );
        on_tx!(tx, connection => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(query));
            for node in nodes {
                query = query
                    .bind(node.cluster.to_string())
                    .bind(node.node.as_str())
                    .bind(signed(node.sequence))
                    .bind(node.observed_at.min(now).as_millis())
                    .bind(signed(node.holds_ms));
            }
            query.execute(connection).await.map(drop)
        })?;
    }
    Ok(())
}

/// A running node's being without a word for too long, in SQL: the same as `NodeRow::silent_seconds`.
const IS_SILENT: &str = "n.status = 'running' AND n.holds_ms IS NOT NULL \
                         AND n.observed_at_ms + n.holds_ms + 15000 < $1";

/// The ids of at most `limit` ready clusters after this one with nodes that have fallen silent, or are heard of again, and
/// whose history does not say so yet.
///
/// # Errors
/// When the database refuses.
pub async fn turned(db: &Db, now: Timestamp, after: &str, limit: u32) -> Result<Vec<ClusterId>, sqlx::Error> {
    let query = format!(
        "SELECT DISTINCT n.cluster_id FROM nodes n JOIN clusters c ON c.id = n.cluster_id WHERE c.status = 'ready' \
         AND n.leaving = 0 AND n.holds_ms IS NOT NULL AND CASE WHEN {IS_SILENT} THEN 1 ELSE 0 END <> n.silent \
         AND n.cluster_id > $2 ORDER BY n.cluster_id LIMIT $3"
    );
    let ids: Vec<String> = on_db!(db, pool => sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(now.as_millis())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Notes what the cluster's history says of a node.
///
/// # Errors
/// When the database refuses.
pub async fn mark(tx: &mut Tx, cluster: &ClusterId, node: &Name, silent: bool) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("UPDATE nodes SET silent = $3 WHERE cluster_id = $1 AND name = $2")
        .bind(cluster.to_string())
        .bind(node.as_str())
        .bind(i64::from(silent))
        .execute(connection)
        .await
        .map(drop))
}

/// What is known of the age of a cluster's observations.
#[derive(Debug, Clone, Copy)]
pub struct Age {
    /// When the node was observed that was observed the longest ago.
    pub oldest: Option<Timestamp>,
    /// Whether there is no word of some node.
    pub silent: bool,
}

/// The age of the observations of every cluster whose id is from `first` to `last`.
///
/// # Errors
/// When the database refuses.
pub async fn ages(
    db: &Db,
    first: &ClusterId,
    last: &ClusterId,
    now: Timestamp,
) -> Result<IndexMap<String, Age>, sqlx::Error> {
    let query = format!(
        "SELECT n.cluster_id, MIN(n.observed_at_ms), COUNT(CASE WHEN {IS_SILENT} THEN 1 END) FROM nodes n \
         WHERE n.cluster_id >= $2 AND n.cluster_id <= $3 AND n.leaving = 0 GROUP BY n.cluster_id"
    );
    let rows: Vec<(String, Option<i64>, i64)> = on_db!(db, pool => sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(now.as_millis())
        .bind(first.to_string())
        .bind(last.to_string())
        .fetch_all(pool)
        .await)?;
    let age = |oldest: Option<i64>, silent| Age { oldest: oldest.map(Timestamp::from_millis), silent: silent > 0 };
    Ok(rows.into_iter().map(|(cluster, oldest, silent)| (cluster, age(oldest, silent))).collect())
}
