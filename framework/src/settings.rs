//! The service's settings.

use bigdata_chassis::secret::Token;
use serde::Deserialize;

/// What an operator, or the composition root, decides for the framework.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the service listens.
    pub listen: String,
    /// The service's URL as executors on the agents reach it; None: the address that it listens on.
    pub url: Option<String>,
    /// The registry's URL.
    pub registry: String,
    /// `http://host:port` of every Mesos master.
    pub masters: Vec<String>,
    /// The framework's name at Mesos.
    pub name: String,
    /// The user that Mesos starts executors as.
    pub user: String,
    /// The role that offers are taken for.
    pub role: String,
    /// The principal, for masters that ask for one.
    pub principal: Option<String>,
    /// What proves the principal. Given by the composition root.
    #[serde(skip)]
    pub secret: Option<Token>,
    /// How long Mesos keeps the nodes while the framework is away, in seconds.
    pub failover_timeout: f64,
    /// Program and arguments of the executor, as they are on the agents.
    pub executor_command: Vec<String>,
    /// `PATH` of the executor.
    pub executor_path: String,
    /// What an executor uses itself, beside its node.
    pub executor: Overhead,
    /// uids for clusters' workloads, where agents run as root; None: the executor's own.
    pub uid_pool: Option<UidPool>,
    /// How often a node is tried during a launch before the launch has failed.
    pub attempts: u32,
    /// How long offers are held while more may come, in milliseconds.
    pub hold_ms: u64,
    /// How long the release of a volume, or with `force` of a node, is waited for, in milliseconds.
    pub release_limit_ms: u64,
    /// How often the registry is asked for the truth, in milliseconds.
    pub reconcile_ms: u64,
    /// The key that nodes' control keys are derived from; must be given by the composition root, and stay the same.
    #[serde(skip)]
    pub control_key: Option<Token>,
}

/// What an executor uses itself.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overhead {
    /// CPUs.
    pub cpus: f64,
    /// Memory in MiB.
    pub mem: f64,
}

/// A range of uids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
            registry: "http://127.0.0.1:4001".to_owned(),
            masters: vec!["http://127.0.0.1:5050".to_owned()],
            name: "bigdata".to_owned(),
            user: "root".to_owned(),
            role: "bigdata".to_owned(),
            principal: None,
            secret: None,
            failover_timeout: 4.0 * 7.0 * 24.0 * 3600.0,
            executor_command: vec!["bigdata".to_owned(), "executor".to_owned()],
            executor_path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            executor: Overhead { cpus: 0.05, mem: 32.0 },
            uid_pool: None,
            attempts: 2,
            hold_ms: 2_000,
            release_limit_ms: 30_000,
            reconcile_ms: 10_000,
            control_key: None,
        }
    }
}
