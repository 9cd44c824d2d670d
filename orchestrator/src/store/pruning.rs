//! What is forgotten: the oldest lines of long logs, and everything about clusters that are long gone.

use super::{Store, StoreError, as_i64};
use bigdata_chassis::{on_db, on_tx};
use bigdata_common::{ClusterId, Timestamp};

/// What is kept of a cluster: all of these tables have a column `cluster`.
const TABLES: [&str; 4] = ["log_lines", "outputs", "runs", "log_heads"];

impl Store {
    /// The clusters with a log, each with the time since when it is known to be gone.
    pub(crate) async fn logged(&self) -> Result<Vec<(ClusterId, Option<Timestamp>)>, StoreError> {
        let rows: Vec<(String, i64)> = on_db!(self.db, pool => sqlx::query_as(
                "SELECT cluster, gone_since_ms FROM log_heads ORDER BY cluster")
            .fetch_all(pool)
            .await)?;
        let read = |(text, since): (String, i64)| match text.parse() {
            Ok(cluster) => Ok((cluster, (since != 0).then_some(Timestamp::from_millis(since)))),
            Err(error) => Err(StoreError::Row { table: "log_heads", what: format!("{text}: {error}") }),
        };
        rows.into_iter().map(read).collect()
    }

    /// Notes that a cluster is gone, if that was not known.
    pub(crate) async fn note_gone(&self, cluster: &ClusterId) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        on_tx!(tx, connection => sqlx::query(
                "UPDATE log_heads SET gone_since_ms = $2 WHERE cluster = $1 AND gone_since_ms = 0")
            .bind(cluster.to_string())
            .bind(self.clock.now().as_millis())
            .execute(connection)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// Forgets everything about a cluster.
    pub(crate) async fn forget(&self, cluster: &ClusterId) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        for table in TABLES {
            on_tx!(tx, connection => sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table} WHERE cluster = $1")))
                .bind(cluster.to_string())
                .execute(connection)
                .await
                .map(drop))?;
        }
        Ok(tx.commit().await?)
    }

    /// Forgets a log's oldest lines; how many went.
    pub(crate) async fn keep_newest(&self, cluster: &ClusterId, lines_max: u64) -> Result<u64, StoreError> {
        let mut tx = self.db.begin().await?;
        let gone = on_tx!(tx, connection => sqlx::query(
                "DELETE FROM log_lines WHERE cluster = $1 AND sequence <= \
                 (SELECT last_sequence FROM log_heads WHERE log_heads.cluster = $1) - $2")
            .bind(cluster.to_string())
            .bind(as_i64(lines_max))
            .execute(connection)
            .await
            .map(|result| result.rows_affected()))?;
        tx.commit().await?;
        Ok(gone)
    }
}
