//! MariaDB on the fleet: a client writes all the while, servers, machines and services die, and what was acknowledged stays.

use crate::Scenario;
use crate::cluster::{Client, Cluster};
use crate::fleet::{Fleet, until};
use crate::sweep::{number, task_of};
use crate::writer::Writer;
use bigdata_chassis::testing::Stalls;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The tests of this file.
pub(crate) const ALL: &[Scenario] = &[("what_is_acknowledged_survives_machines_and_services", deaths)];

/// Servers of the cluster.
const SIZE: usize = 3;
/// The longest that clients may be without a writer, until it is noticed included.
const OUTAGE_MAX: Duration = Duration::from_secs(30);

/// What dies of the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    /// Its server.
    Server,
    /// Its executor, and its server with it.
    Executor,
    /// The agent with every executor and every server that it has.
    Machine,
    /// The agent alone: its executors and servers live on.
    Agent,
    /// The machine's cable: everything on it lives on, alone.
    Cable,
}

/// What dies beside it, as soon as the platform is about the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Beside {
    Nothing,
    Orchestrator,
    Leader,
    Registries,
    Orchestrators,
}

/// The first five are the short test.
const ROUNDS: [(Victim, Beside); 12] = [
    (Victim::Machine, Beside::Nothing),
    (Victim::Server, Beside::Nothing),
    (Victim::Cable, Beside::Nothing),
    (Victim::Server, Beside::Orchestrator),
    (Victim::Agent, Beside::Nothing),
    (Victim::Executor, Beside::Nothing),
    (Victim::Server, Beside::Leader),
    (Victim::Executor, Beside::Registries),
    (Victim::Machine, Beside::Leader),
    (Victim::Executor, Beside::Orchestrators),
    (Victim::Machine, Beside::Orchestrator),
    (Victim::Cable, Beside::Leader),
];

impl Client for Fleet {
    fn run(&self, arguments: &[&str]) -> String {
        self.run(arguments)
    }

    fn gateways(&self) -> Vec<SocketAddr> {
        let urls = self.address("FLEET_GATEWAY").split(',');
        urls.map(|url| url.trim_start_matches("http://").parse().unwrap()).collect()
    }
}

