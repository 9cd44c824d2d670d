//! A broker of the test's own that is killed, comes back, and runs out of memory, under a relay that publishes.

use crate::bus_rabbitmq::connect;
use crate::{MIGRATIONS, PATIENCE, cluster, envelope, eventually};
use bigdata_chassis::bus::rabbitmq::BusSettings;
use bigdata_chassis::bus::{Bus, BusState};
use bigdata_chassis::messaging::consumer::{self, HandleError, Handler};
use bigdata_chassis::messaging::outbox;
use bigdata_chassis::messaging::relay::Relay;
use bigdata_chassis::{Clock, Db, on_db, testing};
use bigdata_common::event::{Envelope, Event};
use bigdata_common::{EventId, Timestamp};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const REGISTERED: &[&str] = &["cluster.registered.v1"];

/// A broker by `deploy/rabbitmq.sh`; ended when it is dropped.
struct Broker(PathBuf);

impl Broker {
    fn run(&self, action: &str, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rabbitmq.sh");
        let output = Command::new(script).arg(action).arg(&self.0).args(arguments).output().unwrap();
        assert!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.run("stop", &[]);
    }
}

#[derive(Default)]
struct Seen(Mutex<BTreeSet<EventId>>);

impl Seen {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn missing(&self, events: &[EventId]) -> usize {
        let seen = self.0.lock().unwrap();
        events.iter().filter(|id| !seen.contains(id)).count()
    }
}

#[async_trait::async_trait]
impl Handler for Seen {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        self.0.lock().unwrap().insert(envelope.id);
        Ok(())
    }
}

async fn enqueue(db: &Db, count: usize) -> Vec<EventId> {
    let mut tx = db.begin().await.unwrap();
    let mut events = Vec::new();
    for _ in 0..count {
        let event = Event::ClusterRegistered {};
        events.push(outbox::enqueue(&mut tx, &cluster(), 1, Timestamp::from_millis(0), event).await.unwrap());
    }
    tx.commit().await.unwrap();
    events
}

fn waits(bus: &Arc<dyn Bus>) -> bool {
    matches!(bus.state(), BusState::Waiting { .. })
}

/// A broker that was killed takes its time.
async fn works_again(bus: &Arc<dyn Bus>) {
    let begun = Instant::now();
    while waits(bus) {
        assert!(begun.elapsed() < PATIENCE, "the bus does not come back: {:?}", bus.state());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until these events are handled and none waits; says where the others are.
async fn handled(db: &Db, seen: &Seen, events: &[EventId]) {
    let begun = Instant::now();
    loop {
        let query = "SELECT COUNT(*) FROM outbox";
        let waiting: i64 = on_db!(db, pool => sqlx::query_scalar(query).fetch_one(pool).await).unwrap();
        let missing = seen.missing(events);
        if missing == 0 && waiting == 0 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{missing} are not handled, {waiting} wait in the outbox");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The broker starts on a thread of the runtime while the bus works on another.
///
/// What a consumer has in hand when the broker is killed is not asked for: a single broker (3.10.8) was seen to come
/// back without such events now and then. What rests in a queue, and what waits in the outbox, arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hangs_and_what_rests_survives_when_the_broker_dies_or_has_no_memory() {
    if testing::rabbitmq().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    make_passable(folder.path());
    let broker = Broker(folder.path().join("broker"));
    let url = broker.run("start", &[]);
    let (bus, tasks) = connect(&BusSettings { url, ..BusSettings::default() });
    let db = testing::databases(folder.path(), MIGRATIONS).await.remove(0);
    let consume = async |queue| {
        let seen = Arc::new(Seen::default());
        let handler = Arc::clone(&seen) as Arc<dyn Handler>;
        consumer::spawn(queue, REGISTERED, &bus, db.clone(), Clock::system(), &tasks, handler).await.unwrap();
        seen
    };
    drop(bus.subscribe("resting", REGISTERED).await.unwrap());
    let live = consume("live").await;
    Relay::new(db.clone(), Arc::clone(&bus), Clock::system()).spawn(&tasks);
    let mut all = enqueue(&db, 500).await;
    // Killed in the middle of it, and gone while more is to be published.
    eventually("some are handled", async || live.count() > 50).await;
    broker.run("kill", &[]);
    eventually("the bus says so", async || waits(&bus)).await;
    let meanwhile = enqueue(&db, 100).await;
    fails_at_once(&bus).await;
    broker.run("start", &[]);
    works_again(&bus).await;
    handled(&db, &live, &meanwhile).await;
    all.extend(meanwhile);

    // An alarm: the broker takes nothing, and those who publish hear of it in time.
    broker.run("ctl", &["set_vm_memory_high_watermark", "0.0000001"]);
    let meanwhile = enqueue(&db, 100).await;
    eventually("the bus says so", async || waits(&bus)).await;
    fails_at_once(&bus).await;
    broker.run("ctl", &["set_vm_memory_high_watermark", "0.4"]);
    works_again(&bus).await;
    handled(&db, &live, &meanwhile).await;
    all.extend(meanwhile);
    handled(&db, consume("resting").await.as_ref(), &all).await;
    assert!(tasks.shut_down(crate::PATIENCE).await, "a task did not end");
}

/// Before the limit for a confirmation has passed, which a broker has that is there.
async fn fails_at_once(bus: &Arc<dyn Bus>) {
    let begun = Instant::now();
    assert!(bus.publish(Arc::new(envelope())).await.is_err());
    let limit = Duration::from_millis(BusSettings::default().confirm_limit_ms);
    assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
}

/// The broker runs as another user, who must reach its folder.
fn make_passable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}
