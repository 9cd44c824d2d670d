//! The fleet: every service as two processes, on a Postgres, a RabbitMQ and an Apache Mesos of their own, brought up by
//! `deploy/fleet` and broken in every way that fleets break.
//!
//! `BIGDATA_TEST_FLEET=1` runs these tests; they need what `deploy/fleet` needs, and fail where a part is missing.
//! `BIGDATA_FLEET_ROUNDS` (4) and `BIGDATA_FLEET_SEED` (a new one) steer the sweep; 0: every fault, long ones too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checks;
mod faults;
mod fleet;
mod scenarios;
mod sweep;

use fleet::Fleet;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use std::sync::Arc;

/// Set to 1 where the fleet shall be tested.
const ASKED: &str = "BIGDATA_TEST_FLEET";

/// A test's name and body.
type Scenario = (&'static str, fn(&Fleet));

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The tests break one fleet, one after the other.
    arguments.test_threads = Some(1);
    if !arguments.list && std::env::var(ASKED).as_deref() != Ok("1") {
        eprintln!("SKIPPED: the fleet is tested where {ASKED}=1 (deploy/test.sh sets it)");
        return ExitCode::SUCCESS;
    }
    let fleet = Arc::new(Fleet::new());
    let mut trials = Vec::new();
    for (name, body) in scenarios::ALL.iter().chain(sweep::ALL) {
        let fleet = Arc::clone(&fleet);
        trials.push(Trial::test(*name, move || {
            fleet.up();
            body(&fleet);
            checks::all_is_well(&fleet, name);
            Ok(())
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.has_failed() {
        fleet.keep();
    }
    drop(fleet);
    conclusion.exit_code()
}
