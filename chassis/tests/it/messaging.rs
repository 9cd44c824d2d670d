//! Outbox, relay, inbox and consumer together, on both databases and a hostile bus.

use crate::{MIGRATIONS, cluster, envelope, eventually};
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::bus::{Bus, BusError, Confirmation, Subscription};
use bigdata_chassis::messaging::consumer::{self, HandleError, Handler};
use bigdata_chassis::messaging::relay::Relay;
use bigdata_chassis::messaging::{inbox, outbox, parked};
use bigdata_chassis::{Clock, Db, Tasks, on_db, on_tx, testing};
use bigdata_common::Timestamp;
use bigdata_common::event::{Envelope, Event};
use std::sync::Arc;

const KINDS: &[&str] = &["cluster.registered.v1", "cluster.changed.v1"];

/// Counts each event once; an event of the kind `changed` is poison.
struct Counter(Db);

#[async_trait::async_trait]
impl Handler for Counter {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        if envelope.event == (Event::ClusterChanged {}) {
            return Err(HandleError::Poison("nobody can read this".to_owned()));
        }
        let mut tx = self.0.begin().await?;
        if inbox::first_time(&mut tx, envelope.id, Timestamp::from_millis(1)).await? {
            on_tx!(tx, connection => sqlx::query(
                    "INSERT INTO handled (event_id, times) VALUES ($1, 1) \
                     ON CONFLICT (event_id) DO UPDATE SET times = handled.times + 1")
                .bind(envelope.id.to_string())
                .execute(connection)
                .await
                .map(drop))?;
        }
        tx.commit().await.map_err(HandleError::from)
    }
}

async fn count(db: &Db, query: &'static str) -> i64 {
    on_db!(db, pool => sqlx::query_scalar(query).fetch_one(pool).await).unwrap()
}

async fn enqueue(db: &Db, event: Event) {
    let mut tx = db.begin().await.unwrap();
    outbox::enqueue(&mut tx, &cluster(), 1, Timestamp::from_millis(0), event).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn every_event_is_handled_once_on_a_hostile_bus() {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::hostile(seed));
        let tasks = Tasks::new();
        let counter = Arc::new(Counter(db.clone()));
        consumer::spawn("counter", KINDS, &bus, db.clone(), Clock::system(), &tasks, counter).await.unwrap();
        Relay::new(db.clone(), bus, Clock::system()).spawn(&tasks);
        for _ in 0..100 {
            enqueue(&db, Event::ClusterRegistered {}).await;
        }
        eventually("100 events are handled", async || count(&db, "SELECT COUNT(*) FROM handled").await == 100).await;
        eventually("the outbox is empty", async || count(&db, "SELECT COUNT(*) FROM outbox").await == 0).await;
        assert_eq!(count(&db, "SELECT MAX(times) FROM handled").await, 1);
        assert!(tasks.shut_down(crate::PATIENCE).await);
    }
}

#[tokio::test]
async fn an_event_that_comes_again_half_an_hour_later_is_known() {
    const LATE_MILLIS: i64 = 31 * 60 * 1000;
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let (event, handled) = (envelope().id, Timestamp::from_millis(1_000_000));
        let again = async |now: Timestamp| {
            let mut tx = db.begin().await.unwrap();
            let forgotten = inbox::prune(&mut tx, now).await.unwrap();
            let first = inbox::first_time(&mut tx, event, now).await.unwrap();
            tx.commit().await.unwrap();
            (forgotten, first)
        };
        assert_eq!(again(handled).await, (0, true));
        assert_eq!(again(handled.plus_millis(LATE_MILLIS)).await, (0, false));
        let limit = handled.plus_millis(inbox::REMEMBERED_MILLIS);
        assert_eq!(again(limit).await, (0, false));
        assert_eq!(again(limit.plus_millis(1)).await, (1, true), "nothing is ever forgotten");
    }
}

