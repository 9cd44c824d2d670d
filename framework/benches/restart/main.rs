//! How soon the framework is consistent again after `kill -9`:
//!
//!     cargo bench -p bigdata-framework --bench restart [-- CLUSTERS]
//!
//! A database is filled with CLUSTERS (10,000) ready clusters of five running nodes. The service, a process of its own, is
//! started on it, killed with SIGKILL and started again, three times. Its master and its registry are simulated in this
//! process: the master takes SUBSCRIBE and answers RECONCILE over the HTTP API as Apache Mesos does, task by task, and the
//! registry answers page by page. The service is consistent again once every task has been answered, taken in and stored
//! (an update behind the answers is acknowledged), the registry's whole list was read, and its invariants hold.
//!
//! On SQLite; on Postgres too where `BIGDATA_TEST_POSTGRES_URL` names a server.

mod master;
mod registry;
mod service;

use bigdata_chassis::Tasks;
use bigdata_chassis::http::InternalClient;
use bigdata_chassis::secret::Token;
use bigdata_common::invariants::Invariants;
use bigdata_framework::simulation::{Filled, fill};
use master::Master;
use registry::Registry;
use service::Service;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nodes of a cluster.
const NODES: usize = 5;
/// Agents that they are on.
const AGENTS: usize = 5_000;
const ROUNDS: usize = 3;
/// A round that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(2);

fn main() {
    if service::is_requested() {
        return service::run();
    }
    let clusters = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(clusters));
}

async fn measure(clusters: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for db in bigdata_chassis::testing::databases(folder.path(), bigdata_framework::MIGRATIONS).await {
        let engine = if db.is_postgres() { "Postgres" } else { "SQLite" };
        let begun = Instant::now();
        let filled = Arc::new(fill(&db, clusters, NODES, AGENTS).await);
        let place = service::place_of(&db).await;
        db.close().await;
        let (tasks, clusters) = (filled.tasks.len(), filled.clusters.len());
        println!("{engine}: {clusters} clusters, {tasks} tasks (filled in {:?})", begun.elapsed());
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(round(&place, &filled).await);
        }
        for (what, of) in Round::PARTS {
            let mut times: Vec<Duration> = rounds.iter().map(of).collect();
            times.sort_unstable();
            println!("  {what}: {:?} (from {:?} to {:?})", times[ROUNDS / 2], times[0], times[ROUNDS - 1]);
        }
        let mut rates: Vec<f64> = rounds.iter().map(|round| round.rate).collect();
        rates.sort_by(f64::total_cmp);
        println!(
            "  tasks reconciled per second: {:.0} ({:.0} to {:.0})",
            rates[ROUNDS / 2],
            rates[0],
            rates[ROUNDS - 1]
        );
    }
}

/// Times since the start of the process.
struct Round {
    subscribed: Duration,
    asked: Duration,
    answered: Duration,
    listed: Duration,
    consistent: Duration,
    rate: f64,
}

/// A time of a round, in words.
type Part = (&'static str, fn(&Round) -> Duration);

impl Round {
    const PARTS: [Part; 5] = [
        ("subscribed after", |round| round.subscribed),
        ("asked for every task after", |round| round.asked),
        ("every answer taken in after", |round| round.answered),
        ("the registry's list read after", |round| round.listed),
        ("consistent again after", |round| round.consistent),
    ];
}

/// One life of the service, ended by SIGKILL.
async fn round(place: &service::Place, filled: &Arc<Filled>) -> Round {
    let (token, tasks) = (Token::random(), Tasks::new());
    let master = Master::start(Arc::clone(filled)).await;
    let registry = Registry::serve(Arc::clone(filled), &token, &tasks);
    let begun = Instant::now();
    let service = Service::spawn(place, master.url(), registry.url(), &token);
    let moment = async |what: &str, of: &dyn Fn() -> Option<Instant>| loop {
        if let Some(at) = of() {
            return at;
        }
        assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}; {}", master.said());
        tokio::time::sleep(LOOK).await;
    };
    let subscribed = moment("subscribed", &|| master.times().subscribed).await;
    let asked = moment("every task was asked for", &|| master.times().asked).await;
    let answered = moment("every answer was taken in", &|| master.times().answered).await;
    let listed = moment("the registry's list was read", &|| registry.listed()).await;
    let client = InternalClient::new(service.url(), token).expect("a client");
    let found: Invariants = client.get("/internal/v1/invariants").await.expect("the service answers");
    assert_eq!(found.violations, []);
    let consistent = Instant::now();
    println!("  {}", master.said());
    drop(service);
    tasks.shut_down(Duration::from_secs(5)).await;
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let count = filled.tasks.len() as f64;
    let first = master.times().first_asked.unwrap_or(asked);
    Round {
        subscribed: subscribed - begun,
        asked: asked - begun,
        answered: answered - begun,
        listed: listed - begun,
        consistent: consistent - begun,
        rate: count / (answered - first).as_secs_f64(),
    }
}