fn deaths(fleet: &Fleet) {
    for program in ["mariadbd", "mariadb", "mariabackup", "mbstream"] {
        let found = Command::new(program).arg("--version").output().is_ok();
        assert!(found, "{program} is missing: apt-get install mariadb-server mariadb-backup");
    }
    let product = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/mariadb/10.11");
    fleet.run(&["product", "register", product.to_str().unwrap()]);
    let seed = number("BIGDATA_PRODUCT_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let rounds = number("BIGDATA_PRODUCT_ROUNDS").unwrap_or(5);
    eprintln!("{rounds} rounds; BIGDATA_PRODUCT_SEED={seed} repeats their moments");
    let mut random = SmallRng::seed_from_u64(seed);
    let cluster = Cluster::launch(fleet, &["size=3", "spread=hostname"]);
    marks(fleet, &cluster, "write");
    cluster.make_table();
    let writer = Writer::start(cluster.target.clone(), 1);
    let mut outages = Vec::new();
    let mut chosen = ROUNDS.iter().cycle().take(usize::try_from(rounds).unwrap());
    if !fleet.has_machines() && chosen.any(|(victim, _)| *victim == Victim::Cable) {
        eprintln!(
            "SKIPPED: no cable is cut, since agents have no machines of their own (BIGDATA_FLEET_MACHINES=1, as root)"
        );
    }
    let possible = ROUNDS.iter().filter(|(victim, _)| *victim != Victim::Cable || fleet.has_machines());
    for (victim, beside) in possible.copied().cycle().take(usize::try_from(rounds).unwrap()) {
        cluster.settle(SIZE);
        let before = writer.count();
        until("rows are written", || (writer.count() > before + 50).then_some(()));
        std::thread::park_timeout(Duration::from_millis(random.random_range(0..1000)));
        let outage = round(fleet, &cluster, &writer, victim, beside);
        outages.push((victim, beside, outage));
    }
    cluster.settle(SIZE);
    marks(fleet, &cluster, "read");
    let backup = is_scaled_and_backed_up(&cluster, &writer);
    let acknowledged = writer.end();
    cluster.verify(&acknowledged);
    eprintln!("{} rows acknowledged, none lost", acknowledged.len());
    tell(&outages);
    // Every row of the backup's time is in a cluster that begins with it.
    let restored = Cluster::launch(fleet, &["size=1", &format!("backup_id={backup}")]);
    let last: u64 = restored.query(&restored.primary(), "SELECT MAX(n) FROM test.numbers").parse().unwrap();
    restored.verify(&acknowledged.into_iter().filter(|number| *number <= last).collect());
    for dn in [&cluster.dn, &restored.dn] {
        fleet.run(&["cluster", "destroy", dn]);
        fleet.ends_as(dn, "destroyed");
    }
    crate::checks::nothing_is_left(fleet);
}

/// A server leaves, the rest is backed up, and another server takes the first one's place, while rows are written. The
/// backup's id.
fn is_scaled_and_backed_up(cluster: &Cluster<'_, Fleet>, writer: &Writer) -> String {
    let goes_on = || {
        let before = writer.count();
        until("rows are written beside it", || (writer.count() > before + 50).then_some(()));
    };
    for (size, words) in
        [(SIZE - 1, ["scale", "size=2"]), (SIZE - 1, ["action", "backup"]), (SIZE, ["scale", "size=3"])]
    {
        cluster.change(&words);
        goes_on();
        cluster.settle(size);
    }
    assert_eq!(cluster.nodes().len(), SIZE);
    let list: Value = serde_json::from_str(&cluster.platform.run(&["backup", "list", &cluster.dn, "--json"])).unwrap();
    list["backups"][0]["id"].as_str().unwrap().to_owned()
}

/// Lets the primary die, and something beside it; how long clients were without a writer.
fn round(fleet: &Fleet, cluster: &Cluster<'_, Fleet>, writer: &Writer, victim: Victim, beside: Beside) -> Duration {
    let primary = cluster.primary();
    let agent = agent_of(fleet, &cluster.dn, &primary);
    let task = task_of(fleet, &primary);
    let served = cluster.target.endpoint_now("primary");
    let (struck, stalls) = (Instant::now(), Stalls::watch());
    strike(fleet, victim, &primary, &agent);
    strike_beside(fleet, beside);
    if victim == Victim::Agent {
        until("the cluster's health tells of it", || {
            (fleet.cluster(&cluster.dn)["data"]["health"] != "healthy").then_some(())
        });
        until("the script has answered", || fleet.cluster(&cluster.dn)["data"]["operation"].is_null().then_some(()));
        assert_eq!(cluster.primary(), primary, "a server that serves lost its place with its agent");
    } else {
        until("another server is the primary", || (cluster.primary() != primary).then_some(()));
    }
    let before = writer.count();
    until("rows are written again", || (writer.count() > before + 20).then_some(()));
    let outage = writer.longest_gap(struck);
    eprintln!("{victim:?} of {primary}, {beside:?} beside: {:.2} s without a writer", outage.as_secs_f64());
    stalls.assert_kept(OUTAGE_MAX, outage, &format!("{victim:?}, {beside:?}: without a writer"));
    if victim == Victim::Cable {
        takes_no_write(fleet, cluster, &agent, served);
        fleet.control(&["join", &agent]);
    }
    fleet.control(&["up"]);
    if victim == Victim::Agent {
        cluster.settle(SIZE);
        assert_eq!(task_of(fleet, &primary), task, "{primary} was started anew");
    }
    outage
}

fn strike(fleet: &Fleet, victim: Victim, node: &str, agent: &str) {
    let task = until(&format!("{node} has a task"), || task_of(fleet, node));
    match victim {
        Victim::Server => kill_processes(|_, line| line.starts_with("mariadbd") && line.contains(&task)),
        // The sandbox between it and its server ends the server.
        Victim::Executor => kill_processes(|place, line| {
            place.contains(&task) && line.contains("bigdata-executor") && !line.contains("__sandbox")
        }),
        Victim::Agent => drop(fleet.control(&["kill", agent])),
        Victim::Cable => drop(fleet.control(&["cut", agent])),
        Victim::Machine => kill_machine(fleet, agent),
    }
}

/// Kills an agent with every executor and every workload that it has.
pub(crate) fn kill_machine(fleet: &Fleet, agent: &str) {
    let folder = agent.trim_start_matches("mesos-").replace('-', "");
    let folder = format!("{}/", fleet.path().join("mesos").join(folder).display());
    fleet.control(&["kill", agent]);
    kill_processes(|place, _| place.starts_with(&folder));
}

/// Kills the processes of which this holds; it is told where they stand and how they were called.
fn kill_processes(is_it: impl Fn(&str, &str) -> bool) {
    let is_one = |pid: &String| {
        let folder = Path::new("/proc").join(pid);
        let place = std::fs::read_link(folder.join("cwd")).unwrap_or_default();
        let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        is_it(&place.to_string_lossy(), &String::from_utf8_lossy(&line))
    };
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let pids: Vec<String> = pids.filter(|pid| pid.parse::<u32>().is_ok()).filter(is_one).collect();
    assert!(!pids.is_empty(), "nobody is there to be killed");
    // One may have ended by the end of another.
    Command::new("kill").arg("-KILL").args(&pids).output().unwrap();
}

fn strike_beside(fleet: &Fleet, beside: Beside) {
    let kill = |parts: &[&str]| parts.iter().for_each(|part| drop(fleet.control(&["kill", part])));
    let both = |service: &str| kill(&[&format!("{service}-1"), &format!("{service}-2")]);
    match beside {
        Beside::Nothing => {}
        Beside::Leader => kill(&[fleet.leader()]),
        Beside::Orchestrator => kill(&[until("an orchestrator answers", || busy_orchestrator(fleet))]),
        Beside::Orchestrators => {
            until("an orchestrator answers", || busy_orchestrator(fleet));
            both("orchestrator");
            fleet.control(&["start", "orchestrator-1", "orchestrator-2"]);
        }
        Beside::Registries => {
            both("registry");
            fleet.control(&["start", "registry-1", "registry-2"]);
        }
    }
}

/// The orchestrator that runs the script because of a lost node.
fn busy_orchestrator(fleet: &Fleet) -> Option<&'static str> {
    let owner = fleet.value(
        "SELECT split_part(owner, '|', 2) FROM orchestrator.leases JOIN orchestrator.runs USING (run_id) \
         WHERE action = 'node-lost' AND state <> 'ended' AND owner <> '' LIMIT 1",
    );
    ["orchestrator-1", "orchestrator-2"].into_iter().find(|part| fleet.pid_of(part) == owner)
}

