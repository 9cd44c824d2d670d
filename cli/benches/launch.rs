//! How long the answer to a launch takes, against what it cannot do without, in one run:
//!
//!     cargo bench -p bigdata-cli --bench launch [-- CLUSTERS]
//!
//! Every service runs once, in this process, on a Postgres that syncs every commit, a RabbitMQ and a Mesos engine. First
//! one client launches clusters through the gateway, each a tenth of a second after the former was ready, when nothing is
//! left to do for that one; in turns with that and ten times a second as well, one client of pgbench stores an event
//! (BEGIN, INSERT, COMMIT), and an event is published and confirmed; and both one after the other. Then
//! CLUSTERS (1000) clusters stand ready, and while some are destroyed and others launched all the time, the client
//! launches ten a second.
//!
//! A node's executor is a small process that enrols and says that its node runs (framework/examples/obedient_executor.rs):
//! the engine starts no other one and no workload, so the machine is the control plane's.

#[path = "../../framework/examples/obedient_executor.rs"]
mod obedient_executor;
#[allow(dead_code, reason = "another bench uses the rest of it")]
mod servers;
mod services;

use bigdata_chassis::bus::Bus;
use bigdata_chassis::bus::rabbitmq::{BusSettings, RabbitBus};
use bigdata_chassis::{Clock, Tasks};
use bigdata_common::event::{Envelope, Event, subscriptions};
use bigdata_common::{ClusterId, EventId};
use servers::Servers;
use services::{Client, EXECUTOR, Services};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often everything is measured in turn, and how much of it each time.
const ROUNDS: usize = 7;
const LAUNCHES: usize = 30;
const PUBLISHES: usize = 30;
/// Who destroys and launches at the same time.
const CHURNERS: usize = 4;
/// How long.
const CHURN: Duration = Duration::from_secs(60);
/// Between a client's launches.
const PAUSE: Duration = Duration::from_millis(100);
/// The same, by the second.
const RATE: u32 = 10;

const TABLE: &str = "DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare; \
    CREATE TABLE bare.events (LIKE registry.events INCLUDING ALL); CREATE SEQUENCE bare.sequence CACHE 100";

const TRANSACTION: &str = r#"BEGIN;
INSERT INTO bare.events (cluster_id, sequence, event) VALUES ('clusters--ann--bench--1__0--1', nextval('bare.sequence'),
  '{"sequence":1,"at":"2026-01-01T00:00:00.000Z","kind":"status","status":"registered","node":null,"message":"registered"}');
COMMIT;
"#;

fn main() {
    // Templates are rendered by small processes of this program's.
    bigdata_sandbox::main_if_requested();
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == EXECUTOR) {
        obedient_executor::main().expect("the executor ends well");
        return;
    }
    let clusters = arguments.iter().filter_map(|argument| argument.parse().ok()).next().unwrap_or(1000);
    let servers = Servers::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let services = runtime.block_on(Services::start(&servers, folder.path()));
    let client = Client::new(services.gateway);
    client.register();
    let publisher = runtime.block_on(Publisher::start(&servers));
    let launched = alone(&servers, &client, || runtime.block_on(publisher.publish()));
    churn(services.gateway, &client, clusters, launched);
    runtime.block_on(async {
        assert!(publisher.tasks.shut_down(Duration::from_secs(20)).await, "the publisher ends");
        services.end().await;
    });
}

/// One client's launches, and what they cannot do without; the clusters that were launched.
fn alone(servers: &Servers, client: &Client, publish: impl Fn() -> Duration) -> Vec<String> {
    servers.sql(TABLE);
    let (mut launched, mut all, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [paused, hot] = [Some(RATE), None].map(|rate| {
            let transaction = quantile(&mut servers.latencies(TRANSACTION, rate), 0.5);
            let mut publishes = Vec::new();
            for _ in 0..PUBLISHES {
                rate.inspect(|_| std::thread::sleep(PAUSE));
                publishes.push(publish());
            }
            [transaction, quantile(&mut publishes, 0.5)]
        });
        let mut launches = Vec::new();
        for _ in 0..LAUNCHES {
            std::thread::sleep(PAUSE);
            let (dn, took) = client.launch();
            client.wait(&dn, "ready");
            launches.push(took);
            launched.push(dn);
        }
        all.extend_from_slice(&launches);
        rounds.push((quantile(&mut launches, 0.5), paused, hot));
    }
    let mut posts: Vec<Duration> = rounds.iter().map(|(post, ..)| *post).collect();
    let (half, most) = (quantile(&mut posts, 0.5), quantile(&mut all, 0.99));
    println!("POST of a launch, one client: p50 {half:.2?}, p99 {most:.2?}");
    against("in the same rhythm", rounds.iter().map(|(post, paused, _)| (*post, *paused)));
    against("one after the other", rounds.iter().map(|(post, _, hot)| (*post, *hot)));
    launched
}

