//! A MariaDB cluster under test: its servers, its rows, and what must hold of them.

use crate::support::until;
use crate::writer::Target;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;

const USER: &str = "app";
const PASSWORD: &str = "it's a \"pass\\word\"";

/// Who asks a platform.
pub(crate) trait Client {
    /// Runs a client command; it must succeed. Its standard output.
    fn run(&self, arguments: &[&str]) -> String;

    /// The same for one that changes a cluster, which another change may hold up.
    fn change(&self, arguments: &[&str]) -> String {
        self.run(arguments)
    }

    /// Where the platform is asked.
    fn gateways(&self) -> Vec<SocketAddr>;
}

/// A cluster with a table for numbered rows.
pub(crate) struct Cluster<'a, C> {
    pub(crate) platform: &'a C,
    pub(crate) dn: String,
    pub(crate) target: Target,
}

impl<'a, C: Client> Cluster<'a, C> {
    pub(crate) fn launch(platform: &'a C, options: &[&str]) -> Self {
        let (user, password) = (format!("user={USER}"), format!("password={PASSWORD}"));
        let words = ["launch", "mariadb", "10.11", "mem=256", "cpu=0.2", "disk=1024", &user, &password];
        let key = format!("test-{:x}", rand::random::<u64>());
        let wait = ["--wait", "--timeout", "300", "--idempotency-key", &key, "--json"];
        let view = json(&platform.run(&[&words[..], options, &wait].concat()));
        assert_eq!(view["status"], "ready");
        Self::of(platform, view["dn"].as_str().unwrap())
    }

    /// One that there is.
    pub(crate) fn of(platform: &'a C, dn: &str) -> Self {
        let target = Target::new(platform.gateways(), dn, USER, PASSWORD);
        Self { platform, dn: dn.to_owned(), target }
    }

    pub(crate) fn make_table(&self) {
        let table = "CREATE DATABASE IF NOT EXISTS test; \
                     CREATE TABLE IF NOT EXISTS test.numbers (n BIGINT UNSIGNED PRIMARY KEY, hash CHAR(64))";
        self.target.run_at_primary(table);
    }

    pub(crate) fn nodes(&self) -> Vec<String> {
        let list = self.ask("nodes");
        list["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The node of the writer's endpoint.
    pub(crate) fn primary(&self) -> String {
        until("a node has the address of the writer's endpoint", || {
            let address = self.target.endpoint("primary")?.ip().to_string();
            let list = self.ask("nodes");
            let node = list["nodes"].as_array()?.iter().find(|node| node["address"] == address.as_str())?;
            Some(node["name"].as_str()?.to_owned())
        })
    }

    /// Waits until every node serves, replicas among the readers, and nothing is under way.
    pub(crate) fn settle(&self, size: usize) {
        until("every server serves", || {
            let view = &self.ask("show")["data"];
            let readers =
                self.nodes().iter().filter(|node| self.target.endpoint(&format!("reader-{node}")).is_some()).count();
            (view["health"] == "healthy" && view["operation"].is_null() && readers + 1 == size).then_some(())
        });
    }

    /// Asks for a change and waits for its end.
    pub(crate) fn change(&self, words: &[&str]) {
        let (word, rest) = words.split_first().unwrap();
        self.platform.change(&[&[*word, &self.dn], rest, &["--wait", "--timeout", "300"]].concat());
    }

    /// All servers hold the same rows, every acknowledged one among them, and one of them takes writes.
    pub(crate) fn verify(&self, acknowledged: &BTreeSet<u64>) {
        let primary = self.primary();
        let position = self.query(&primary, "SELECT @@global.gtid_binlog_pos");
        let expected = self.table(&primary);
        let rows = self.query(&primary, "SELECT n FROM test.numbers");
        let rows: BTreeSet<u64> = rows.lines().map(|row| row.parse().unwrap()).collect();
        let lost: Vec<&u64> = acknowledged.difference(&rows).collect();
        assert!(lost.is_empty(), "{} acknowledged rows are lost: {lost:?}", lost.len());
        for node in self.nodes() {
            let wait = format!("SELECT MASTER_GTID_WAIT('{position}', 300)");
            assert!(node == primary || self.query(&node, &wait) == "0", "{node} lags");
            assert_eq!(self.table(&node), expected, "{node} differs from {primary}");
            let read_only = self.query(&node, "SELECT @@global.read_only");
            assert_eq!(read_only == "0", node == primary, "{node} and the primary {primary}");
        }
    }

    fn table(&self, node: &str) -> String {
        self.query(node, "SELECT COUNT(*) FROM test.numbers; CHECKSUM TABLE test.numbers")
    }
    /// What a server answers to statements of root: lines of fields, which tabs separate.
    pub(crate) fn query(&self, node: &str, statements: &str) -> String {
        let words = [&["node", "exec", &self.dn, node, "--"], &root(statements)[..]].concat();
        self.platform.run(&words).trim_end().to_owned()
    }

    fn ask(&self, what: &str) -> Value {
        json(&self.platform.run(&["cluster", what, &self.dn, "--json"]))
    }
}

/// The client of root at its server.
pub(crate) fn root(statements: &str) -> [&str; 6] {
    ["mariadb", "--defaults-file=my.cnf", "--batch", "--skip-column-names", "-e", statements]
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}