/// Whoever is cut off together with the former primary must not be told that a write was taken.
fn takes_no_write(fleet: &Fleet, cluster: &Cluster<'_, Fleet>, agent: &str, former: SocketAddr) {
    let told = |limit: &str, statement: &str| {
        cluster.target.run_by(fleet.inside(agent, &["timeout", limit, "mariadb"]), former, statement)
    };
    // One that is not even there proves nothing.
    let is_there = || until(&format!("{former} answers"), || told("60", "SELECT 1").filter(|answer| answer == "1"));
    is_there();
    let write = "SET STATEMENT max_statement_time=3 FOR INSERT INTO test.numbers VALUES (0, 'alone')";
    assert_eq!(told("10", write), None, "{former} takes writes, alone on its machine");
    is_there();
}

/// The agent of a node, as a part of the fleet.
fn agent_of(fleet: &Fleet, cluster: &str, name: &str) -> String {
    until(&format!("{name} has an agent"), || {
        let list = fleet.json(&["cluster", "nodes", cluster]);
        let node = list["nodes"].as_array()?.iter().find(|node| node["name"] == name)?;
        Some(format!("mesos-agent-{}", node["host"].as_str()?.rsplit_once('.')?.1))
    })
}

/// A file on each disk that no copy of a server's data has: it is there as long as the disk is the same.
const MARK: &str =
    "test \"$0\" = read || echo \"$BIGDATA_NODE\" >\"$BIGDATA_DISK_DATA/mark\"; cat \"$BIGDATA_DISK_DATA/mark\"";

fn marks(fleet: &Fleet, cluster: &Cluster<'_, Fleet>, word: &str) {
    for node in cluster.nodes() {
        let mark = fleet.run(&["node", "exec", &cluster.dn, &node, "--", "bash", "-c", MARK, word]);
        assert_eq!(mark.trim(), node, "the disk of {node} is another one");
    }
}

/// Times without a writer, by what died.
fn tell(outages: &[(Victim, Beside, Duration)]) {
    let mut kinds: Vec<(Victim, Beside)> = outages.iter().map(|(victim, beside, _)| (*victim, *beside)).collect();
    kinds.sort();
    kinds.dedup();
    for (victim, beside) in kinds {
        let of_kind = outages.iter().filter(|(of, with, _)| (*of, *with) == (victim, beside));
        let mut times: Vec<f64> = of_kind.map(|(.., outage)| outage.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        eprintln!("{victim:?}, {beside:?} beside: without a writer {median:.2} s in the median, {worst:.2} s at worst");
    }
}
