//! Status transitions through registry, Postgres and RabbitMQ, and pgbench doing the bare transition, in one run:
//!
//!     cargo bench -p bigdata-cli --bench transitions [-- CLUSTERS]
//!
//! One Postgres, which syncs every commit, is asked by both, in turns, with as many clients as the registry handles
//! clusters at a time. The bare transition is BEGIN, UPDATE of a cluster's row, INSERT of an event, COMMIT, on tables
//! like the registry's with the same rows. The registry is the real one: launched clusters are taken from `registered`
//! to `ready` by the facts that a framework and an orchestrator publish while it works, five facts and five transitions
//! each; its own events are published by its relay and taken by two queues. CLUSTERS (1000) are launched for each
//! measurement with several clients. All share the machine.

mod feed;
#[allow(dead_code, reason = "another bench uses the rest of it")]
mod servers;

use feed::{FACTS, Registry, TRANSITIONS};
use servers::Servers;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// How often both are measured in turn.
const ROUNDS: usize = 3;

/// Tables like the registry's with the clusters that it has; an event's sequence comes from a counter of its own.
const TABLES: &str = "DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare; \
    CREATE TABLE bare.clusters (LIKE registry.clusters INCLUDING ALL); \
    INSERT INTO bare.clusters SELECT * FROM registry.clusters; \
    CREATE TABLE bare.events (LIKE registry.events INCLUDING ALL); \
    CREATE SEQUENCE bare.sequence CACHE 100; \
    ANALYZE bare.clusters";

const TRANSITION: &str = r#"\set n random(1, :clusters)
BEGIN;
UPDATE bare.clusters SET status = 'scheduling' WHERE id = 'clusters--ann--bench--1__0--' || :n;
INSERT INTO bare.events (cluster_id, sequence, event) VALUES ('clusters--ann--bench--1__0--' || :n, nextval('bare.sequence'),
  '{"sequence":3,"at":"2026-01-01T00:00:00.000Z","kind":"status","status":"scheduling","node":null,"message":"registered → scheduling"}');
COMMIT;
"#;

fn main() {
    // Templates are rendered by small processes of this program's.
    bigdata_sandbox::main_if_requested();
    let clusters = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(1000);
    let servers = Servers::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for clients in [1, 8, 16] {
        let clusters = if clients == 1 { clusters / 4 } else { clusters };
        runtime.block_on(compare(&servers, clients, clusters));
    }
}

async fn compare(servers: &Servers, clients: usize, clusters: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let registry = Registry::start(&servers.postgres, &servers.rabbitmq, clients, folder.path()).await;
    registry.product().await;
    let mut registry = Arc::new(registry);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let launched = registry.launch(clusters).await;
        servers.sql(TABLES);
        let known = servers.sql("SELECT COUNT(*) FROM bare.clusters").trim().parse().expect("a number");
        let bare = servers.pgbench(TRANSITION, clients, known);
        let before = transitions(servers);
        let begun = seconds_of(SystemTime::now());
        Arc::get_mut(&mut registry).expect("every launch has ended").feed(&launched).await;
        let told = seconds_of(SystemTime::now()) - begun;
        let seconds = last(servers) - begun;
        let stored = transitions(servers) - before;
        assert_eq!(stored, clusters * TRANSITIONS, "every transition is stored once");
        rounds.push((bare, stored as f64 / seconds, stored as f64 / told));
    }
    registry.end().await;
    let (bare, ours) = (middle(rounds.iter().map(|it| it.0)), middle(rounds.iter().map(|it| it.1)));
    let told = middle(rounds.iter().map(|it| it.2));
    let ratio = middle(rounds.iter().map(|(bare, ours, _)| ours / bare));
    println!(
        "{clients:>2} at a time: the registry stores {ours:.0} transitions/s ({:.0} facts/s; {told:.0}/s until all are told), \
         pgbench {bare:.0}/s: {ratio:.2}",
        ours * FACTS as f64 / TRANSITIONS as f64
    );
}

/// The transitions that are stored; a cluster begins with the first entry.
fn transitions(servers: &Servers) -> usize {
    let count = "SELECT COUNT(*) FROM registry.events WHERE event LIKE '%\"kind\":\"status\"%' AND event LIKE '% → %'";
    servers.sql(count).trim().parse().expect("a number")
}

/// When the last transition was stored, in seconds since 1970: its entry has the time at which its fact was taken up.
fn last(servers: &Servers) -> f64 {
    let last =
        "SELECT MAX(EXTRACT(EPOCH FROM CAST(CAST(event AS JSONB) ->> 'at' AS TIMESTAMPTZ))) FROM registry.events";
    servers.sql(last).trim().parse().expect("a number")
}

fn seconds_of(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs_f64()
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
