//! The deliveries of one queue, over all sessions.

use super::link::{Backoff, Link};
use super::publisher::Publisher;
use super::session::{Session, within};
use super::waits::Waits;
use crate::bus::Delivery;
use crate::bus::delivery::Settled;
use bigdata_common::event::Envelope;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery as Message;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Consumer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// The wait before a message is given back that could neither be used nor parked.
const PARK_BACKOFF: Duration = Duration::from_secs(1);

/// What becomes of a message, once it is known.
type Settling = FuturesUnordered<BoxFuture<'static, (Acker, Settled)>>;

/// Consumes one queue, for one [`crate::bus::Subscription`].
pub(super) struct Subscriber {
    pub(super) queue: &'static str,
    pub(super) kinds: &'static [&'static str],
    pub(super) link: Link,
    pub(super) publisher: Publisher,
    pub(super) waits: Arc<Waits>,
    pub(super) prefetch: u16,
    pub(super) limit: Duration,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    /// Whether the queue was bound and consumed.
    pub(super) bound: watch::Sender<bool>,
    pub(super) token: CancellationToken,
}

impl Subscriber {
    /// Works until the subscription is dropped or the work ends, over every loss of connection, channel or queue.
    pub(super) async fn run(mut self) {
        let part = format!("queue {}", self.queue);
        let mut backoff = Backoff::new();
        loop {
            let session = tokio::select! {
                () = self.token.cancelled() => break,
                () = self.deliveries.closed() => break,
                session = self.link.up() => session,
            };
            let Some(session) = session else { break };
            let reason = match self.begin(&session).await {
                Ok((channel, consumer)) => {
                    backoff = Backoff::new();
                    self.waits.has_part(&part);
                    self.bound.send_replace(true);
                    let reason = self.consume(&session, consumer).await;
                    drop(channel);
                    reason
                }
                Err(reason) => Some(reason),
            };
            let Some(reason) = reason else { break };
            tracing::warn!(queue = self.queue, reason, "a queue is consumed again");
            self.waits.for_part(&part, reason);
            tokio::select! {
                () = self.token.cancelled() => break,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
        self.waits.has_part(&part);
    }

    /// A channel of its own: what the broker does not like closes no other.
    async fn begin(&self, session: &Session) -> Result<(Channel, Consumer), String> {
        let channel = within(self.limit, "opening a channel", session.connection.create_channel()).await?;
        let topology = &self.publisher.topology;
        within(self.limit, "declaring the queue", topology.declare_queue(&channel, self.queue, self.kinds)).await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        within(self.limit, "bounding the deliveries", qos).await?;
        let name = topology.queue(self.queue);
        let consume = channel.basic_consume(name, "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let consumer = within(self.limit, "consuming the queue", consume).await?;
        Ok((channel, consumer))
    }

    /// Hands messages on and settles them until the session or the queue is lost: then the reason, else None.
    async fn consume(&self, session: &Session, mut consumer: Consumer) -> Option<String> {
        let mut settling = Settling::new();
        let mut waiting: Option<Delivery> = None;
        loop {
            tokio::select! {
                () = self.token.cancelled() => return None,
                () = self.deliveries.closed() => return None,
                () = session.given_up() => return Some("the connection was lost".to_owned()),
                Some((acker, settled)) = settling.next(), if !settling.is_empty() => {
                    if let Err(reason) = self.settle(&acker, settled).await {
                        return Some(reason);
                    }
                }
                // After a lost connection its deliveries may still fill the way to the handler.
                permit = self.deliveries.reserve(), if waiting.is_some() => match (permit, waiting.take()) {
                    (Ok(permit), Some(delivery)) => permit.send(delivery),
                    _ => return None,
                },
                message = consumer.next(), if waiting.is_none() => match message {
                    Some(Ok(message)) => waiting = self.accept(message, &settling),
                    Some(Err(error)) => return Some(error.to_string()),
                    None => return Some("the broker has ended it: the queue was deleted, or moved".to_owned()),
                },
            }
        }
    }

    /// The delivery that a message is; None where it is none, and is parked.
    fn accept(&self, message: Message, settling: &Settling) -> Option<Delivery> {
        let acker = message.acker;
        match serde_json::from_slice::<Envelope>(&message.data) {
            Ok(envelope) => {
                let (settle, settled) = oneshot::channel();
                settling.push(Box::pin(async move { (acker, settled.await.unwrap_or(Settled::Returned)) }));
                Some(Delivery::new(Arc::new(envelope), Some(settle)))
            }
            Err(error) => {
                let (publisher, queue) = (self.publisher.clone(), self.queue);
                let reason = format!("it is not an event: {error}");
                tracing::error!(queue, reason, "a message is parked");
                settling.push(Box::pin(async move {
                    match publisher.park(queue, &message.data, &reason).await {
                        Ok(()) => (acker, Settled::Handled),
                        Err(error) => {
                            tracing::warn!(queue, %error, "a message could not be parked; it comes again");
                            tokio::time::sleep(PARK_BACKOFF).await;
                            (acker, Settled::Returned)
                        }
                    }
                }));
                None
            }
        }
    }

    async fn settle(&self, acker: &Acker, settled: Settled) -> Result<(), String> {
        let settling = async {
            match settled {
                Settled::Handled => acker.ack(BasicAckOptions::default()).await,
                Settled::Returned => acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await,
            }
        };
        within(self.limit, "acknowledging", settling).await.map(drop)
    }
}
