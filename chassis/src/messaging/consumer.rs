//! Hands deliveries to a service's handler until each is handled or parked.

use super::parked;
use super::turns::Turns;
use crate::bus::{Bus, BusError, Delivery, Subscription};
use crate::condition::Condition;
use crate::trace::{self, Cause};
use crate::{Clock, Db, Tasks};
use bigdata_common::ClusterId;
use bigdata_common::event::Envelope;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often a delivery fails before it is parked. What fails while the database is away does not count.
const FAILURES_MAX: u32 = 8;
/// Deliveries that wait in here at most; a bus has limits of its own, which are lower.
const WAITING_MAX: usize = 1024;
/// The longest time for one try: past it the handler is taken to hang.
const HANDLE_LIMIT: Duration = Duration::from_secs(60);
/// The first and the longest wait between two tries.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Why an event was not handled.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// It may work later.
    #[error("for now: {0}")]
    Retry(String),
    /// Something that every event needs is away: it is tried until that is back, and never parked for it.
    #[error("for now: {0}")]
    Unavailable(String),
    /// It will never work.
    #[error("{0}")]
    Poison(String),
}

impl From<sqlx::Error> for HandleError {
    fn from(error: sqlx::Error) -> Self {
        match Condition::of(&error) {
            Some(condition) if condition.lasts() => Self::Unavailable(error.to_string()),
            _ => Self::Retry(error.to_string()),
        }
    }
}

/// What a service does with the events of its queue.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles one event. It may come twice, late, and out of order: use [`crate::messaging::inbox`] in the same
    /// transaction as the change, or do what gives the same result twice. Returns before any long work: after 60 s it is
    /// dropped, and tried again.
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError>;
}

/// Binds the queue named `queue` to these event types and handles what comes, until the tasks end: as many clusters at a
/// time as the bus says (on SQLite one), and the events of each in the order in which they came. When the bus drops the
/// subscription, the queue is subscribed to again.
///
/// # Errors
/// When the bus cannot bind the queue.
pub async fn spawn(
    queue: &'static str,
    kinds: &'static [&'static str],
    bus: &Arc<dyn Bus>,
    db: Db,
    clock: Clock,
    tasks: &Tasks,
    handler: Arc<dyn Handler>,
) -> Result<(), BusError> {
    let subscription = bus.subscribe(queue, kinds).await?;
    let (bus, token) = (Arc::clone(bus), tasks.token());
    let turns = Turns::new(bus.lanes().min(db.concurrency()));
    let consumer = Arc::new(Consumer { queue, kinds, db, clock, handler });
    tasks.spawn("event consumer", async move {
        let mut under_way = JoinSet::new();
        // What is dropped in the middle, or waits, is delivered again.
        tokio::select! {
            () = token.cancelled() => {}
            () = consume(&consumer, subscription, bus.as_ref(), turns, &mut under_way) => {}
        }
        under_way.shutdown().await;
    });
    Ok(())
}

/// Works for ever.
async fn consume(
    consumer: &Arc<Consumer>,
    mut subscription: Subscription,
    bus: &dyn Bus,
    mut turns: Turns<Delivery>,
    under_way: &mut JoinSet<ClusterId>,
) {
    loop {
        while let Some((cluster, delivery)) = turns.begin() {
            let consumer = Arc::clone(consumer);
            under_way.spawn(async move {
                consumer.handle(delivery).await;
                cluster
            });
        }
        tokio::select! {
            Some(ended) = under_way.join_next() => match ended {
                Ok(cluster) => turns.end(cluster),
                // A handler that panics ends the service's work, as every task does.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            delivery = subscription.next(), if turns.waiting() < WAITING_MAX => match delivery {
                Some(delivery) => turns.add(delivery.envelope().cluster_id.clone(), delivery),
                None => subscription = subscribe_again(consumer.queue, consumer.kinds, bus).await,
            },
        }
    }
}