#[tokio::test]
async fn poison_is_parked_with_its_reason_and_blocks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::new());
        let tasks = Tasks::new();
        let counter = Arc::new(Counter(db.clone()));
        consumer::spawn("counter", KINDS, &bus, db.clone(), Clock::system(), &tasks, counter).await.unwrap();
        let relay = Relay::new(db.clone(), bus, Clock::system());
        enqueue(&db, Event::ClusterChanged {}).await;
        enqueue(&db, Event::ClusterRegistered {}).await;
        assert_eq!(relay.step().await.unwrap(), 2);
        assert_eq!(count(&db, "SELECT COUNT(*) FROM handled").await, 1);
        let parked = "SELECT COUNT(*) FROM parked WHERE reason LIKE 'nobody can read this'";
        assert_eq!(count(&db, parked).await, 1);
        assert!(tasks.shut_down(crate::PATIENCE).await);
    }
}

#[tokio::test]
async fn an_event_that_nobody_confirmed_stays_in_the_outbox() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let bus = Arc::new(EmbeddedBus::new());
        let mut queue = bus.subscribe("queue", KINDS).await.unwrap();
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let relay = Arc::new(Relay::new(db.clone(), bus, clock.clone()));
        enqueue(&db, Event::ClusterRegistered {}).await;
        let stepping = tokio::spawn({
            let relay = Arc::clone(&relay);
            async move { relay.step().await.is_err() }
        });
        // The consumer dies with the delivery in its hands.
        drop(queue.next().await.unwrap());
        assert!(stepping.await.unwrap());
        assert_eq!(count(&db, "SELECT COUNT(*) FROM outbox").await, 1);
        // Past the lease it is published again.
        clock.advance_millis(60_000);
        let acknowledging = tokio::spawn(async move { queue.next().await.unwrap().ack().await });
        assert_eq!(relay.step().await.unwrap(), 1);
        acknowledging.await.unwrap();
        assert_eq!(count(&db, "SELECT COUNT(*) FROM outbox").await, 0);
    }
}

#[tokio::test]
async fn a_relay_that_is_to_end_does_not_wait_for_a_consumer_that_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let bus = Arc::new(EmbeddedBus::new());
        let mut queue = bus.subscribe("queue", KINDS).await.unwrap();
        let (tasks, clock) = (Tasks::new(), Clock::manual(Timestamp::from_millis(1_000_000)));
        Relay::new(db.clone(), bus.clone(), clock.clone()).spawn(&tasks);
        enqueue(&db, Event::ClusterRegistered {}).await;
        let held = queue.next().await.unwrap();
        assert!(tasks.shut_down(crate::PATIENCE).await);
        // It belongs to no relay any more: another one need not wait for the lease.
        clock.advance_millis(200);
        drop(held);
        let acknowledging = tokio::spawn(async move { queue.next().await.unwrap().ack().await });
        assert_eq!(Relay::new(db.clone(), bus, clock).step().await.unwrap(), 1);
        acknowledging.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_of_a_transaction_that_did_not_commit_is_published() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let mut tx = db.begin().await.unwrap();
        outbox::enqueue(&mut tx, &cluster(), 1, Timestamp::from_millis(0), Event::ClusterRegistered {}).await.unwrap();
        drop(tx);
        eventually("the rollback is done", async || count(&db, "SELECT COUNT(*) FROM outbox").await == 0).await;
    }
}

