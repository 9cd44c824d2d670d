//! MariaDB: a backup takes the place of what there is, on every server, whatever is killed meanwhile.

use crate::cluster::Cluster;
use crate::mariadb::alone;
use crate::server::{Fault, executor_of, server_of, signal, try_query};
use crate::support::{Data, Platform, get, until};
use crate::writer::Writer;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROWS: &str = "SELECT * FROM test.numbers ORDER BY n; SELECT * FROM test.kept ORDER BY n";
const NOWHERE: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

/// A cluster with some rows, and a backup of exactly these.
fn with_backup<'a>(platform: &'a Platform, size: &str) -> (Cluster<'a, Platform>, String, String) {
    let cluster = Cluster::launch(platform, &[size]);
    cluster.make_table();
    let rows = "CREATE TABLE IF NOT EXISTS test.kept (n INT PRIMARY KEY, hash CHAR(64)); \
                INSERT IGNORE INTO test.kept SELECT seq, SHA2(seq, 256) FROM test.seq_1_to_500; \
                INSERT IGNORE INTO test.numbers SELECT n, hash FROM test.kept";
    cluster.target.run_at_primary(rows);
    cluster.change(&["action", "backup"]);
    let path = format!("/bigdata/api/v1/{}/backups", cluster.dn);
    let list = until("the backups are told", || get(platform.address(), &path));
    let id = list["backups"][0]["id"].as_str().unwrap().to_owned();
    let rows = cluster.query(&cluster.primary(), ROWS);
    assert_eq!(rows.lines().count(), 1000);
    (cluster, id, rows)
}

/// Rows that the backup has not, and a table less.
fn damage(cluster: &Cluster<Platform>) {
    let rows = "DELETE FROM test.numbers WHERE n < 100; UPDATE test.numbers SET hash = 'other' WHERE n < 200; \
                INSERT IGNORE INTO test.numbers SELECT seq, 'new' FROM test.seq_1000_to_1500; \
                DROP TABLE IF EXISTS test.kept; CREATE TABLE IF NOT EXISTS test.other (n INT)";
    cluster.target.run_at_primary(rows);
}

/// The file of a backup's bytes below this folder.
fn stored(folder: &Path, id: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| path.display().to_string().contains(id)).unwrap()
}

fn topology(cluster: &Cluster<Platform>) -> Option<Value> {
    let path = format!("/bigdata/api/v1/{}/endpoints", cluster.dn);
    let list = get(cluster.platform.address(), &path)?;
    let output = list["outputs"].as_array()?.iter().find(|output| output["name"] == "topology")?.clone();
    serde_json::from_str(output["value"].as_str()?).ok()
}

/// Where the cluster's history begins; what says nothing is left out of what is stored.
fn since(cluster: &Cluster<Platform>) -> Option<u64> {
    Some(topology(cluster)?["since"].as_u64().unwrap_or(0))
}

/// Waits until nothing of a restore is left beside the data of a server.
fn tidied(cluster: &Cluster<Platform>) {
    until("it is tidied up", || (topology(cluster)?["aside"].is_null()).then_some(()));
}

/// Every server has these rows and no other, and one of them takes writes.
fn equals(cluster: &Cluster<Platform>, rows: &str) {
    tidied(cluster);
    for node in cluster.nodes() {
        until("the server has what the primary has", || {
            (try_query(cluster.platform, &cluster.dn, &node, ROWS).ok()? == rows).then_some(())
        });
        assert_eq!(cluster.query(&node, "SHOW TABLES FROM test"), "kept\nnumbers", "{node}");
        until(&format!("{node} keeps nothing beside its data"), || {
            let disk = "ls \"$BIGDATA_DISK_DATA\"";
            let left = cluster.platform.run(&["node", "exec", &cluster.dn, &node, "--", "sh", "-c", disk]);
            (!left.contains("former") && !left.contains("incoming")).then_some(())
        });
    }
    cluster.verify(&BTreeSet::new());
}

