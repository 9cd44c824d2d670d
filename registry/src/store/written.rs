//! What happened to a cluster in one transaction, written at once.

use super::{signed, to_text};
use crate::cluster::record::Cluster;
use bigdata_chassis::db::TxInner;
use bigdata_chassis::messaging::outbox;
use bigdata_chassis::{Tx, on_tx};
use bigdata_common::api::cluster::EventView;
use bigdata_common::api::operation::OperationView;
use bigdata_common::{OperationId, Timestamp};

/// What happened.
#[derive(Debug, Default)]
pub struct Written {
    /// Operations, new or changed.
    pub operations: Vec<OperationView>,
    /// Operations of which nothing stays.
    pub forgotten: Vec<OperationId>,
    /// New entries of the history, whose sequences were counted up on the cluster.
    pub events: Vec<EventView>,
    /// Events that are to be told.
    pub outbox: Vec<outbox::Row>,
}

/// What happened, as tables have it, but for the outbox.
pub(super) struct Rows {
    /// Sequences and events.
    pub(super) events: (Vec<i64>, Vec<String>),
    /// Ids and views of operations.
    pub(super) operations: (Vec<String>, Vec<String>),
}

pub(super) fn rows(written: &Written) -> Result<Rows, sqlx::Error> {
    let events = written.events.iter().map(|event| Ok((signed(event.sequence), to_text(event)?)));
    let operations = written.operations.iter().map(|operation| Ok((operation.id.to_string(), to_text(operation)?)));
    let (events, operations) =
        (events.collect::<Result<_, sqlx::Error>>()?, operations.collect::<Result<_, sqlx::Error>>()?);
    Ok(Rows { events, operations })
}

/// The columns of a cluster that change.
struct Columns {
    id: String,
    user: String,
    status: &'static str,
    deadline_at_ms: Option<i64>,
    record: String,
    ended_at_ms: Option<i64>,
}

/// Stores a cluster that [`lock`](super::clusters::lock) gave, or that the transaction has inserted, with all of it.
///
/// # Errors
/// When the database refuses, above all where the sequence of an entry is taken.
pub async fn write(tx: &mut Tx, cluster: &Cluster, written: Written) -> Result<(), sqlx::Error> {
    let columns = Columns {
        id: cluster.id.to_string(),
        user: cluster.id.dn().user.to_string(),
        status: cluster.state.status().as_str(),
        deadline_at_ms: cluster.due_at().map(Timestamp::as_millis),
        record: to_text(cluster)?,
        ended_at_ms: cluster.ended_at().map(Timestamp::as_millis),
    };
    let (rows, forgotten) = (rows(&written)?, written.forgotten);
    if tx.is_postgres() {
        at_once(tx, columns, rows, written.outbox).await?;
    } else {
        one_by_one(tx, columns, rows, &written.outbox).await?;
    }
    for operation in forgotten {
        on_tx!(tx, connection => sqlx::query("DELETE FROM operations WHERE id = $1")
            .bind(operation.to_string())
            .execute(connection)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// Postgres: a round trip.
async fn at_once(tx: &mut Tx, cluster: Columns, rows: Rows, outbox: Vec<outbox::Row>) -> Result<(), sqlx::Error> {
    static WRITE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let enqueue = outbox::INSERT_ROWS;
        format!(
            "WITH cluster AS (\
                 UPDATE clusters SET status = $5, deadline_at_ms = $6, record = $7, ended_at_ms = $8 WHERE id = $3), \
             history AS (\
                 INSERT INTO events (cluster_id, sequence, event) \
                 SELECT $3, * FROM UNNEST(CAST($9 AS BIGINT[]), CAST($10 AS TEXT[]))), \
             changed AS (\
                 INSERT INTO operations (id, cluster_id, user_name, view) \
                 SELECT o.id, $3, $4, o.view FROM UNNEST(CAST($11 AS TEXT[]), CAST($12 AS TEXT[])) AS o (id, view) \
                 ON CONFLICT (id) DO UPDATE SET view = excluded.view) \
             {enqueue}"
        )
    });
    if !outbox.is_empty() {
        tx.wake_outbox_on_commit();
    }
    let (ids, envelopes) = outbox::columns(outbox);
    let ((sequences, events), (operations, views)) = (rows.events, rows.operations);
    let TxInner::Postgres(transaction) = &mut tx.inner else { return Ok(()) };
    sqlx::query(WRITE.as_str())
        .bind(ids)
        .bind(envelopes)
        .bind(cluster.id)
        .bind(cluster.user)
        .bind(cluster.status)
        .bind(cluster.deadline_at_ms)
        .bind(cluster.record)
        .bind(cluster.ended_at_ms)
        .bind(sequences)
        .bind(events)
        .bind(operations)
        .bind(views)
        .execute(&mut **transaction)
        .await
        .map(drop)
}

/// SQLite: no statement changes two tables.
async fn one_by_one(tx: &mut Tx, cluster: Columns, rows: Rows, outbox: &[outbox::Row]) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query(
            "UPDATE clusters SET status = $2, deadline_at_ms = $3, record = $4, ended_at_ms = $5 WHERE id = $1")
        .bind(&cluster.id)
        .bind(cluster.status)
        .bind(cluster.deadline_at_ms)
        .bind(&cluster.record)
        .bind(cluster.ended_at_ms)
        .execute(connection)
        .await
        .map(drop))?;
    for (sequence, event) in rows.events.0.into_iter().zip(rows.events.1) {
        on_tx!(tx, connection => sqlx::query("INSERT INTO events (cluster_id, sequence, event) VALUES ($1, $2, $3)")
            .bind(&cluster.id)
            .bind(sequence)
            .bind(event)
            .execute(connection)
            .await
            .map(drop))?;
    }
    for (id, view) in rows.operations.0.into_iter().zip(rows.operations.1) {
        on_tx!(tx, connection => sqlx::query(
                "INSERT INTO operations (id, cluster_id, user_name, view) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (id) DO UPDATE SET view = excluded.view")
            .bind(id)
            .bind(&cluster.id)
            .bind(&cluster.user)
            .bind(view)
            .execute(connection)
            .await
            .map(drop))?;
    }
    for row in outbox {
        outbox::enqueue_row(tx, row).await?;
    }
    Ok(())
}
