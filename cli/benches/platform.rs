//! The platform on one machine, against what the machine itself can do, in one run:
//!
//!     cargo bench -p bigdata-cli --bench platform [-- CLUSTERS]
//!
//! Prints a line per figure; docs/performance.md keeps their history. CLUSTERS (100) is how many one-node clusters stand
//! idle for the last figures.

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Platform, cpu_time, median, pss_kib, request};

/// How often the small figures are taken.
const ROUNDS: usize = 10;
/// How long the idle platform is watched.
const IDLE: Duration = Duration::from_secs(30);

fn main() {
    let clusters = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(100);
    let folder = tempfile::tempdir().expect("a temporary folder");
    startup(folder.path());
    let platform = Platform::start(folder.path());
    launches(&platform);
    idle(&platform, clusters);
}

/// `bigdata up` to its first answer on a data directory that has been used.
fn startup(folder: &std::path::Path) {
    drop(Platform::start(folder));
    let spawn = median((0..ROUNDS).map(|_| support::spawn_true()).collect());
    let answers = median((0..ROUNDS).map(|_| Platform::start(folder).first_answer).collect());
    println!("up to the first answer: {answers:?} ({:.0} x a bare spawn of {spawn:?})", ratio(answers, spawn));
}

/// `reference` with two nodes from POST to ready, less what the nodes and the script themselves take.
fn launches(platform: &Platform) {
    let node_start = median((0..ROUNDS).map(|_| support::reference_node_start()).collect());
    let mut totals = Vec::new();
    let mut scripts = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let dn = platform.launch(2);
        platform.wait(&dn, "ready");
        totals.push(begun.elapsed());
        scripts.push(script_time(platform, &dn));
        platform.destroy(&dn);
    }
    let (total, script) = (median(totals), median(scripts));
    let own = total.saturating_sub(script).saturating_sub(node_start);
    println!(
        "launch of two nodes to ready: {total:?}, of it the script {script:?}, the nodes {node_start:?}, the platform {own:?}"
    );
    println!("  the platform's part: {:.1} x starting one node by hand", ratio(own, node_start));
}

/// What `clusters` ready one-node clusters cost while nobody asks for anything.
fn idle(platform: &Platform, clusters: usize) {
    let launched: Vec<String> = (0..clusters).map(|_| platform.launch(1)).collect();
    for dn in &launched {
        platform.wait(dn, "ready");
    }
    // Settled: checks have found their idle rhythm.
    std::thread::sleep(Duration::from_secs(20));
    let executors = platform.executors();
    let before = (cpu_time(&[platform.pid()]), cpu_time(&executors));
    std::thread::sleep(IDLE);
    let share = |before: Duration, after: Duration| (after - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let control_plane = share(before.0, cpu_time(&[platform.pid()]));
    let all_executors = share(before.1, cpu_time(&executors));
    println!(
        "{clusters} idle clusters: control plane {control_plane:.2} % of a core, {:.1} MB",
        mb(pss_kib(platform.pid()))
    );
    let sizes: Vec<u64> = executors.iter().map(|pid| pss_kib(*pid)).collect();
    let largest = sizes.iter().max().copied().unwrap_or_default();
    println!(
        "  {} executors: {:.2} % of a core together, {:.2} MB each at the most (PSS)",
        executors.len(),
        all_executors,
        mb(largest)
    );
    let begun = Instant::now();
    for dn in &launched {
        platform.delete(dn);
    }
    for dn in &launched {
        platform.wait(dn, "destroyed");
    }
    println!("  all destroyed in {:?}", begun.elapsed());
}

/// How long the product's script itself ran: from `configuring` to `configured`.
fn script_time(platform: &Platform, dn: &str) -> Duration {
    let entry: Value = request("GET", &platform.url(dn), None);
    let phases = entry["data"]["phases"].as_array().cloned().unwrap_or_default();
    let took =
        phases.iter().find(|phase| phase["status"] == json!("configured")).and_then(|phase| phase["took_ms"].as_u64());
    Duration::from_millis(took.unwrap_or_default())
}

fn ratio(value: Duration, unit: Duration) -> f64 {
    value.as_secs_f64() / unit.as_secs_f64().max(1e-9)
}

fn mb(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