#[test]
fn a_backup_takes_the_place_of_what_there_is() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let (cluster, backup, rows) = with_backup(&platform, "size=3");
    damage(&cluster);
    let damaged = cluster.query(&cluster.primary(), "CHECKSUM TABLE test.numbers");
    let now = || until("the topology is told", || topology(&cluster));
    let before = now()["since"].clone();
    let refused = |id: &str, why: &str| {
        let output = platform.ask(&["restore", &cluster.dn, id, "--wait", "--timeout", "300"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.contains(why), "{words}");
        let now = now();
        assert_eq!((&now["since"], &now["restoring"]), (&before, &Value::Null));
        tidied(&cluster);
        assert_eq!(cluster.query(&cluster.primary(), "CHECKSUM TABLE test.numbers"), damaged);
    };
    refused(NOWHERE, &format!("there is no backup \"{NOWHERE}\""));
    let stored = stored(&data.path().join("backups"), &backup);
    let whole = std::fs::read(&stored).unwrap();
    let mut broken = whole.clone();
    *broken.last_mut().unwrap() ^= 1;
    std::fs::write(&stored, broken).unwrap();
    refused(&backup, "nothing is restored, the cluster is as it was");
    std::fs::write(&stored, whole).unwrap();

    cluster.change(&["restore", &backup]);
    cluster.settle(3);
    equals(&cluster, &rows);

    let writer = Writer::start(cluster.target.clone(), 10_000);
    let more = || {
        let before = writer.count();
        until("rows are written", || (writer.count() > before + 50).then_some(()));
    };
    more();
    let primary = cluster.primary();
    Fault::Server.strike(&data, &primary);
    until("another server is the primary", || (cluster.primary() != primary).then_some(()));
    more();
    cluster.settle(3);
    let acknowledged: BTreeSet<u64> = writer.end().into_iter().chain(1..=500).collect();
    cluster.verify(&acknowledged);
}

#[test]
fn a_restore_goes_on_whatever_is_killed() {
    let _alone = alone();
    let data = Data::new();
    let mut platform = data.up(&[]);
    let (dn, backup, rows) = {
        let (cluster, backup, rows) = with_backup(&platform, "size=2");
        (cluster.dn, backup, rows)
    };
    for moment in ["the platform before", "the primary before", "the platform after", "the primary after"] {
        let cluster = Cluster::of(&platform, &dn);
        damage(&cluster);
        let history = until("the topology is told", || since(&cluster));
        let executor = executor_of(&server_of(&data, &cluster.primary()));
        let received = || platform.run(&["cluster", "logs", &dn]).matches("receives the backup").count();
        let asked = received();
        ask(&platform, &dn, &backup);
        match moment {
            "the platform before" | "the primary before" => {
                until("it is received", || (received() > asked).then_some(()));
            }
            _ => decided(&cluster, &backup, history),
        }
        if moment.starts_with("the primary") {
            signal("-KILL", &[executor]);
        } else {
            platform.kill();
            platform = data.up(&[]);
        }
        let cluster = Cluster::of(&platform, &dn);
        decided(&cluster, &backup, history);
        until("the restore is over", || ended(&cluster).then_some(()));
        tidied(&cluster);
        cluster.settle(2);
        equals(&cluster, &rows);
    }
}

/// Asks for a restore, and does not wait for it.
fn ask(platform: &Platform, dn: &str, backup: &str) {
    let output = platform.ask(&["restore", dn, backup]);
    assert!(output.status.success(), "{output:?}");
}

/// Whether no restore is under way.
fn ended(cluster: &Cluster<Platform>) -> bool {
    let list = cluster.platform.json(&["operation", "list"])["operations"].clone();
    let open = |it: &Value| it["status"] == "pending" || it["status"] == "running";
    !list.as_array().unwrap().iter().any(|it| it["action"] == "restore" && open(it))
}

/// Waits until a restore is decided. One that fails before has changed nothing, as on a busy machine a primary that does not
/// answer in time has it: it is asked for again.
fn decided(cluster: &Cluster<Platform>, backup: &str, history: u64) {
    let mut again = 0;
    let is_decided = || Some(since(cluster)? > history);
    until("it is decided", || {
        if is_decided()? {
            return Some(());
        }
        if ended(cluster) && !is_decided()? {
            assert!(again < 3, "nothing is restored: {}", cluster.platform.run(&["cluster", "logs", &cluster.dn]));
            again += 1;
            ask(cluster.platform, &cluster.dn, backup);
        }
        None
    });
}
