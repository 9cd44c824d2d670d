//! What happens to fleets.

use crate::courier::Courier;
use crate::crowd::Crowd;
use crate::fleet::{Fleet, until};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// Something that goes wrong for a while.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// Begins it.
    inject: fn(&Fleet),
    /// How long it lasts.
    lasts: Duration,
    /// Ends it.
    heal: fn(&Fleet),
}

impl Fault {
    /// Lets it happen, from beginning to end: one that only began would go on in the tests after this one.
    pub(crate) fn strike(&self, fleet: &Fleet) {
        let begun = catch_unwind(AssertUnwindSafe(|| (self.inject)(fleet)));
        if begun.is_ok() {
            std::thread::park_timeout(self.lasts);
        }
        (self.heal)(fleet);
        if let Err(panic) = begun {
            resume_unwind(panic);
        }
    }
}

const fn fault(name: &'static str, inject: fn(&Fleet), lasts_ms: u64, heal: fn(&Fleet)) -> Fault {
    Fault { name, inject, lasts: Duration::from_millis(lasts_ms), heal }
}

/// Starts whatever does not run.
fn start_all(fleet: &Fleet) {
    fleet.control(&["up"]);
}

fn kill(fleet: &Fleet, parts: &[&str]) {
    for part in parts {
        fleet.control(&["kill", part]);
    }
}

fn go_on(fleet: &Fleet) {
    for part in ["mesos-master", "framework-1", "framework-2", "registry-1", "orchestrator-1"] {
        fleet.control(&["kill", part, "CONT"]);
    }
}

fn writable(fleet: &Fleet) {
    fleet.sql("ALTER SYSTEM RESET default_transaction_read_only");
    fleet.sql("SELECT pg_reload_conf()");
}

fn nothing(_: &Fleet) {}

/// Lets the broker take no more than this share of the machine's memory; past it, it blocks whoever publishes.
fn watermark(fleet: &Fleet, share: &str) {
    // One that stayed blocked would hold every test up that follows.
    until("the broker takes it", || fleet.rabbitmq_does(&["set_vm_memory_high_watermark", share]).then_some(()));
}

/// Every fault of the sweep; each ends by itself or is healed, and costs time, nothing else.
pub(crate) const ALL: &[Fault] = &[
    fault("a registry is killed", |fleet| kill(fleet, &["registry-1"]), 1000, start_all),
    fault("both registries are killed", |fleet| kill(fleet, &["registry-1", "registry-2"]), 1500, start_all),
    fault("the leading framework is killed", |fleet| kill(fleet, &[fleet.leader()]), 1000, start_all),
    fault("both frameworks are killed", |fleet| kill(fleet, &["framework-1", "framework-2"]), 1500, start_all),
    fault("an orchestrator is killed", |fleet| kill(fleet, &["orchestrator-1"]), 1000, start_all),
    fault("both orchestrators are killed", |fleet| kill(fleet, &["orchestrator-1", "orchestrator-2"]), 1500, start_all),
    fault("a gateway is killed", |fleet| kill(fleet, &["gateway-1"]), 1000, start_all),
    fault(
        "every service is killed",
        |fleet| {
            for service in ["registry", "framework", "orchestrator", "gateway"] {
                kill(fleet, &[&format!("{service}-1"), &format!("{service}-2")]);
            }
        },
        500,
        start_all,
    ),
    fault(
        "the first of every service is stopped in order",
        |fleet| {
            fleet.control(&["stop", "registry-1", "framework-1", "orchestrator-1", "gateway-1"]);
        },
        500,
        start_all,
    ),
    fault("Postgres is killed", |fleet| kill(fleet, &["postgres"]), 2000, start_all),
    fault(
        "Postgres is read-only",
        |fleet| {
            fleet.sql("ALTER SYSTEM SET default_transaction_read_only = on");
            fleet.sql("SELECT pg_reload_conf()");
        },
        3000,
        |fleet| {
            // The setting that is in the way would refuse its own end.
            fleet.sql("SET default_transaction_read_only = off");
            writable(fleet);
        },
    ),
    fault(
        "Postgres ends every connection",
        |fleet| fleet.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"),
        0,
        nothing,
    ),
    fault("Postgres has no connection left", Crowd::come, 8000, Crowd::leave),
    fault("RabbitMQ is killed", |fleet| kill(fleet, &["rabbitmq"]), 3000, start_all),
    fault("RabbitMQ takes nothing", |fleet| watermark(fleet, "0.0000001"), 6000, |fleet| watermark(fleet, "0.4")),
    fault(
        "RabbitMQ's queues are deleted",
        |fleet| {
            for service in ["registry", "framework", "orchestrator"] {
                fleet.rabbitmq(&["delete_queue", &format!("bigdata.{service}.v1")]);
            }
        },
        500,
        nothing,
    ),
    fault("events are late", Courier::come, 0, Courier::leave),
    fault("the Mesos master is killed", |fleet| kill(fleet, &["mesos-master"]), 2000, start_all),
    fault("a Mesos agent is killed and comes back", |fleet| kill(fleet, &["mesos-agent-1"]), 1500, start_all),
    fault(
        "every Mesos agent is killed and comes back",
        |fleet| kill(fleet, &["mesos-agent-1", "mesos-agent-2", "mesos-agent-3"]),
        1500,
        start_all,
    ),
    fault(
        "the leading framework sleeps past its lease",
        |fleet| {
            fleet.control(&["kill", fleet.leader(), "STOP"]);
        },
        12_000,
        go_on,
    ),
    fault(
        "an orchestrator sleeps past its leases",
        |fleet| {
            fleet.control(&["kill", "orchestrator-1", "STOP"]);
        },
        20_000,
        go_on,
    ),
    fault(
        "a registry sleeps",
        |fleet| {
            fleet.control(&["kill", "registry-1", "STOP"]);
        },
        5000,
        go_on,
    ),
];

/// Faults that last for minutes; part of the whole sweep alone.
pub(crate) const LONG: &[Fault] = &[
    fault("RabbitMQ is away for a minute", |fleet| kill(fleet, &["rabbitmq"]), 60_000, start_all),
    fault(
        "the leading framework sleeps for two minutes",
        |fleet| {
            fleet.control(&["kill", fleet.leader(), "STOP"]);
        },
        120_000,
        go_on,
    ),
    fault(
        "the Mesos master sleeps past two heartbeats",
        |fleet| {
            fleet.control(&["kill", "mesos-master", "STOP"]);
        },
        45_000,
        go_on,
    ),
];
