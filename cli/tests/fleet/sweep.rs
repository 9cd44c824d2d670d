//! A fault at a random moment of a launch and of a destroy: every accepted request finishes, none twice, nothing leaks.

use crate::Scenario;
use crate::checks;
use crate::faults::{self, Fault};
use crate::fleet::Fleet;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[("faults_cost_time_and_nothing_else", sweep)];

/// Moments after a request within which the fault strikes: a launch and a destroy take less.
const WINDOW_MILLIS: u64 = 1500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn sweep(fleet: &Fleet) {
    let rounds = number("BIGDATA_FLEET_ROUNDS").unwrap_or(4);
    let seed = number("BIGDATA_FLEET_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let mut random = SmallRng::seed_from_u64(seed);
    let long: &[Fault] = if rounds == 0 { faults::LONG } else { &[] };
    let mut order: Vec<&Fault> = faults::ALL.iter().chain(long).collect();
    order.shuffle(&mut random);
    let rounds = if rounds == 0 { order.len() } else { usize::try_from(rounds).unwrap() };
    eprintln!("fleet sweep: {rounds} rounds with BIGDATA_FLEET_SEED={seed}");
    for (round, fault) in order.iter().cycle().take(rounds).enumerate() {
        let began = Instant::now();
        launch_and_destroy(fleet, fault, &format!("fleet-{seed}-{round}"), &mut random);
        eprintln!("round {round}: {} ({:.1} s)", fault.name, began.elapsed().as_secs_f64());
    }
}

/// One cluster's life, with the fault at its beginning and at its end.
fn launch_and_destroy(fleet: &Fleet, fault: &Fault, key: &str, random: &mut SmallRng) {
    let launch = ["launch", "reference", "1.0.0", "size=2", "--idempotency-key", key];
    struck(fleet, &launch, fault, random);
    // What was accepted is finished; what was not is asked for again, under the same key: in the end there is one.
    let dn = fleet.json(&launch)["dn"].as_str().unwrap().to_owned();
    fleet.ends_as(&dn, "ready");
    checks::nodes_serve(fleet, &dn);
    checks::history_is_whole(fleet, &dn);
    checks::all_is_well(fleet, fault.name);
    struck(fleet, &["cluster", "destroy", &dn], fault, random);
    fleet.run(&["cluster", "destroy", &dn]);
    fleet.ends_as(&dn, "destroyed");
    checks::history_is_whole(fleet, &dn);
    checks::nothing_is_left(fleet);
    checks::all_is_well(fleet, fault.name);
}

/// Sends a request, and lets the fault strike at a random moment after it.
fn struck(fleet: &Fleet, request: &[&str], fault: &Fault, random: &mut SmallRng) {
    let mut client = fleet.begin(request);
    std::thread::park_timeout(Duration::from_millis(random.random_range(0..WINDOW_MILLIS)));
    fault.strike(fleet);
    let _ = client.kill();
    let _ = client.wait();
}
