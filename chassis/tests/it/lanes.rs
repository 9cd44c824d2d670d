//! Several deliveries at a time: each cluster's in their order, none held up by another's, none lost at the end.

use crate::{MIGRATIONS, envelope, eventually};
use bigdata_chassis::bus::Bus;
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::messaging::consumer::{self, HandleError, Handler};
use bigdata_chassis::{Clock, Db, Tasks, testing};
use bigdata_common::ClusterId;
use bigdata_common::event::Envelope;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

const KINDS: &[&str] = &["cluster.registered.v1"];
const LANES: usize = 4;

fn cluster(number: u64) -> ClusterId {
    ClusterId::parse_any(&format!("clusters/local/reference/1.0.0/{number}")).unwrap()
}

fn of(number: u64, revision: u32) -> Arc<Envelope> {
    Arc::new(Envelope { cluster_id: cluster(number), revision, ..envelope() })
}

/// Notes what it handles; events of cluster 1 need a permit.
struct Notes {
    handled: Mutex<BTreeMap<u64, Vec<u32>>>,
    at_a_time: AtomicUsize,
    most: AtomicUsize,
    permits: Semaphore,
}

impl Notes {
    fn new(permits: usize) -> Arc<Self> {
        let (at_a_time, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { handled: Mutex::default(), at_a_time, most, permits: Semaphore::new(permits) })
    }

    fn of(&self, number: u64) -> Vec<u32> {
        self.handled.lock().unwrap().get(&number).cloned().unwrap_or_default()
    }
}

#[async_trait::async_trait]
impl Handler for Notes {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        self.most.fetch_max(self.at_a_time.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let number = envelope.cluster_id.dn().number;
        if number == 1 {
            self.permits.acquire().await.unwrap().forget();
        }
        tokio::task::yield_now().await;
        self.at_a_time.fetch_sub(1, Ordering::SeqCst);
        self.handled.lock().unwrap().entry(number).or_default().push(envelope.revision);
        Ok(())
    }
}

/// A consumer with lanes on Postgres; None where the tests have none.
async fn start(notes: &Arc<Notes>, tasks: &Tasks) -> Option<(Arc<EmbeddedBus>, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let db = testing::databases(folder.path(), MIGRATIONS).await.into_iter().find(Db::is_postgres)?;
    let bus = Arc::new(EmbeddedBus::new().with_lanes(LANES));
    let (handler, queue) = (Arc::clone(notes) as Arc<dyn Handler>, Arc::clone(&bus) as Arc<dyn Bus>);
    consumer::spawn("notes", KINDS, &queue, db, Clock::system(), tasks, handler).await.unwrap();
    Some((bus, folder))
}

#[tokio::test]
async fn a_cluster_keeps_its_order_and_a_slow_one_holds_up_no_other() {
    let (notes, tasks) = (Notes::new(0), Tasks::new());
    let Some((bus, _folder)) = start(&notes, &tasks).await else { return };
    let mut confirmations = Vec::new();
    for revision in 1..=20 {
        // The slow one comes first each time.
        for number in 1..=8 {
            confirmations.push(bus.publish(of(number, revision)).await.unwrap());
        }
    }
    let all: Vec<u32> = (1..=20).collect();
    eventually("the others are handled", async || (2..=8).all(|number| notes.of(number).len() == 20)).await;
    assert!((2..=8).all(|number| notes.of(number) == all), "{:?}", notes.handled);
    assert!(notes.of(1).is_empty(), "the slow one is slow");
    assert_eq!(notes.most.load(Ordering::SeqCst), LANES, "so many at a time, and no more");
    notes.permits.add_permits(20);
    for confirmation in confirmations {
        confirmation.wait().await.unwrap();
    }
    assert_eq!(notes.of(1), all);
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn what_is_not_handled_at_the_end_is_given_back() {
    let (notes, tasks) = (Notes::new(1), Tasks::new());
    let Some((bus, _folder)) = start(&notes, &tasks).await else { return };
    let mut confirmations = Vec::new();
    for revision in 1..=3 {
        confirmations.push(bus.publish(of(1, revision)).await.unwrap());
    }
    eventually("one is handled", async || notes.of(1) == [1]).await;
    eventually("the next is under way", async || notes.at_a_time.load(Ordering::SeqCst) == 1).await;
    assert!(tasks.shut_down(crate::PATIENCE).await, "it does not wait for what is under way");
    let mut told = Vec::new();
    for confirmation in confirmations {
        told.push(confirmation.wait().await.is_ok());
    }
    assert_eq!(told, [true, false, false], "what was under way, and what waited, comes again");
}

#[tokio::test]
async fn sqlite_is_given_one_at_a_time() {
    let (notes, tasks) = (Notes::new(20), Tasks::new());
    let folder = tempfile::tempdir().unwrap();
    let db = testing::databases(folder.path(), MIGRATIONS).await.remove(0);
    assert!(!db.is_postgres());
    let bus = Arc::new(EmbeddedBus::new().with_lanes(LANES));
    let (handler, queue) = (Arc::clone(&notes) as Arc<dyn Handler>, Arc::clone(&bus) as Arc<dyn Bus>);
    consumer::spawn("notes", KINDS, &queue, db, Clock::system(), &tasks, handler).await.unwrap();
    let mut confirmations = Vec::new();
    for number in 1..=8 {
        confirmations.push(bus.publish(of(number, 1)).await.unwrap());
    }
    for confirmation in confirmations {
        confirmation.wait().await.unwrap();
    }
    assert_eq!(notes.most.load(Ordering::SeqCst), 1);
    assert!(tasks.shut_down(crate::PATIENCE).await);
}
