//! The clusters' logs.

use super::{Claim, Store, StoreError, as_i64, storable};
use bigdata_chassis::{on_db, on_tx};
use bigdata_common::api::cluster::LogLine;
use bigdata_common::{ClusterId, OperationId, Timestamp};

/// Lines written by one statement.
const CHUNK: usize = 100;

/// A line that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLine {
    pub(crate) at: Timestamp,
    /// `stdout`, `stderr` or `platform`.
    pub(crate) stream: &'static str,
    pub(crate) line: String,
}

/// Whose lines are read.
#[derive(Debug, Clone)]
pub(crate) enum LogOf {
    /// All of a cluster.
    Cluster(ClusterId),
    /// Those of an operation's runs.
    Operation { operation: OperationId, cluster: ClusterId },
}

impl LogOf {
    /// The cluster whose log holds them.
    pub(crate) fn cluster(&self) -> &ClusterId {
        match self {
            Self::Cluster(cluster) | Self::Operation { cluster, .. } => cluster,
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    sequence: i64,
    at_ms: i64,
    action: String,
    stream: String,
    line: String,
}

impl From<Row> for LogLine {
    fn from(row: Row) -> Self {
        Self {
            sequence: row.sequence.unsigned_abs(),
            at: Timestamp::from_millis(row.at_ms),
            action: row.action,
            stream: row.stream,
            line: row.line,
        }
    }
}

impl Store {
    /// Stores lines of an attempt in one transaction; the sequence of the last. There are no gaps.
    pub(crate) async fn append_lines(&self, claim: &Claim, lines: &[NewLine]) -> Result<u64, StoreError> {
        let cluster = claim.cluster.to_string();
        let run = claim.run.run.to_string();
        let action = claim.run.action.as_str();
        let mut tx = self.db.begin().await?;
        self.fence(&mut tx, claim).await?;
        // The row is locked until the commit: a reader that saw a sequence has seen every lower one.
        let last: i64 = on_tx!(tx, connection => sqlx::query_scalar(
                "INSERT INTO log_heads (cluster, last_sequence) VALUES ($1, $2) ON CONFLICT (cluster) DO UPDATE \
                 SET last_sequence = log_heads.last_sequence + excluded.last_sequence, gone_since_ms = 0 \
                 RETURNING last_sequence")
            .bind(cluster.as_str())
            .bind(as_i64(lines.len() as u64))
            .fetch_one(connection)
            .await)?;
        let mut sequence = last - as_i64(lines.len() as u64);
        for chunk in lines.chunks(CHUNK) {
            on_tx!(tx, connection => {
                let mut builder = sqlx::QueryBuilder::new(
                    "INSERT INTO log_lines (cluster, sequence, at_ms, run_id, action, stream, line) ");
                builder.push_values(chunk, |mut row, line| {
                    sequence += 1;
                    row.push_bind(cluster.clone())
                        .push_bind(sequence)
                        .push_bind(line.at.as_millis())
                        .push_bind(run.clone())
                        .push_bind(action.to_owned())
                        .push_bind(line.stream)
                        .push_bind(storable(&line.line).into_owned());
                });
                builder.build().execute(connection).await.map(drop)
            })?;
        }
        tx.commit().await?;
        Ok(last.unsigned_abs())
    }

    /// Lines after `after` in order, at most `limit`.
    pub(crate) async fn lines_after(&self, of: &LogOf, after: u64, limit: u32) -> Result<Vec<LogLine>, StoreError> {
        let (query, whose) = match of {
            LogOf::Cluster(cluster) => (
                "SELECT sequence, at_ms, action, stream, line FROM log_lines WHERE cluster = $1 AND sequence > $2 \
                 ORDER BY sequence LIMIT $3",
                cluster.to_string(),
            ),
            LogOf::Operation { operation, .. } => (
                "SELECT sequence, at_ms, action, stream, line FROM log_lines WHERE sequence > $2 AND run_id IN \
                 (SELECT run_id FROM runs WHERE operation = $1) ORDER BY sequence LIMIT $3",
                operation.to_string(),
            ),
        };
        let rows: Vec<Row> = on_db!(self.db, pool => sqlx::query_as(query)
            .bind(whose)
            .bind(as_i64(after))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().map(LogLine::from).collect())
    }

    /// The sequence after which the last `tail` lines stand; 0 where there are not more.
    pub(crate) async fn before_tail(&self, of: &LogOf, tail: u64) -> Result<u64, StoreError> {
        let operation = match of {
            LogOf::Cluster(cluster) => {
                return Ok(self.last_sequence(cluster).await?.unwrap_or(0).saturating_sub(tail));
            }
            LogOf::Operation { operation, .. } => operation.to_string(),
        };
        let sequence: Option<i64> = on_db!(self.db, pool => sqlx::query_scalar(
                "SELECT sequence FROM log_lines WHERE run_id IN (SELECT run_id FROM runs WHERE operation = $1) \
                 ORDER BY sequence DESC LIMIT 1 OFFSET $2")
            .bind(operation)
            .bind(as_i64(tail))
            .fetch_optional(pool)
            .await)?;
        Ok(sequence.map_or(0, i64::unsigned_abs))
    }

    /// The last sequence of a cluster's log; None where it has none.
    pub(crate) async fn last_sequence(&self, cluster: &ClusterId) -> Result<Option<u64>, StoreError> {
        let last: Option<i64> = on_db!(self.db, pool => sqlx::query_scalar(
                "SELECT last_sequence FROM log_heads WHERE cluster = $1")
            .bind(cluster.to_string())
            .fetch_optional(pool)
            .await)?;
        Ok(last.map(i64::unsigned_abs))
    }
}
