//! The chassis against real parts: databases, the bus, HTTP.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod bus;
mod bus_faults;
mod bus_rabbitmq;
mod database;
mod http;
mod lanes;
mod messaging;
mod outage;
mod proxy;
mod replicas;

use bigdata_chassis::db::Migrations;
use bigdata_common::ClusterId;
use bigdata_common::event::{Envelope, Event};
use bigdata_common::{EventId, Timestamp};
use std::future::Future;
use std::time::{Duration, Instant};

static TABLES: sqlx::migrate::Migrator = sqlx::migrate!("tests/migrations");

/// Tables for the tests' own facts, on both engines.
pub(crate) const MIGRATIONS: Migrations = Migrations { postgres: &TABLES, sqlite: &TABLES };

/// A cluster that exists in names only.
pub(crate) fn cluster() -> ClusterId {
    ClusterId::parse_any("clusters/local/reference/1.0.0/1").expect("a valid name")
}

/// An event with an id of its own.
pub(crate) fn envelope() -> Envelope {
    envelope_of(Event::ClusterRegistered {})
}

/// This event with an id of its own.
pub(crate) fn envelope_of(event: Event) -> Envelope {
    Envelope {
        id: EventId(uuid::Uuid::now_v7()),
        cluster_id: cluster(),
        revision: 1,
        at: Timestamp::from_millis(0),
        request_id: None,
        traceparent: None,
        event,
    }
}

/// The longest that a test waits for anything that is to happen: machines that build at the same time are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; fails the test after [`PATIENCE`].
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
