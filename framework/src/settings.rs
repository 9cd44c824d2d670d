//! The service's settings.

use crate::placement::pools;
use bigdata_chassis::secret::Token;
use bigdata_common::Name;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// What an operator, or the composition root, decides for the framework.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the service listens.
    pub listen: String,
    /// The service's URL as executors on the agents reach it; None: the address that it listens on. With several
    /// replicas, the URLs of all, separated by commas: executors try them in turn.
    pub url: Option<String>,
    /// This replica's URL as the other services reach it: a replica that does not lead points to the leader's. None:
    /// `http://` and the address that it listens on.
    pub advertise: Option<String>,
    /// The registry's URL.
    pub registry: String,
    /// `http://host:port` of every Mesos master, or, alone, the ZooKeeper ensemble that they elect their leader by:
    /// `zk://host:port,host:port/path`. In the environment: a text, with commas between several masters.
    #[serde(deserialize_with = "masters")]
    pub masters: Vec<String>,
    /// The framework's name at Mesos.
    pub name: String,
    /// The user that Mesos starts executors as.
    pub user: String,
    /// The role that offers are taken for.
    pub role: String,
    /// The principal, for masters that ask for one.
    pub principal: Option<String>,
    /// What proves the principal. Given by the composition root, or else read from `secret_file`.
    #[serde(skip)]
    pub secret: Option<Token>,
    /// A file that holds what proves the principal.
    pub secret_file: Option<PathBuf>,
    /// How long Mesos keeps the nodes while the framework is away, in seconds.
    pub failover_timeout: f64,
    /// Program and arguments of the executor, as they are on the agents.
    pub executor_command: Vec<String>,
    /// Where Mesos fetches the executor's program from, into each node's sandbox (`https://…`, `file:///…`): then
    /// `executor_command` is not used, and agents need no copy of their own.
    pub executor_uri: Option<String>,
    /// SHA-256 of that program in hexadecimal: another one is not run. Agents need `sh` and `sha256sum` for it.
    pub executor_sha256: Option<String>,
    /// `PATH` of the executor.
    pub executor_path: String,
    /// What an executor uses itself, beside its node.
    pub executor: Overhead,
    /// uids for clusters' workloads, where agents run as root; None: the executor's own.
    pub uid_pool: Option<UidPool>,
    /// The networks of containers on agents with `bigdata_net: container`, by the names that templates call them
    /// (`networkname`). A container has one address of each network that its node names.
    #[serde(deserialize_with = "networks")]
    pub networks: BTreeMap<Name, NetworkPool>,
    /// How often a node is tried during a launch before the launch has failed.
    pub attempts: u32,
    /// How long offers are held while more may come, in milliseconds; five times as long while launches find their places
    /// in close succession.
    pub hold_ms: u64,
    /// How long the release of a volume, of a node whose agent is away, or with `force` of any node, is waited for, in
    /// milliseconds.
    pub release_limit_ms: u64,
    /// For how long the agent of a node may be away during a launch, in milliseconds: after that the node is placed on
    /// another one. Once all nodes of a cluster have run, they wait for their agents.
    pub unreachable_launch_ms: u64,
    /// The time between the moves of two agents' nodes, in milliseconds, where products let other agents take nodes whose
    /// own one is away (`replace`): of several agents that are away the next one's nodes wait for so long.
    pub replace_pause_ms: u64,
    /// While two or more agents are away at once, and more than this share in percent of the agents that have nodes, no
    /// agent takes the nodes of another by itself: they are likely to be back with their data.
    pub replace_away_percent: u8,
    /// An empty database is worked with though Mesos has nodes or volumes of this registry's clusters, or of a framework of
    /// this name and role: they are left alone, and clusters are placed anew. Otherwise the framework does not subscribe
    /// then, since the database was lost.
    pub adopt_nothing: bool,
    /// How often the registry is asked for the truth, and told of which nodes there was word again, in milliseconds.
    pub reconcile_ms: u64,
    /// For how long a replica leads without renewing that, in milliseconds: so long may nobody lead after one was
    /// killed. It is renewed three times as often.
    pub lease_ms: u64,
    /// The key that nodes' control keys are derived from: the same for all replicas, and for ever. Given by the
    /// composition root, or else read from `control_key_file`.
    #[serde(skip)]
    pub control_key: Option<Token>,
    /// A file that holds the key.
    pub control_key_file: Option<PathBuf>,
}

/// What an executor uses itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overhead {
    /// CPUs.
    pub cpus: f64,
    /// Memory in MiB.
    pub mem: f64,
}

