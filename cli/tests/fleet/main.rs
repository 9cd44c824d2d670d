//! The fleet: every service as two processes, on a Postgres, a RabbitMQ and an Apache Mesos of their own, brought up by
//! `deploy/fleet` and broken in every way that fleets break.
//!
//! `BIGDATA_TEST_FLEET=1` runs these tests; they need what `deploy/fleet` needs, and fail where a part is missing.
//! A test that fails leaves its fleet's folder behind, and the next one begins with a new fleet.
//! `BIGDATA_FLEET_ROUNDS` (4) and `BIGDATA_FLEET_SEED` (a new one) steer each of the three sweeps; 0: every fault, long ones too.
//! `BIGDATA_FLEET_FAULT` names the only fault of the sweep, or a part of its name; that may be a long one.
//! `BIGDATA_FLEET_LATE_SECONDS` (10, in the whole sweep 1800) says how late events are that are late.
//! `BIGDATA_PRODUCT_ROUNDS` (5) says how often MariaDB's primary dies while a client writes, and services beside it;
//! `BIGDATA_PRODUCT_SEED` (a new one) when.
//! `BIGDATA_BIN_NEXT` names a folder with a later release's programs (`deploy/next-build.sh` makes one): the test of an upgrade
//! goes on to them, and their migrations.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checks;
#[path = "../products/cluster.rs"]
#[allow(dead_code, reason = "this test wants less of it than those that it was made for")]
mod cluster;
mod containers;
mod courier;
mod crowd;
#[path = "../../../executor/tests/it/engine.rs"]
#[allow(dead_code, reason = "this test wants less of it than those that it was made for")]
mod engine;
mod engines;
mod faults;
mod fleet;
mod late;
mod lost;
mod masters;
mod options;
mod products;
mod proxy;
mod restore;
mod rival;
mod scenarios;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "this test wants less of it than those that it was made for")]
mod support;
mod sweep;
mod trouble;
#[path = "../products/writer.rs"]
mod writer;

use fleet::Fleet;
use libtest_mimic::{Arguments, Trial};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Set to 1 where the fleet shall be tested.
const ASKED: &str = "BIGDATA_TEST_FLEET";

/// What fails so often is no single fault, and each failure takes minutes.
const FAILURES_MAX: u32 = 3;

/// A test's name and body.
type Scenario = (&'static str, fn(&Fleet));

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == rival::EXECUTOR) {
        rival::execute();
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // The tests break one fleet, one after the other.
    arguments.test_threads = Some(1);
    if !arguments.list && std::env::var(ASKED).as_deref() != Ok("1") {
        eprintln!("SKIPPED: the fleet is tested where {ASKED}=1 (deploy/test.sh sets it)");
        return ExitCode::SUCCESS;
    }
    let fleet = Arc::new(Fleet::new());
    let failures = Arc::new(AtomicU32::new(0));
    let mut trials = Vec::new();
    for (name, body) in [
        scenarios::ALL,
        masters::ALL,
        options::ALL,
        late::ALL,
        lost::ALL,
        containers::ALL,
        restore::ALL,
        products::ALL,
        sweep::ALL,
    ]
    .into_iter()
    .flatten()
    {
        let (fleet, failures) = (Arc::clone(&fleet), Arc::clone(&failures));
        trials.push(Trial::test(*name, move || {
            if failures.load(Ordering::Relaxed) >= FAILURES_MAX {
                return Err("not run, after what failed before".into());
            }
            attempt(&fleet, name, *body, &failures);
            Ok(())
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(fleet);
    conclusion.exit_code()
}

/// Runs a test on the fleet. One that fails tells what it saw there, and gives the fleet up.
fn attempt(fleet: &Fleet, name: &str, body: fn(&Fleet), failures: &AtomicU32) {
    let trial = || {
        fleet.up();
        body(fleet);
        checks::all_is_well(fleet, name);
    };
    let Err(panic) = catch_unwind(AssertUnwindSafe(trial)) else { return };
    // A fleet that never came up has nothing to tell.
    let _ = catch_unwind(AssertUnwindSafe(|| trouble::tell(fleet)));
    let more = if fleet.give_up(name) { 1 } else { FAILURES_MAX };
    failures.fetch_add(more, Ordering::Relaxed);
    resume_unwind(panic);
}