async fn subscribe_again(queue: &'static str, kinds: &'static [&'static str], bus: &dyn Bus) -> Subscription {
    let mut backoff = BACKOFF_MIN;
    loop {
        tracing::warn!(queue, "the bus has dropped the subscription; it is made again");
        tokio::time::sleep(backoff).await;
        match bus.subscribe(queue, kinds).await {
            Ok(subscription) => return subscription,
            Err(error) => tracing::warn!(queue, %error, "the queue cannot be subscribed to"),
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

struct Consumer {
    queue: &'static str,
    kinds: &'static [&'static str],
    db: Db,
    clock: Clock,
    handler: Arc<dyn Handler>,
}

impl Consumer {
    /// Tries until the event is handled or parked. Giving it back instead would only count up its deliveries, past which
    /// a broker parks it: a database that is away for a while is no fault of the event.
    async fn handle(&self, delivery: Delivery) {
        let envelope = delivery.envelope();
        let (mut failures, mut backoff) = (0, BACKOFF_MIN);
        loop {
            let error = match tried(self.handler.as_ref(), &envelope, HANDLE_LIMIT).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let (queue, kind, reason) = (self.queue, envelope.event.kind(), error.to_string());
            // Whatever the handler makes of it: without its database it cannot do its work.
            if counts(&error) && self.db.waiting_events().await.is_ok() {
                failures += 1;
            }
            if is_tried_again(&error, failures) {
                tracing::debug!(queue, event.id = %envelope.id, kind, failures, reason, "an event is tried again");
            } else {
                tracing::error!(queue, event.id = %envelope.id, kind, reason, "an event is parked");
                match self.park(&envelope, &reason).await {
                    Ok(()) => break,
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(queue, event.id = %envelope.id, error, "an event could not be parked");
                    }
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        delivery.ack().await;
    }

    async fn park(&self, envelope: &Envelope, reason: &str) -> Result<(), sqlx::Error> {
        let text = serde_json::to_string(envelope).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        parked::park(&self.db, &envelope.id.to_string(), &text, reason, self.clock.now()).await
    }
}

/// Whether the event may be to blame.
fn counts(error: &HandleError) -> bool {
    match error {
        HandleError::Retry(_) | HandleError::Poison(_) => true,
        HandleError::Unavailable(_) => false,
    }
}

/// Whether an event that has failed so often, and now with this, is tried again; else it is parked.
fn is_tried_again(error: &HandleError, failures: u32) -> bool {
    match error {
        HandleError::Retry(_) => failures < FAILURES_MAX,
        HandleError::Unavailable(_) => true,
        HandleError::Poison(_) => false,
    }
}

/// One try, within `limit`.
async fn tried(handler: &dyn Handler, envelope: &Envelope, limit: Duration) -> Result<(), HandleError> {
    let late = || HandleError::Retry(format!("its handler took longer than {} s", limit.as_secs_f32()));
    let cause = Cause { request_id: envelope.request_id.clone(), traceparent: envelope.traceparent.clone() };
    let span = tracing::info_span!(
        "event",
        event.id = %envelope.id,
        kind = envelope.event.kind(),
        cluster.id = %envelope.cluster_id,
        request_id = cause.request_id,
        trace_id = cause.trace_id(),
    );
    let handling = trace::within_span(cause, span, handler.handle(envelope));
    tokio::time::timeout(limit, handling).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::event::Event;
    use bigdata_common::{ClusterId, EventId, Timestamp};

    struct Stuck;

    #[async_trait::async_trait]
    impl Handler for Stuck {
        async fn handle(&self, _: &Envelope) -> Result<(), HandleError> {
            std::future::pending().await
        }
    }

    #[test]
    fn what_the_database_is_to_blame_for_is_never_parked() {
        let away = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for error in [sqlx::Error::Io(away), sqlx::Error::PoolTimedOut] {
            let error = HandleError::from(error);
            assert!(!counts(&error) && is_tried_again(&error, u32::MAX), "{error:?}");
        }
        let fault = HandleError::from(sqlx::Error::RowNotFound);
        assert!(counts(&fault) && is_tried_again(&fault, FAILURES_MAX - 1) && !is_tried_again(&fault, FAILURES_MAX));
        assert!(!is_tried_again(&HandleError::Poison("no event".to_owned()), 0));
    }

    /// Says something, and tells what caused it.
    struct Says(std::sync::Mutex<Option<Cause>>);

    #[async_trait::async_trait]
    impl Handler for Says {
        async fn handle(&self, _: &Envelope) -> Result<(), HandleError> {
            *self.0.lock().unwrap() = Some(Cause::current());
            tracing::info!("it is handled");
            Ok(())
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_a_handler_says_names_the_request_behind_its_event() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        let envelope = Envelope { request_id: Some("r-7".to_owned()), traceparent: Some(trace), ..envelope() };
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let says = Says(std::sync::Mutex::default());
        let _logs = tracing::subscriber::set_default(subscriber);
        tried(&says, &envelope, HANDLE_LIMIT).await.unwrap();
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        let expected = serde_json::json!({
            "name": "event",
            "event.id": envelope.id.to_string(),
            "kind": "cluster.registered.v1",
            "cluster.id": envelope.cluster_id.to_string(),
            "request_id": "r-7",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        });
        assert_eq!(line["span"], expected, "{text}");
        let cause = says.0.lock().unwrap().take().unwrap();
        assert_eq!((cause.request_id, cause.traceparent), (envelope.request_id, envelope.traceparent));
    }

    #[test]
    fn an_event_of_a_former_version_has_no_request() {
        let mut json = serde_json::to_value(envelope()).unwrap();
        assert_eq!(json.get("request_id"), None, "former versions are told nothing new where there is nothing");
        json["hereafter"] = 7.into();
        assert_eq!(serde_json::from_value::<Envelope>(json).unwrap().request_id, None);
    }

    fn envelope() -> Envelope {
        Envelope {
            id: EventId(uuid::Uuid::now_v7()),
            cluster_id: ClusterId::parse_any("clusters/local/reference/1.0.0/1").unwrap(),
            revision: 1,
            at: Timestamp::from_millis(0),
            request_id: None,
            traceparent: None,
            event: Event::ClusterRegistered {},
        }
    }

    #[tokio::test]
    async fn a_handler_that_hangs_is_tried_again() {
        let error = tried(&Stuck, &envelope(), Duration::from_millis(10)).await.unwrap_err();
        assert!(matches!(&error, HandleError::Retry(reason) if reason.contains("longer than 0.01 s")), "{error}");
    }
}