/// A network of containers: its addresses, and what carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPool {
    /// Its block of IPv4 addresses (`10.117.0.0/16`).
    pub subnet: String,
    /// The part of it that nodes get addresses of (`10.117.8.0/21`); None: all of it.
    pub range: Option<String>,
    /// The address in it by which containers reach what is beyond the network; None: nothing is reached by it. Where the
    /// network has no `bridge`, the machine itself has this address, and translates those of the containers.
    pub gateway: Option<Ipv4Addr>,
    /// The bridge, or network card, of the agents' machines that carries the network, the same name on all: its addresses
    /// are unique in the fleet. None: the container engine of each machine makes a bridge of its own, which reaches no other
    /// machine; its addresses are unique on the machine.
    pub bridge: Option<String>,
}

/// A range of uids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UidPool {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4002".to_owned(),
            url: None,
            advertise: None,
            registry: "http://127.0.0.1:4001".to_owned(),
            masters: vec!["http://127.0.0.1:5050".to_owned()],
            name: "bigdata".to_owned(),
            user: "root".to_owned(),
            role: "bigdata".to_owned(),
            principal: None,
            secret: None,
            secret_file: None,
            failover_timeout: 4.0 * 7.0 * 24.0 * 3600.0,
            executor_command: vec!["bigdata".to_owned(), "executor".to_owned()],
            executor_uri: None,
            executor_sha256: None,
            executor_path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            executor: Overhead { cpus: 0.05, mem: 32.0 },
            uid_pool: None,
            networks: BTreeMap::new(),
            attempts: 2,
            hold_ms: 2_000,
            release_limit_ms: 30_000,
            unreachable_launch_ms: 15_000,
            replace_pause_ms: 10_000,
            replace_away_percent: 33,
            adopt_nothing: false,
            reconcile_ms: 10_000,
            lease_ms: 6_000,
            control_key: None,
            control_key_file: None,
        }
    }
}

impl Settings {
    /// Reads the secrets that stand in files, where they were not given.
    ///
    /// # Errors
    /// The name of the setting, its file and why it cannot be used.
    pub(crate) fn read_files(&mut self) -> Result<(), (&'static str, PathBuf, std::io::Error)> {
        let read = |given: &mut Option<Token>, name, file: &Option<PathBuf>| match file {
            Some(path) if given.is_none() => {
                *given = Some(secret_in(path).map_err(|error| (name, path.clone(), error))?);
                Ok(())
            }
            _ => Ok(()),
        };
        read(&mut self.secret, "secret_file", &self.secret_file)?;
        read(&mut self.control_key, "control_key_file", &self.control_key_file)
    }
}

/// A list, or one text: an ensemble, or masters between commas.
fn masters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Masters {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Masters::deserialize(deserializer)? {
        Masters::List(masters) => masters,
        Masters::Text(text) if text.trim_start().starts_with("zk://") => vec![text.trim().to_owned()],
        Masters::Text(text) => {
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        }
    })
}

/// Networks whose addresses can be leased: what is wrong with them is told where the settings are read.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Name, NetworkPool>, D::Error> {
    let networks = BTreeMap::deserialize(deserializer)?;
    pools::Pools::new(&networks).map_err(serde::de::Error::custom)?;
    Ok(networks)
}

fn secret_in(path: &std::path::Path) -> std::io::Result<Token> {
    let text = std::fs::read_to_string(path)?;
    match text.trim() {
        "" => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is empty")),
        secret => Ok(Token::from_text(secret)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_a_list_or_a_text() {
        let read = |value: serde_json::Value| {
            serde_json::from_value::<Settings>(serde_json::json!({ "masters": value })).unwrap().masters
        };
        let several = ["http://a:5050", "http://b:5050"];
        assert_eq!(read(serde_json::json!(several)), several);
        assert_eq!(read("http://a:5050, http://b:5050".into()), several);
        assert_eq!(read("zk://a:2181,b:2181/mesos".into()), ["zk://a:2181,b:2181/mesos"]);
        assert_eq!(read(serde_json::json!(["zk://a:2181,b:2181/mesos"])), ["zk://a:2181,b:2181/mesos"]);
    }

    #[test]
    fn secrets_come_from_files_unless_they_were_given_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "canary\n").unwrap();
        let mut settings = Settings {
            secret: Some(Token::from_text("given")),
            secret_file: Some(folder.path().join("none")),
            control_key_file: Some(path.clone()),
            ..Settings::default()
        };
        settings.read_files().unwrap();
        assert_eq!(settings.control_key.as_ref().map(Token::expose), Some("canary"));
        assert_eq!(settings.secret.as_ref().map(Token::expose), Some("given"));
        let shown = serde_json::to_string(&settings).unwrap() + &format!("{settings:?}");
        assert!(!shown.contains("canary") && !shown.contains("given"), "{shown}");
        std::fs::write(&path, " \n").unwrap();
        settings.control_key = None;
        assert_eq!(settings.read_files().unwrap_err().0, "control_key_file");
    }
}
