//! Events enqueued in the transaction of the change that they tell of.

use crate::trace::Cause;
use crate::{Tx, on_tx};
use bigdata_common::event::{Envelope, Event};
use bigdata_common::{ClusterId, EventId, Timestamp};
use uuid::Uuid;

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
    let traceparent = Cause::current().child().traceparent;
    let envelope =
        Envelope { id: EventId(Uuid::now_v7()), cluster_id: cluster.clone(), revision, at, traceparent, event };
    let text = serde_json::to_string(&envelope).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    on_tx!(tx, connection => sqlx::query("INSERT INTO outbox (event_id, envelope) VALUES ($1, $2)")
        .bind(envelope.id.to_string())
        .bind(text)
        .execute(connection)
        .await
        .map(drop))?;
    tx.wake_outbox_on_commit();
    Ok(envelope.id)
}