/// Says how long a transaction and a publish took, and how much longer the POST, by the median of the rounds.
fn against(how: &str, rounds: impl Iterator<Item = (Duration, [Duration; 2])> + Clone) {
    let of = |position: usize| quantile(&mut rounds.clone().map(|(_, bare)| bare[position]).collect::<Vec<_>>(), 0.5);
    let mut ratios: Vec<f64> =
        rounds.clone().map(|(post, [one, two])| post.as_secs_f64() / (one + two).as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "  {how}, a transaction {:.2?}, a confirmed publish {:.2?}: {:.2} x their sum",
        of(0),
        of(1),
        ratios[ratios.len() / 2]
    );
}

/// The clusters that are there, the oldest first.
type Standing = Mutex<VecDeque<String>>;

/// Launches while clusters come and go.
fn churn(gateway: SocketAddr, client: &Client, clusters: usize, launched: Vec<String>) {
    let (standing, churned, ends) = (Standing::new(launched.into()), AtomicUsize::new(0), AtomicBool::new(false));
    let begun = Instant::now();
    fill(gateway, &standing, clusters);
    println!("{} clusters stand after {:.1?}", locked(&standing).len(), begun.elapsed());
    let mut took = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..CHURNERS {
            scope.spawn(|| {
                let client = Client::new(gateway);
                while !ends.load(Ordering::Relaxed) {
                    let oldest = locked(&standing).pop_front();
                    oldest.inspect(|dn| client.destroy(dn));
                    if locked(&standing).len() < clusters {
                        let (dn, _) = client.launch();
                        client.wait(&dn, "ready");
                        locked(&standing).push_back(dn);
                    }
                    churned.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < CHURN {
            let (dn, answered) = client.launch();
            took.push(answered);
            locked(&standing).push_back(dn);
            std::thread::sleep(PAUSE.saturating_sub(answered));
        }
        ends.store(true, Ordering::Relaxed);
    });
    let (count, seconds) = (took.len(), CHURN.as_secs_f64());
    println!(
        "POST of a launch while {} clusters stand and {:.0} a second are destroyed: p50 {:.2?}, p99 {:.2?}, longest {:.2?} of {count}",
        locked(&standing).len(),
        churned.into_inner() as f64 / seconds,
        quantile(&mut took, 0.5),
        quantile(&mut took, 0.99),
        quantile(&mut took, 1.0)
    );
}

/// Launches until so many clusters stand.
fn fill(gateway: SocketAddr, standing: &Standing, clusters: usize) {
    let missing = AtomicUsize::new(clusters.saturating_sub(locked(standing).len()));
    std::thread::scope(|scope| {
        for _ in 0..CHURNERS {
            scope.spawn(|| {
                let client = Client::new(gateway);
                while missing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1)).is_ok() {
                    let (dn, _) = client.launch();
                    client.wait(&dn, "ready");
                    locked(standing).push_back(dn);
                }
            });
        }
    });
}

fn locked(standing: &Standing) -> std::sync::MutexGuard<'_, VecDeque<String>> {
    standing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shortest time that so large a share does not exceed.
fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    values[((values.len() - 1) as f64 * share).ceil() as usize]
}

/// Publishes events that nobody of the platform hears of.
struct Publisher {
    bus: Arc<dyn Bus>,
    tasks: Tasks,
}

impl Publisher {
    async fn start(servers: &Servers) -> Self {
        let tasks = Tasks::new();
        let settings =
            BusSettings { url: servers.rabbitmq.clone(), prefix: "bare".to_owned(), ..BusSettings::default() };
        let bus: Arc<dyn Bus> = Arc::new(RabbitBus::connect(&settings, &tasks).expect("the broker's URL is read"));
        let mut subscription = bus.subscribe("framework", subscriptions::FRAMEWORK).await.expect("a queue is bound");
        tasks.spawn("hearer", async move {
            while let Some(delivery) = subscription.next().await {
                delivery.ack().await;
            }
        });
        Self { bus, tasks }
    }

    /// How long one event takes until it is confirmed.
    async fn publish(&self) -> Duration {
        let envelope = Envelope {
            id: EventId(Uuid::now_v7()),
            cluster_id: "clusters--ann--bench--1__0--1".parse::<ClusterId>().expect("an id"),
            revision: 1,
            at: Clock::system().now(),
            request_id: None,
            traceparent: None,
            event: Event::ClusterRegistered {},
        };
        let begun = Instant::now();
        let confirmation = self.bus.publish(Arc::new(envelope)).await.expect("the broker takes an event");
        confirmation.wait().await.expect("the broker confirms it");
        begun.elapsed()
    }
}
