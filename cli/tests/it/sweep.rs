//! `kill -9` of the whole platform at any moment of a launch, an operation, a scale, an action and a destroy, then a start:
//! every accepted request finishes, none twice, nothing leaks.
//!
//! `BIGDATA_SWEEP_ROUNDS` (5) and `BIGDATA_SWEEP_SEED` (a new one) steer it.

use crate::support::{Data, Platform, until};
use crate::trial;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;

/// Moments after a request within which the platform is killed: a launch and a destroy take less.
const WINDOW_MILLIS: u64 = 900;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn clusters(platform: &Platform) -> Vec<Value> {
    let list = platform.json(&["cluster", "list", "--all"]);
    list["clusters"].as_array().unwrap().iter().map(|entry| entry["data"].clone()).collect()
}

/// Sends a request in the background and kills the platform at a random moment after it.
fn kill_during(platform: Platform, arguments: &[&str], random: &mut SmallRng) -> Duration {
    let mut client = platform.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let moment = Duration::from_millis(random.random_range(0..WINDOW_MILLIS));
    std::thread::park_timeout(moment);
    platform.signal("-KILL");
    let _ = client.kill();
    let _ = client.wait();
    moment
}

#[test]
fn a_killed_platform_finishes_what_it_accepted() {
    let rounds = number("BIGDATA_SWEEP_ROUNDS").unwrap_or(5);
    let seed = number("BIGDATA_SWEEP_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    eprintln!("sweep: {rounds} rounds with BIGDATA_SWEEP_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let data = Data::new();
    for round in 0..rounds {
        let key = format!("sweep-{round}");
        let launch = ["launch", "reference", "1.0.0", "size=2", "--idempotency-key", &key];
        let platform = data.up(&[]);
        let moment = kill_during(platform, &launch, &mut random);
        eprintln!("round {round}: killed {moment:?} after the launch was sent");

        // What was accepted is finished; what was not is asked for again, under the same key: in the end there is one.
        let platform = data.up(&[]);
        let dn = platform.json(&launch)["dn"].as_str().unwrap().to_owned();
        ends_as(&platform, &dn, "ready");
        let living = clusters(&platform).into_iter().filter(|cluster| cluster["status"] != "destroyed").count();
        assert_eq!(living, 1, "round {round}: one launch, {living} clusters{}", platform.log());
        history_is_whole(&platform, &dn);
        one_workload_a_node(&platform, &dn);

        // After a stop the next start places the nodes anew and configures them again: an operation to be killed in.
        assert_eq!(platform.signal("-TERM"), Some(0), "round {round}: the platform did not stop well");
        let platform = data.up(&[]);
        let moment = Duration::from_millis(random.random_range(0..WINDOW_MILLIS * 2));
        std::thread::park_timeout(moment);
        platform.signal("-KILL");
        eprintln!("round {round}: killed {moment:?} after a start");
        let platform = data.up(&[]);
        knows_its_peers_again(&platform, &dn);
        one_workload_a_node(&platform, &dn);
        history_is_whole(&platform, &dn);

        let moment = kill_during(platform, &["cluster", "destroy", &dn], &mut random);
        eprintln!("round {round}: killed {moment:?} after the destroy was sent");
        let platform = data.up(&[]);
        platform.run(&["cluster", "destroy", &dn]);
        ends_as(&platform, &dn, "destroyed");
        history_is_whole(&platform, &dn);
        nothing_is_left(&platform, &data);
        platform.run(&["admin", "invariants"]);
        assert_eq!(platform.signal("-TERM"), Some(0), "round {round}: the platform did not stop well");
    }
}

#[test]
fn a_killed_platform_finishes_the_changes_that_it_accepted() {
    let rounds = number("BIGDATA_SWEEP_ROUNDS").unwrap_or(5);
    let seed = number("BIGDATA_SWEEP_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    eprintln!("sweep: {rounds} rounds of changes with BIGDATA_SWEEP_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let data = Data::new();
    let mut platform = data.up(&["--no-catalog"]);
    trial::register(&platform);
    let launched = platform.json(&["launch", "trial", "1", "size=1", "peers=true", "--wait", "--timeout", "300"]);
    let dn = launched["dn"].as_str().unwrap().to_owned();
    for round in 0..rounds {
        for size in [3, 1] {
            let wanted = format!("size={size}");
            let scale = ["scale", "trial", wanted.as_str()];
            let moment = kill_during(platform, &scale, &mut random);
            eprintln!("round {round}: killed {moment:?} after a scale to {size} was sent");
            platform = data.up(&["--no-catalog"]);
            // It was accepted and goes on; or it is asked for again.
            until(&format!("round {round}: {wanted}"), || {
                let settled = is_settled(&platform, &dn) && trial::names(&platform).len() == size;
                if !settled {
                    platform.try_run(&scale);
                }
                settled.then_some(())
            });
            is_sound(&platform, &dn);
        }
        let word = format!("word={round}");
        let moment = kill_during(platform, &["action", "trial", "say", &word], &mut random);
        eprintln!("round {round}: killed {moment:?} after an action was sent");
        platform = data.up(&["--no-catalog"]);
        until(&format!("round {round}: the action has ended"), || is_settled(&platform, &dn).then_some(()));
        let list = platform.json(&["operation", "list"]);
        let said: Vec<&Value> =
            list["operations"].as_array().unwrap().iter().filter(|one| one["action"] == "say").collect();
        assert!(said.len() as u64 <= round + 1, "one action a round: {said:#?}");
        assert!(said.iter().all(|one| one["status"] == "succeeded"), "{said:#?}{}", platform.log());
        is_sound(&platform, &dn);
    }
    platform.run(&["cluster", "destroy", &dn, "--wait"]);
    history_is_whole(&platform, &dn);
    nothing_is_left(&platform, &data);
    platform.run(&["admin", "invariants"]);
}

/// Nothing changes the cluster, but what the clock asks for.
fn is_settled(platform: &Platform, dn: &str) -> bool {
    let list = platform.json(&["operation", "list"]);
    let mut open = list["operations"].as_array().unwrap().iter().filter(|one| one["ended_at"].is_null());
    clusters(platform).iter().any(|cluster| cluster["dn"] == dn && cluster["health"] == "healthy")
        && open.all(|one| one["action"] == "check")
}

fn is_sound(platform: &Platform, dn: &str) {
    one_workload_a_node(platform, dn);
    history_is_whole(platform, dn);
    platform.run(&["admin", "invariants"]);
}

fn ends_as(platform: &Platform, dn: &str, status: &str) {
    until(&format!("{dn} is {status}"), || {
        let view = clusters(platform).into_iter().find(|cluster| cluster["dn"] == dn)?;
        assert_ne!(view["status"], "failed", "{dn} failed: {}{}", view["reason"], platform.log());
        (view["status"] == status).then_some(())
    });
}

/// Every node serves, and has what the script gave it.
fn knows_its_peers_again(platform: &Platform, dn: &str) {
    until(&format!("the nodes of {dn} are configured again"), || {
        let knows = |(_, address): &(_, _)| {
            let answer = crate::support::get(*address, "/");
            answer.is_some_and(|answer| answer["peers"].as_object().is_some_and(|peers| peers.len() == 2))
        };
        let nodes = platform.nodes(dn);
        nodes.iter().all(knows).then_some(())
    });
}

/// The events of a cluster have no gap, and each status that it went through is there once.
fn history_is_whole(platform: &Platform, dn: &str) {
    let events = platform.json(&["cluster", "events", dn]);
    let events = events["events"].as_array().unwrap();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], at as u64 + 1, "{dn}: a gap in {events:#?}");
    }
}

/// Every node runs exactly one workload.
fn one_workload_a_node(platform: &Platform, dn: &str) {
    for (name, address) in platform.nodes(dn) {
        let answer = until("the node answers", || crate::support::get(address, "/"));
        assert_eq!(answer["name"], name.as_str());
        let needle = format!("--listen\0{address}\0");
        let workloads = crate::support::processes(&needle).len();
        // The workload and its supervisor's launcher are one process: the launcher becomes the command.
        assert_eq!(workloads, 1, "{name} runs {workloads} times{}", platform.log());
    }
}

/// No process, no folder of a node, and no resource in use.
fn nothing_is_left(platform: &Platform, data: &Data) {
    until("every executor has ended", || {
        let executors = crate::support::processes(&data.path().join("engine/sandboxes").display().to_string());
        executors.is_empty().then_some(())
    });
    let agents = platform.json(&["agents"]);
    for agent in agents["agents"].as_array().unwrap() {
        assert_eq!(agent["nodes"], 0, "{agent}");
        assert_eq!(agent["used"]["cpus"], 0.0, "{agent}");
    }
}
