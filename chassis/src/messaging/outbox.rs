//! Events enqueued in the transaction of the change that they tell of.

use crate::trace::Cause;
use crate::{Tx, on_tx};
use bigdata_common::event::{Envelope, Event};
use bigdata_common::{ClusterId, EventId, Timestamp};
use uuid::Uuid;

/// An event as the outbox holds it.
#[derive(Debug)]
pub struct Row {
    id: EventId,
    envelope: String,
}

impl Row {
    /// An event about `cluster` at `revision`, caused by what is being done now.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn new(cluster: &ClusterId, revision: u32, at: Timestamp, event: Event) -> Result<Self, sqlx::Error> {
        let Cause { request_id, traceparent } = Cause::current().child();
        let id = EventId(Uuid::now_v7());
        let envelope = Envelope { id, cluster_id: cluster.clone(), revision, at, request_id, traceparent, event };
        let envelope = serde_json::to_string(&envelope).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        Ok(Self { id, envelope })
    }
}

/// Enqueues an event about `cluster` at `revision`; it is published after the transaction has committed.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue(
    tx: &mut Tx,
    cluster: &ClusterId,
    revision: u32,
    at: Timestamp,
    event: Event,
) -> Result<EventId, sqlx::Error> {
    let row = Row::new(cluster, revision, at, event)?;
    enqueue_row(tx, &row).await?;
    Ok(row.id)
}

/// Enqueues an event that stands as a row already.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue_row(tx: &mut Tx, row: &Row) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("INSERT INTO outbox (event_id, envelope) VALUES ($1, $2)")
        .bind(row.id.to_string())
        .bind(&row.envelope)
        .execute(connection)
        .await
        .map(drop))?;
    tx.wake_outbox_on_commit();
    Ok(())
}

/// Hands out the columns of [`INSERT_ROWS`]: Postgres enqueues them by a statement of the service's own, which spares a
/// round trip. The caller executes it, and wakes the relay ([`Tx::wake_outbox_on_commit`], or
/// [`Db::wake_outbox`](crate::Db::wake_outbox) where the statement is its own transaction).
pub fn columns(rows: Vec<Row>) -> (Vec<String>, Vec<String>) {
    rows.into_iter().map(|row| (row.id.to_string(), row.envelope)).unzip()
}

/// Enqueues [`columns`] on Postgres, bound as `$1` and `$2`, as the last part of a statement.
pub const INSERT_ROWS: &str =
    "INSERT INTO outbox (event_id, envelope) SELECT * FROM UNNEST(CAST($1 AS TEXT[]), CAST($2 AS TEXT[]))";