#[tokio::test]
async fn a_queue_whose_consumer_has_ended_holds_only_its_own_events_back() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::new());
        let tasks = Tasks::new();
        drop(bus.subscribe("ended", &["cluster.destroying.v1"]).await.unwrap());
        let counter = Arc::new(Counter(db.clone()));
        consumer::spawn("counter", KINDS, &bus, db.clone(), Clock::system(), &tasks, counter.clone()).await.unwrap();
        // Another relay takes at once what this one could not publish: on Postgres a lease keeps it for a while.
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let relay = Relay::new(db.clone(), Arc::clone(&bus), clock.clone());
        enqueue(&db, Event::ClusterRegistered {}).await;
        enqueue(&db, Event::ClusterDestroying {}).await;
        enqueue(&db, Event::ClusterRegistered {}).await;
        assert!(relay.step().await.is_err(), "one event has nobody who takes it");
        assert_eq!(count(&db, "SELECT COUNT(*) FROM handled").await, 2, "the others are not behind it");
        assert_eq!(count(&db, "SELECT COUNT(*) FROM outbox").await, 1, "it waits");
        let kinds = &["cluster.destroying.v1"];
        consumer::spawn("ended", kinds, &bus, db.clone(), Clock::system(), &tasks, counter).await.unwrap();
        clock.advance_millis(60_000);
        assert_eq!(relay.step().await.unwrap(), 1, "a new consumer of that queue takes it");
        assert_eq!(count(&db, "SELECT COUNT(*) FROM handled").await, 3);
        assert!(tasks.shut_down(crate::PATIENCE).await);
    }
}

#[tokio::test]
async fn every_event_is_handled_once_over_rabbitmq() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let Some((bus, tasks)) = crate::bus::on_a_broker().await else { return };
        // Two replicas of the service: two consumers on one queue, and on Postgres two relays on one outbox.
        for _ in 0..2 {
            let counter = Arc::new(Counter(db.clone()));
            consumer::spawn("counter", KINDS, &bus, db.clone(), Clock::system(), &tasks, counter).await.unwrap();
        }
        for _ in 0..if db.is_postgres() { 2 } else { 1 } {
            Relay::new(db.clone(), Arc::clone(&bus), Clock::system()).spawn(&tasks);
        }
        for _ in 0..100 {
            enqueue(&db, Event::ClusterRegistered {}).await;
        }
        eventually("100 events are handled", async || count(&db, "SELECT COUNT(*) FROM handled").await == 100).await;
        eventually("the outbox is empty", async || count(&db, "SELECT COUNT(*) FROM outbox").await == 0).await;
        assert_eq!(count(&db, "SELECT MAX(times) FROM handled").await, 1);
        assert!(tasks.shut_down(crate::PATIENCE).await);
    }
}

#[tokio::test]
async fn a_parked_event_is_listed_and_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::new());
        let tasks = Tasks::new();
        let counter = Arc::new(Counter(db.clone()));
        consumer::spawn("counter", KINDS, &bus, db.clone(), Clock::system(), &tasks, counter).await.unwrap();
        let relay = Relay::new(db.clone(), bus, Clock::system());
        enqueue(&db, Event::ClusterChanged {}).await;
        assert_eq!(relay.step().await.unwrap(), 1);
        let list = parked::list(&db, 10).await.unwrap();
        assert_eq!((list.len(), list[0].reason.as_str()), (1, "nobody can read this"));
        assert!(list[0].envelope.contains("cluster.changed.v1") && list[0].parked_at_ms > 0, "{list:?}");
        // What was wrong is mended meanwhile.
        let mended = list[0].envelope.replace("cluster.changed.v1", "cluster.registered.v1");
        let mut tx = db.begin().await.unwrap();
        let text = "UPDATE parked SET envelope = $1";
        on_tx!(tx, connection => sqlx::query(text).bind(mended).execute(connection).await.map(drop)).unwrap();
        tx.commit().await.unwrap();
        assert!(parked::retry(&db, &list[0].event_id).await.unwrap());
        assert_eq!(parked::list(&db, 10).await.unwrap(), []);
        assert_eq!(relay.step().await.unwrap(), 1);
        assert_eq!(count(&db, "SELECT COUNT(*) FROM handled").await, 1);
        assert!(!parked::retry(&db, &list[0].event_id).await.unwrap(), "it is parked no more");
        assert!(tasks.shut_down(crate::PATIENCE).await);
    }
}

