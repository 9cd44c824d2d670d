//! MariaDB: what its users decide, and what is done with it on ordinary days.

use crate::cluster::Cluster;
use crate::mariadb::alone;
use crate::server::{Fault, thaw};
use crate::support::{Data, Platform, get, until};
use crate::writer::Writer;
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn an_asynchronous_primary_out_of_reach_is_given_up_by_a_word_alone() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = Cluster::launch(&platform, &["size=2", "replication=async"]);
    cluster.make_table();
    cluster.settle(2);
    let insert = |server, number: u64| {
        // Once more where the answer did not come.
        let row =
            format!("INSERT IGNORE INTO test.numbers VALUES ({number}, SHA2('{number}', 256)); SELECT 'it is there'");
        let is_there = || cluster.target.run(server, &row).filter(|said| said == "it is there").map(drop);
        until(&format!("the row {number} is taken by {server}"), is_there);
    };
    let (primary, server) = (cluster.primary(), cluster.target.endpoint_now("primary"));
    let replica = cluster.nodes().into_iter().find(|node| *node != primary).unwrap();
    insert(server, 1);
    let count = "SELECT COUNT(*) FROM test.numbers";
    until("the replica has the row", || (cluster.query(&replica, count) == "1").then_some(()));

    let frozen = Fault::Frozen.strike(&data, &primary);
    until("the failover says what it waits for", || {
        let operations = platform.json(&["operation", "list"])["operations"].clone();
        let error = |operation: &Value| operation["error"].as_str().unwrap_or_default().to_owned();
        let says = format!("{primary} cannot be reached and may take writes: `accept-loss` goes on without it");
        operations.as_array().unwrap().iter().any(|it| error(it).contains(&says)).then_some(())
    });
    assert_eq!((cluster.primary(), cluster.query(&replica, "SELECT @@read_only")), (primary.clone(), "1".to_owned()));
    cluster.change(&["action", "accept-loss"]);
    assert_eq!(cluster.primary(), replica);
    insert(cluster.target.endpoint_now("primary"), 2);

    // The former one still takes writes of whoever is connected with it: this is the loss that was accepted.
    thaw(&frozen[1..]);
    insert(server, 3);
    thaw(&frozen);
    cluster.settle(2);
    cluster.verify(&BTreeSet::from([1, 2]));
    assert_eq!(cluster.query(&replica, "SELECT n FROM test.numbers ORDER BY n"), "1\n2");
}

#[test]
fn servers_are_upgraded_there_and_back_moved_and_backed_up_by_the_clock() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = Cluster::launch(&platform, &["size=2", "max_connections=55"]);
    cluster.make_table();
    let writer = Writer::start(cluster.target.clone(), 1);
    let goes_on = || {
        cluster.settle(2);
        let before = writer.count();
        until("rows are written", || (writer.count() > before + 20).then_some(()));
    };
    let connections =
        || cluster.nodes().into_iter().map(|node| cluster.query(&node, "SELECT @@max_connections")).collect::<Vec<_>>();
    for (words, expected) in
        [(["upgrade", "max_connections=77"].as_slice(), "77"), (&["upgrade", "--back-to", "1"], "55")]
    {
        goes_on();
        cluster.change(words);
        assert_eq!(connections(), [expected; 2]);
    }

    goes_on();
    let primary = cluster.primary();
    let replica = cluster.nodes().into_iter().find(|node| *node != primary).unwrap();
    let disk = |command: &str| {
        let words = ["node", "exec", &cluster.dn, &replica, "--", "sh", "-c", command];
        platform.try_run(&words).status.success()
    };
    assert!(disk("touch \"$BIGDATA_DISK_DATA/mark\" && test -e \"$BIGDATA_DISK_DATA/mark\""));
    platform.change(&["node", "replace", &cluster.dn, &replica, "--elsewhere", "--wait", "--timeout", "300"]);
    assert!(disk("! test -e \"$BIGDATA_DISK_DATA/mark\""), "{replica} has its former disk");

    goes_on();
    cluster.change(&["action", "backup"]);
    goes_on();
    cluster.change(&["upgrade", "backup_every=1s", "backup_keep=2"]);
    let first = until("a backup is made by the clock", || by_the_clock(&platform, &cluster.dn)?.into_iter().next());
    until("old ones are removed", || (!by_the_clock(&platform, &cluster.dn)?.contains(&first)).then_some(()));
    until("the newest two are kept", || (by_the_clock(&platform, &cluster.dn)?.len() == 2).then_some(()));
    let all = until("the backups are told", || backups(&platform, &cluster.dn));
    assert_eq!(all.iter().filter(|it| it["cause"] == "user").count(), 1, "the user's own stays: {all:?}");
    // What is compared then stands still.
    cluster.change(&["upgrade", "backup_every="]);
    cluster.settle(2);
    until("no backup is under way", || {
        let operations = platform.json(&["operation", "list"])["operations"].clone();
        let is_over = |it: &Value| it["status"] != "pending" && it["status"] != "running";
        operations.as_array().unwrap().iter().all(is_over).then_some(())
    });
    cluster.verify(&writer.end());
}

fn backups(platform: &Platform, cluster: &str) -> Option<Vec<Value>> {
    let list = get(platform.address(), &format!("/bigdata/api/v1/{cluster}/backups"))?;
    list["backups"].as_array().cloned()
}

/// The ids of those that no user asked for.
fn by_the_clock(platform: &Platform, cluster: &str) -> Option<Vec<String>> {
    let own = |backup: &Value| backup["cause"] != "user";
    let list = backups(platform, cluster)?;
    list.iter().filter(|backup| own(backup)).map(|backup| backup["id"].as_str().map(str::to_owned)).collect()
}
