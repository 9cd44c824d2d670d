//! How fast nodes are placed on a large, mixed fleet:
//!
//!     cargo bench -p bigdata-framework --bench placement [-- SEED]
//!
//! The pure core on one thread against a simulated master; the processor time of the core's steps is measured,
//! and nothing else, but for the latency of decisions, which is by the clock on the wall. Prints the seed, and a line per figure; docs/performance.md keeps their history.

use bigdata_framework::simulation::{Fleet, Placed, Shape};
use std::time::{Duration, Instant};

const NODES: usize = 10_000;
/// Asked for at one time.
const PER_ROUND: usize = 1_000;

fn main() {
    let given = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let seed = given.unwrap_or_else(|| rand::random::<u32>().into());
    println!("seed {seed}");
    for agents in [5_000, 50_000] {
        run(Shape { agents, nodes: NODES, per_round: PER_ROUND, seed });
    }
}

fn run(shape: Shape) {
    let mut fleet = Fleet::new(shape);
    let without_agents = resident();
    let begun = Instant::now();
    fleet.begin();
    let seen = begun.elapsed();
    fleet.settle();
    let with_agents = resident();
    let placed = fleet.run(shape);
    let with_tasks = resident();
    let rate = per_second(placed.nodes, placed.core);
    println!("{} agents, {} nodes in {} clusters:", shape.agents, placed.nodes, placed.clusters);
    println!(
        "  {rate:.0} nodes placed per second of the core's time, everything included ({:?}, {:?} by the wall)",
        placed.core, placed.waited
    );
    println!("  {:.0} per second of the decisions alone", decisions_rate(&placed));
    println!("  decision of a cluster: p50 {:?}, p99 {:?}", at(&placed, 50), at(&placed, 99));
    println!(
        "  of the time {:?} went into {} offers, {:?} into the nodes' updates; the first offers of all took {seen:?}",
        placed.core_offers, placed.offers, placed.core_updates
    );
    println!("  {} nodes had not found a place in the end", placed.waiting);
    println!(
        "  resident memory: {} bytes an agent, {} bytes a task",
        with_agents.saturating_sub(without_agents) / shape.agents,
        with_tasks.saturating_sub(with_agents) / placed.nodes.max(1)
    );
    assert_eq!(fleet.violations(), Vec::<String>::new());
}

fn per_second(count: usize, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let count = count as f64;
    count / time.as_secs_f64()
}

fn decisions_rate(placed: &Placed) -> f64 {
    per_second(placed.nodes, placed.core - placed.core_offers - placed.core_updates)
}

fn at(placed: &Placed, percent: usize) -> Duration {
    let index = placed.decisions.len() * percent / 100;
    placed.decisions.get(index.min(placed.decisions.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Bytes of memory that the process has.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
