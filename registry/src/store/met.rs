//! What a fact meets when it comes.

use super::{clusters, from_text};
use crate::cluster::record::Cluster;
use bigdata_chassis::Tx;
use bigdata_chassis::db::TxInner;
use bigdata_chassis::messaging::inbox;
use bigdata_common::{ClusterId, EventId, Timestamp};
use std::sync::LazyLock;

/// What a fact meets.
#[derive(Debug)]
pub enum Met {
    /// Its cluster, held by the transaction until its end.
    Cluster(Box<Cluster>),
    /// It was handled before.
    Again,
    /// There is no such cluster.
    Unknown,
}

/// Notes that the event is handled, and gives the cluster that it is about as [`clusters::lock`] does.
///
/// # Errors
/// When the database refuses.
pub async fn meet(tx: &mut Tx, event: EventId, id: &ClusterId, now: Timestamp) -> Result<Met, sqlx::Error> {
    let TxInner::Postgres(transaction) = &mut tx.inner else {
        if !inbox::first_time(tx, event, now).await? {
            return Ok(Met::Again);
        }
        return Ok(clusters::lock(tx, id).await?.map_or(Met::Unknown, |cluster| Met::Cluster(Box::new(cluster))));
    };
    // One round trip. Nothing else is read by it: what a transaction sees that had to wait for the lock is, but for the
    // row that it waited for, as old as the beginning of the statement.
    static MEET: LazyLock<String> = LazyLock::new(|| {
        let note = inbox::NOTE;
        format!(
            "WITH noted AS ({note}) \
             SELECT record, EXISTS (SELECT 1 FROM noted) FROM clusters WHERE id = $3 FOR UPDATE"
        )
    });
    let met: Option<(String, bool)> = sqlx::query_as(MEET.as_str())
        .bind(event.to_string())
        .bind(now.as_millis())
        .bind(id.to_string())
        .fetch_optional(&mut **transaction)
        .await?;
    match met {
        None => Ok(Met::Unknown),
        Some((_, false)) => Ok(Met::Again),
        Some((record, true)) => Ok(Met::Cluster(Box::new(from_text(&record)?))),
    }
}
