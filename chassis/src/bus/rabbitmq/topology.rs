//! The names on the broker, and how each thing is declared.
//!
//! ```text
//!                        ┌─ BINDING: type of the event ─► PREFIX.QUEUE.v1 ── delivery limit ─┐
//!  PREFIX.events (topic) ┤                                                                    ▼
//!                        └─ …                             PREFIX.QUEUE.parked.v1 ◄── PREFIX.dead (direct)
//! ```
//!
//! The broker refuses to declare a queue again with other arguments: whoever changes them counts the version up.

use super::settings::BusSettings;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};

/// Messages kept in a parked queue; past it the oldest are dropped.
const PARKED_MAX: i32 = 100_000;
const VERSION: &str = "v1";

/// The names and arguments of one installation.
#[derive(Debug, Clone)]
pub(super) struct Topology {
    prefix: String,
    delivery_limit: u32,
}

impl Topology {
    pub(super) fn new(settings: &BusSettings) -> Self {
        Self { prefix: settings.prefix.clone(), delivery_limit: settings.delivery_limit }
    }

    /// Where events are published.
    pub(super) fn events(&self) -> ShortString {
        format!("{}.events", self.prefix).into()
    }

    /// Where a message goes that its queue gives up, under the name of its queue.
    pub(super) fn dead(&self) -> ShortString {
        format!("{}.dead", self.prefix).into()
    }

    pub(super) fn queue(&self, queue: &str) -> ShortString {
        format!("{}.{queue}.{VERSION}", self.prefix).into()
    }

    pub(super) fn parked(&self, queue: &str) -> ShortString {
        format!("{}.{queue}.parked.{VERSION}", self.prefix).into()
    }

    /// Declares the exchanges.
    pub(super) async fn declare_exchanges(&self, channel: &Channel) -> lapin::Result<()> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        for (name, kind) in [(self.events(), ExchangeKind::Topic), (self.dead(), ExchangeKind::Direct)] {
            channel.exchange_declare(name, kind, durable, FieldTable::default()).await?;
        }
        Ok(())
    }

    /// Declares a service's queue and its parked queue, and binds the former to these types of events.
    pub(super) async fn declare_queue(&self, channel: &Channel, queue: &str, kinds: &[&str]) -> lapin::Result<()> {
        let (name, parked) = (self.queue(queue), self.parked(queue));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let bind = QueueBindOptions::default();
        channel.queue_declare(parked.clone(), durable, parked_arguments()).await?;
        channel.queue_bind(parked, self.dead(), name.clone(), bind, FieldTable::default()).await?;
        channel.queue_declare(name.clone(), durable, self.queue_arguments(&name)).await?;
        for kind in kinds {
            let kind = ShortString::from(*kind);
            channel.queue_bind(name.clone(), self.events(), kind, bind, FieldTable::default()).await?;
        }
        Ok(())
    }

    /// Dead letters move at most once, the broker's default.
    fn queue_arguments(&self, name: &ShortString) -> FieldTable {
        let mut arguments = quorum();
        let limit = AMQPValue::LongLongInt(i64::from(self.delivery_limit));
        arguments.insert("x-delivery-limit".into(), limit);
        arguments.insert("x-dead-letter-exchange".into(), text(self.dead().as_str()));
        arguments.insert("x-dead-letter-routing-key".into(), text(name.as_str()));
        arguments
    }
}

fn parked_arguments() -> FieldTable {
    let mut arguments = quorum();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(PARKED_MAX));
    arguments
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
