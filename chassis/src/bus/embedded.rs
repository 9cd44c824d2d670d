//! The bus of services that share a process.
//!
//! It keeps nothing: the senders' outbox tables are its storage. An event is confirmed when every queue that is bound to
//! its type has handled it, so a crash at any instant leaves it in the outbox. A queue whose consumers have ended holds
//! its events back. Whoever builds the process binds every queue before the first relay runs: an event that no queue is
//! bound to is confirmed. In its hostile mode it duplicates, delays and reorders by a seed, as a broker may.

use super::delivery::Settled;
use super::{Bus, BusError, Confirmation, Delivery, Subscription};
use bigdata_common::event::Envelope;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Deliveries that wait at one consumer; a full one makes the publisher wait.
const QUEUE_LENGTH: usize = 256;
/// For how long it makes the publisher wait.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// See the [module](self).
pub struct EmbeddedBus {
    queues: Mutex<Vec<Queue>>,
    hostility: Option<Mutex<SmallRng>>,
    lanes: usize,
}

struct Queue {
    name: &'static str,
    kinds: &'static [&'static str],
    /// The queue's consumers take turns; with none left it is bound all the same.
    consumers: Vec<mpsc::Sender<Delivery>>,
    turn: usize,
}

/// What the hostile mode does to one delivery.
struct Mischief {
    delay: Duration,
    twice: bool,
}

impl Default for EmbeddedBus {
    fn default() -> Self {
        Self::new()
    }
}

impl EmbeddedBus {
    /// A bus that delivers each event once and in order, as long as nothing fails.
    pub fn new() -> Self {
        Self { queues: Mutex::default(), hostility: None, lanes: 1 }
    }

    /// A bus that duplicates, delays and reorders by this seed.
    pub fn hostile(seed: u64) -> Self {
        Self { hostility: Some(Mutex::new(SmallRng::seed_from_u64(seed))), ..Self::new() }
    }

    /// The same, whose consumers handle so many clusters' events at a time.
    pub fn with_lanes(self, lanes: usize) -> Self {
        Self { lanes, ..self }
    }

    /// For each queue that is bound to `kind` the consumer whose turn it is; None where the queue has none.
    fn bound_to(&self, kind: &str) -> Vec<Option<mpsc::Sender<Delivery>>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.iter_mut().filter(|queue| queue.kinds.contains(&kind)).map(Queue::next_consumer).collect()
    }

    fn mischief(&self) -> Option<Mischief> {
        let mut random = self.hostility.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Mischief {
            delay: Duration::from_millis(if random.random_ratio(1, 2) { random.random_range(0..40) } else { 0 }),
            twice: random.random_ratio(1, 4),
        })
    }
}

impl Queue {
    fn next_consumer(&mut self) -> Option<mpsc::Sender<Delivery>> {
        self.consumers.retain(|consumer| !consumer.is_closed());
        self.turn = self.turn.wrapping_add(1);
        let index = self.turn.checked_rem(self.consumers.len())?;
        self.consumers.get(index).cloned()
    }
}

#[async_trait::async_trait]
impl Bus for EmbeddedBus {
    async fn publish(&self, envelope: Arc<Envelope>) -> Result<Confirmation, BusError> {
        let mut confirmations = Vec::new();
        for consumer in self.bound_to(envelope.event.kind()) {
            let consumer = consumer.ok_or_else(ended)?;
            let (settle, settled) = oneshot::channel();
            confirmations.push(settled);
            match self.mischief() {
                None => send(&consumer, &envelope, Some(settle)).await?,
                Some(mischief) => {
                    let envelope = Arc::clone(&envelope);
                    tokio::spawn(async move {
                        tokio::time::sleep(mischief.delay).await;
                        if mischief.twice {
                            // An unconfirmed duplicate, as a broker sends after a lost acknowledgement.
                            let _ = send(&consumer, &envelope, None).await;
                        }
                        let _ = send(&consumer, &envelope, Some(settle)).await;
                    });
                }
            }
        }
        Ok(Confirmation::when(async move {
            for settled in confirmations {
                match settled.await {
                    Ok(Settled::Handled) => {}
                    Ok(Settled::Returned) | Err(_) => return Err(BusError::Unconfirmed),
                }
            }
            Ok(())
        }))
    }

    async fn subscribe(&self, queue: &'static str, kinds: &'static [&'static str]) -> Result<Subscription, BusError> {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.iter_mut().find(|held| held.name == queue) {
            Some(held) => {
                held.kinds = kinds;
                held.consumers.push(sender);
            }
            None => queues.push(Queue { name: queue, kinds, consumers: vec![sender], turn: 0 }),
        }
        Ok(Subscription(receiver))
    }

    fn lanes(&self) -> usize {
        self.lanes
    }
}

async fn send(
    consumer: &mpsc::Sender<Delivery>,
    envelope: &Arc<Envelope>,
    settle: Option<oneshot::Sender<Settled>>,
) -> Result<(), BusError> {
    let delivery = Delivery::new(Arc::clone(envelope), settle);
    match tokio::time::timeout(SEND_TIMEOUT, consumer.send(delivery)).await {
        Ok(sent) => sent.map_err(|_| ended()),
        Err(_) => Err(BusError::Unavailable("a queue is full, and its consumer takes nothing".to_owned())),
    }
}

fn ended() -> BusError {
    BusError::Unavailable("a queue's consumer has ended".to_owned())
}
