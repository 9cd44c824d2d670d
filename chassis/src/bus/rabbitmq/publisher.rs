//! Publishing with confirms.

use super::link::Link;
use super::session::{Session, within};
use super::topology::Topology;
use crate::bus::{BusError, Confirmation};
use bigdata_common::event::Envelope;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Confirmation as Verdict, PublisherConfirm};
use std::sync::Arc;
use std::time::Duration;

/// The header that says why a message was parked by us; the broker says in `x-first-death-reason` why it did.
pub(super) const REASON_HEADER: &str = "x-bigdata-reason";
/// Stored on disk.
const PERSISTENT: u8 = 2;
const JSON: &str = "application/json";

/// Publishes on the newest session of its link. Cheap to clone.
#[derive(Clone)]
pub(super) struct Publisher {
    pub(super) link: Link,
    pub(super) topology: Topology,
    pub(super) limit: Duration,
}

impl Publisher {
    /// Publishes an event to every queue that is bound to its type.
    pub(super) async fn publish(&self, envelope: &Envelope) -> Result<Confirmation, BusError> {
        let kind = envelope.event.kind();
        let payload = serde_json::to_vec(envelope).map_err(|error| BusError::Unavailable(error.to_string()))?;
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(JSON.into())
            .with_message_id(envelope.id.to_string().into())
            .with_type(kind.into());
        let (session, confirm) = self.send(self.topology.events(), kind.into(), &payload, properties).await?;
        let (limit, kind) = (self.limit, kind.to_owned());
        Ok(Confirmation::when(confirmed(session, confirm, limit, kind)))
    }

    /// Puts a message that `queue` cannot use into its parked queue, with the reason; returns when it is safe there.
    pub(super) async fn park(&self, queue: &str, payload: &[u8], reason: &str) -> Result<(), BusError> {
        let mut headers = FieldTable::default();
        headers.insert(REASON_HEADER.into(), AMQPValue::LongString(LongString::from(reason)));
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
        let name = self.topology.queue(queue);
        let (session, confirm) = self.send(self.topology.dead(), name.clone(), payload, properties).await?;
        confirmed(session, confirm, self.limit, name.to_string()).await
    }

    async fn send(
        &self,
        exchange: ShortString,
        key: ShortString,
        payload: &[u8],
        properties: BasicProperties,
    ) -> Result<(Arc<Session>, PublisherConfirm), BusError> {
        let session = self.link.now().map_err(BusError::Unavailable)?;
        if let Some(reason) = session.blocked() {
            return Err(BusError::Unavailable(format!("the broker takes no messages now: {reason}")));
        }
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sending = session.channel.basic_publish(exchange, key, options, payload, properties);
        match within(self.limit, "publishing", sending).await {
            Ok(confirm) => Ok((session, confirm)),
            Err(reason) => {
                give_up(&session);
                Err(BusError::Unavailable(reason))
            }
        }
    }
}

async fn confirmed(
    session: Arc<Session>,
    confirm: PublisherConfirm,
    limit: Duration,
    key: String,
) -> Result<(), BusError> {
    match within(limit, "confirming", confirm).await {
        Ok(Verdict::Ack(None)) => Ok(()),
        // The broker acknowledges what it could not route, too, and gives it back.
        Ok(Verdict::Ack(Some(_))) => Err(BusError::Unrouted(key)),
        Ok(Verdict::Nack(_) | Verdict::NotRequested) => Err(BusError::Unconfirmed),
        Err(reason) => {
            tracing::debug!(reason, key, "an event was not confirmed");
            give_up(&session);
            Err(BusError::Unconfirmed)
        }
    }
}

/// A session that does not answer is replaced; one that is blocked by an alarm answers when the alarm has ended.
fn give_up(session: &Session) {
    if session.blocked().is_none() {
        session.give_up();
    }
}
