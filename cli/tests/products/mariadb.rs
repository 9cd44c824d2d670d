//! MariaDB: what is acknowledged stays, whatever becomes of its servers.

use crate::canaries::Canaries;
use crate::cluster::{Client, Cluster};
use crate::server::{Fault, thaw, try_query};
use crate::support::{Data, Platform, get, until};
use crate::writer::Writer;
use bigdata_chassis::testing::Stalls;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

impl Client for Platform {
    fn run(&self, arguments: &[&str]) -> String {
        self.run(arguments)
    }

    fn change(&self, arguments: &[&str]) -> String {
        self.change(arguments)
    }

    fn gateways(&self) -> Vec<SocketAddr> {
        vec![self.address()]
    }
}

/// Lets one test run at a time, and tells what is missing on this machine.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    for program in ["mariadbd", "mariadb", "mariabackup", "mbstream"] {
        let found = Command::new(program).arg("--version").output().is_ok();
        assert!(found, "{program} is missing: apt-get install mariadb-server mariadb-backup");
    }
    crate::alone()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

#[test]
fn the_script_decides_as_it_says() {
    crate::decisions("mariadb/10.11", "mariadb_decisions.py");
}

#[test]
fn what_is_acknowledged_survives_every_primary() {
    let _alone = alone();
    let rounds = number("BIGDATA_PRODUCT_ROUNDS", 5);
    let seed = number("BIGDATA_PRODUCT_SEED", rand::random::<u32>().into());
    println!("BIGDATA_PRODUCT_SEED={seed} repeats these moments");
    let mut random = StdRng::seed_from_u64(seed);
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = Cluster::launch(&platform, &["size=3"]);
    cluster.make_table();
    let writer = Writer::start(cluster.target.clone(), 1);
    let mut outages = Vec::new();
    for round in 0..rounds {
        cluster.settle(3);
        let (primary, before) = (cluster.primary(), writer.count());
        until("rows are written", || (writer.count() > before + 50).then_some(()));
        std::thread::park_timeout(Duration::from_millis(random.random_range(0..1000)));
        let fault = Fault::ALL[usize::try_from(round).unwrap() % Fault::ALL.len()];
        let (struck, stalls) = (Instant::now(), Stalls::watch());
        let frozen = fault.strike(&data, &primary);
        until("another server is the primary", || (cluster.primary() != primary).then_some(()));
        let before = writer.count();
        until("rows are written again", || (writer.count() > before + 20).then_some(()));
        let outage = writer.longest_gap(struck);
        // A former primary that comes back believes that it still is one.
        thaw(&frozen);
        println!("{fault:?} of {primary}: {:.2} s without a writer", outage.as_secs_f64());
        stalls.assert_kept(fault.outage_max(), outage, &format!("{fault:?}: without a writer"));
        outages.push((fault, outage));
    }
    cluster.settle(3);
    let acknowledged = writer.end();
    cluster.verify(&acknowledged);
    println!("{} rows acknowledged, none lost", acknowledged.len());
    for fault in Fault::ALL {
        let mut times: Vec<f64> =
            outages.iter().filter(|(of, _)| *of == fault).map(|(_, outage)| outage.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        if let Some(worst) = times.last() {
            println!(
                "{fault:?}: without a writer {:.2} s in the median, {worst:.2} s at worst",
                times[times.len() / 2]
            );
        }
    }
}

#[test]
fn servers_come_and_go_while_rows_are_written() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = Cluster::launch(&platform, &["size=1"]);
    let secret = |name: &str| platform.run(&["cluster", "secrets", &cluster.dn, name]).trim().to_owned();
    let canaries = Canaries::watch(vec![secret("root_password"), secret("replication_password")]);
    cluster.make_table();
    let writer = Writer::start(cluster.target.clone(), 1);
    let more = |rows: usize| {
        let before = writer.count();
        until("rows are written", || (writer.count() >= before + rows).then_some(()));
    };
    more(100);
    cluster.change(&["scale", "size=3"]);
    assert_eq!(cluster.nodes().len(), 3);
    more(100);
    cluster.change(&["action", "switchover", "to=node2"]);
    assert_eq!(cluster.primary(), "node2");
    more(100);

    let refused = cluster.target.run(cluster.target.endpoint_now("reader-node1"), "DELETE FROM test.numbers");
    assert_eq!(refused, None, "a replica takes writes");
    // A replica that differs from its primary is given new data.
    cluster.query("node1", "SET SESSION sql_log_bin=OFF; DELETE FROM test.numbers WHERE n = 7");
    cluster.query("node2", "UPDATE test.numbers SET hash = 'other' WHERE n = 7");
    until("the replica is rebuilt", || {
        let hash = try_query(&platform, &cluster.dn, "node1", "SELECT hash FROM test.numbers WHERE n = 7");
        hash.is_ok_and(|hash| hash == "other").then_some(())
    });
    cluster.settle(3);
    more(50);

    // The primary is started anew without being missed, and every server keeps its number whatever has come and gone.
    cluster.change(&["scale", "size=2", "--remove", "node1"]);
    more(50);
    cluster.change(&["upgrade", "max_connections=77"]);
    assert_eq!(cluster.primary(), "node0", "node2 handed its place over");
    assert!(platform.run(&["cluster", "logs", &cluster.dn]).contains("node2 has handed its place to node0"));
    cluster.change(&["scale", "size=3"]);
    cluster.settle(3);
    let numbers = cluster.nodes().into_iter().map(|node| cluster.query(&node, "SELECT @@server_id, @@max_connections"));
    assert_eq!(numbers.collect::<BTreeSet<_>>(), BTreeSet::from(["1\t77", "2\t77", "3\t77"].map(str::to_owned)));
    for node in cluster.nodes() {
        let is_primary = node == cluster.primary();
        // Its command has five seconds for them, and a replica that is just connecting has no lag to tell.
        let stats = until(&format!("{node} tells its figures"), || {
            let stats = platform.json(&["node", "stats", &cluster.dn, &node])["workload"].clone();
            (stats.is_object() && stats["replication_lag_s"].is_null() == is_primary).then_some(stats)
        });
        assert_eq!(stats["role"], if is_primary { "primary" } else { "replica" }, "{stats}");
        for figure in ["queries_per_second", "connections", "buffer_pool_hit_rate", "disk_used_mib"] {
            assert!(stats[figure].is_number(), "{figure} in {stats}");
        }
    }
    more(50);

    cluster.change(&["scale", "size=1"]);
    assert_eq!(cluster.nodes().len(), 1);
    more(50);
    cluster.verify(&writer.end());
    let said = ["logs", "events", "show", "endpoints"].map(|what| platform.run(&["cluster", what, &cluster.dn]));
    canaries.end(&[&said[..], &[platform.log()]].concat());
}

