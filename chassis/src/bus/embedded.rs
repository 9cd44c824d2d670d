//! The bus of services that share a process.
//!
//! It keeps nothing: the senders' outbox tables are its storage. An event is confirmed when every queue that is bound to
//! its type has handled it, so a crash at any instant leaves it in the outbox. In its hostile mode it duplicates, delays
//! and reorders by a seed, as a broker may.

use super::{Bus, BusError, Confirmation, Delivery, Settled, Subscription};
use bigdata_common::event::Envelope;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Deliveries that wait in one queue; a full one makes the publisher wait.
const QUEUE_LENGTH: usize = 256;

/// See the [module](self).
#[derive(Default)]
pub struct EmbeddedBus {
    queues: Mutex<Vec<Queue>>,
    hostility: Option<Mutex<SmallRng>>,
}

struct Queue {
    name: &'static str,
    kinds: &'static [&'static str],
    sender: mpsc::Sender<Delivery>,
}

/// What the hostile mode does to one delivery.
struct Mischief {
    delay: Duration,
    twice: bool,
}

impl EmbeddedBus {
    /// A bus that delivers each event once and in order, as long as nothing fails.
    pub fn new() -> Self {
        Self::default()
    }

    /// A bus that duplicates, delays and reorders by this seed.
    pub fn hostile(seed: u64) -> Self {
        Self { queues: Mutex::default(), hostility: Some(Mutex::new(SmallRng::seed_from_u64(seed))) }
    }

    fn bound_to(&self, kind: &str) -> Vec<mpsc::Sender<Delivery>> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.iter().filter(|queue| queue.kinds.contains(&kind)).map(|queue| queue.sender.clone()).collect()
    }

    fn mischief(&self) -> Option<Mischief> {
        let mut random = self.hostility.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Mischief {
            delay: Duration::from_millis(if random.random_ratio(1, 2) { random.random_range(0..40) } else { 0 }),
            twice: random.random_ratio(1, 4),
        })
    }
}

#[async_trait::async_trait]
impl Bus for EmbeddedBus {
    async fn publish(&self, envelope: Arc<Envelope>) -> Result<Confirmation, BusError> {
        let mut confirmations = Vec::new();
        for queue in self.bound_to(envelope.event.kind()) {
            let (settle, settled) = oneshot::channel();
            confirmations.push(settled);
            match self.mischief() {
                None => send(&queue, &envelope, Some(settle)).await?,
                Some(mischief) => {
                    let envelope = Arc::clone(&envelope);
                    tokio::spawn(async move {
                        tokio::time::sleep(mischief.delay).await;
                        if mischief.twice {
                            // An unconfirmed duplicate, as a broker sends after a lost acknowledgement.
                            let _ = send(&queue, &envelope, None).await;
                        }
                        let _ = send(&queue, &envelope, Some(settle)).await;
                    });
                }
            }
        }
        Ok(Confirmation::of(confirmations))
    }

    async fn subscribe(&self, queue: &'static str, kinds: &'static [&'static str]) -> Result<Subscription, BusError> {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // A queue without a consumer holds its events back, until a new consumer takes its place.
        queues.retain(|held| held.name != queue || !held.sender.is_closed());
        queues.push(Queue { name: queue, kinds, sender });
        Ok(Subscription(receiver))
    }
}

async fn send(
    queue: &mpsc::Sender<Delivery>,
    envelope: &Arc<Envelope>,
    settle: Option<oneshot::Sender<Settled>>,
) -> Result<(), BusError> {
    queue
        .send(Delivery { envelope: Arc::clone(envelope), settle })
        .await
        .map_err(|_| BusError::Unavailable("a queue's consumer has ended".to_owned()))
}