#[tokio::test]
async fn what_cannot_be_read_in_the_outbox_is_parked() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let relay = Relay::new(db.clone(), Arc::new(EmbeddedBus::new()), Clock::system());
        let mut tx = db.begin().await.unwrap();
        let text = "INSERT INTO outbox (event_id, envelope) VALUES ('of-a-newer-version', '{\"id\": 7}')";
        on_tx!(tx, connection => sqlx::query(text).execute(connection).await.map(drop)).unwrap();
        tx.commit().await.unwrap();
        enqueue(&db, Event::ClusterRegistered {}).await;
        assert_eq!(relay.step().await.unwrap(), 2);
        assert_eq!(count(&db, "SELECT COUNT(*) FROM outbox").await, 0);
        let list = parked::list(&db, 10).await.unwrap();
        assert_eq!((list.len(), list[0].event_id.as_str()), (1, "of-a-newer-version"));
        assert!(list[0].reason.starts_with("it cannot be read: ") && list[0].envelope == "{\"id\": 7}", "{list:?}");
    }
}

#[tokio::test]
async fn two_relays_share_an_outbox_and_neither_publishes_what_the_other_does() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await.into_iter().filter(Db::is_postgres) {
        let bus = Arc::new(EmbeddedBus::new());
        let mut queue = bus.subscribe("queue", KINDS).await.unwrap();
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        for _ in 0..200 {
            enqueue(&db, Event::ClusterRegistered {}).await;
        }
        let relay = || Relay::new(db.clone(), Arc::clone(&bus) as Arc<dyn Bus>, clock.clone());
        // The first is killed with a batch in its hands: nobody acknowledges, and it never comes to its end.
        let killed = tokio::spawn({
            let relay = relay();
            async move { relay.step().await.map_err(|error| error.to_string()) }
        });
        let mut ids = std::collections::BTreeSet::new();
        let mut held = Vec::new();
        for _ in 0..128 {
            let delivery = queue.next().await.unwrap();
            ids.insert(delivery.envelope().id);
            held.push(delivery);
        }
        killed.abort();
        // The second takes what is left at once, and the first one's when the lease has ended.
        let consumer = tokio::spawn(async move {
            let mut ids = Vec::new();
            while let Some(delivery) = queue.next().await {
                ids.push(delivery.envelope().id);
                delivery.ack().await;
                if ids.len() == 200 {
                    break;
                }
            }
            ids
        });
        let second = relay();
        assert_eq!(second.step().await.unwrap(), 72);
        assert_eq!(second.step().await.unwrap(), 0, "the lease of the first one holds");
        clock.advance_millis(30_000);
        assert_eq!(second.step().await.unwrap(), 128);
        let published = consumer.await.unwrap();
        assert!(published[..72].iter().all(|id| !ids.contains(id)), "an event was published twice");
        assert!(published[72..].iter().all(|id| ids.contains(id)));
    }
}

/// A bus whose first subscription ends at once.
struct Forgetful(EmbeddedBus, std::sync::atomic::AtomicBool);

#[async_trait::async_trait]
impl Bus for Forgetful {
    async fn publish(&self, envelope: Arc<Envelope>) -> Result<Confirmation, BusError> {
        self.0.publish(envelope).await
    }

    async fn subscribe(&self, queue: &'static str, kinds: &'static [&'static str]) -> Result<Subscription, BusError> {
        if self.1.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return self.0.subscribe(queue, kinds).await;
        }
        // Of a bus that is gone right away.
        EmbeddedBus::new().subscribe(queue, kinds).await
    }
}

#[tokio::test]
async fn a_subscription_that_ends_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    for db in testing::databases(folder.path(), MIGRATIONS).await {
        let bus: Arc<dyn Bus> = Arc::new(Forgetful(EmbeddedBus::new(), false.into()));
        let tasks = Tasks::new();
        let counter = Arc::new(Counter(db.clone()));
        consumer::spawn("counter", KINDS, &bus, db.clone(), Clock::system(), &tasks, counter).await.unwrap();
        Relay::new(db.clone(), bus, Clock::system()).spawn(&tasks);
        eventually("an event is handled", async || {
            enqueue(&db, Event::ClusterRegistered {}).await;
            count(&db, "SELECT COUNT(*) FROM handled").await > 0
        })
        .await;
        assert!(tasks.shut_down(crate::PATIENCE).await);
    }
}