#[test]
fn a_backup_becomes_a_cluster_with_the_same_rows() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = Cluster::launch(&platform, &["size=2"]);
    cluster.make_table();
    let writer = Writer::start(cluster.target.clone(), 1);
    until("rows are written", || (writer.count() > 200).then_some(()));
    cluster.change(&["action", "backup"]);
    let acknowledged = writer.end();
    let path = format!("/bigdata/api/v1/{}/backups", cluster.dn);
    let backups = until("the backups are told", || get(platform.address(), &path));
    let id = backups["backups"][0]["id"].as_str().unwrap();

    let other = Cluster::launch(&platform, &["size=2", &format!("backup_id={id}")]);
    let last: u64 = other.query(&other.primary(), "SELECT MAX(n) FROM test.numbers").parse().unwrap();
    // Row by row: what the former holds up to the moment of the backup.
    let rows = format!("SELECT * FROM test.numbers WHERE n <= {last} ORDER BY n");
    let restored = other.query(&other.primary(), &rows);
    assert!(last >= 200 && restored == cluster.query(&cluster.primary(), &rows));
    other.verify(&acknowledged.into_iter().filter(|number| *number <= last).collect());

    let count = restored.lines().count().to_string();
    let connected = |cluster: &Cluster<Platform>| {
        let words = ["connect", &cluster.dn, "writer", "--", "-N", "-e", "SELECT COUNT(*) FROM test.numbers"];
        platform.run(&words).trim().to_owned()
    };
    assert_eq!(connected(&other), count);
    let counted = || crate::by_the_line(&platform, &[&other.dn, "writer"], "-N -e 'SELECT COUNT(*) FROM test.numbers'");
    assert_eq!(counted().trim(), count);
    other.change(&["action", "rotate"]);
    let server = other.target.endpoint_now("primary");
    assert_eq!(other.target.run(server, "SELECT 1"), None, "the former password works");
    assert_eq!(connected(&other), count, "with the new one");
    assert_eq!(counted().trim(), count, "the line reads the password where it is now");
}
