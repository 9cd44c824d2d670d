//! What a product's template renders to: the nodes and services of one cluster.
//!
//! These types are the checked form. The registry alone reads rendered documents (every fault with its JSON pointer);
//! here they only travel between services.

use crate::Name;
use crate::container_options::ContainerRights;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;

/// The whole of a cluster as its product's template describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blueprint {
    /// The name under which the cluster's nodes are found; the cluster's id where the template says nothing.
    pub dnsname: String,
    /// The nodes, in the template's order.
    pub nodes: IndexMap<Name, Node>,
    /// The services, in the template's order.
    pub services: IndexMap<Name, Service>,
}

/// One node: a workload and what it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// CPUs, more than 0.
    pub cpu: f64,
    /// Memory in MiB, more than 0.
    pub mem: u64,
    /// Container image, for agents that have a container engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_image: Option<String>,
    /// Further words for the container engine, as the older templates have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_opts: Option<String>,
    /// What `docker_opts` may hold beyond harmless options: an operator gave the product the right to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub container_rights: ContainerRights,
    /// What the image's registry is told, in place of what the agent's operator says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_credentials: Option<ImageCredentials>,
    /// What is run where there is no container engine, or none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// The workload's own environment; values may hold late values.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, String>,
    /// Files written before each start: path (relative to the node's folder) to content; both may hold late values.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub files: IndexMap<String, File>,
    /// Disks by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub disks: IndexMap<Name, Disk>,
    /// Network interfaces by name (`eth0`).
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub networks: IndexMap<Name, Network>,
    /// Ports by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub ports: IndexMap<Name, Port>,
    /// Gates RUNNING: "the node can be worked on". None: as soon as the workload has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Gates `ready`, and is the node's health from then on: "it serves". None: healthy while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Check>,
    /// When the workload is started.
    #[serde(default)]
    pub start: Start,
    /// What says in figures how the workload does: its output, a JSON object, is part of the node's stats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Command>,
    /// Where the node may be placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Whether another agent takes the node when its own is lost.
    #[serde(default)]
    pub replace: Replace,
    /// How often a workload that ends is started again in place.
    #[serde(default)]
    pub restart: Restart,
    /// Keys that the platform does not know, kept for the product's script.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
}

impl Node {
    /// Whether it can run as a container only.
    pub fn needs_engine(&self) -> bool {
        self.docker_image.is_some() && self.command.is_none()
    }
}

/// Who a registry of images takes the engine for. Both may hold late values; with an empty name there are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCredentials {
    /// The user's name.
    pub username: String,
    /// The password or token, which the blueprint never holds: a late value alone.
    pub password: String,
}

/// A role in the cluster: some of its nodes, and properties for the product's script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// The nodes that bear it, in the template's order.
    pub nodes: Vec<Name>,
    /// Everything else that the template says of it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
}

/// A workload's command: a list is run as it stands, a text by `/bin/sh -c`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// Program and arguments.
    Arguments(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

/// A file to be written into a node's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The text, with late values.
    pub content: String,
    /// Permission bits, `0o600` where nothing is said.
    pub mode: u32,
}

/// A disk of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where a container sees it; process nodes find it by `BIGDATA_DISK_<NAME>` and `@{disk:NAME}`.
    pub destination: String,
    /// Size in MiB.
    pub size: u64,
    /// Whether it outlives the node's attempts.
    pub persistent: bool,
    /// A part of an agent's storage, or a whole disk of it.
    #[serde(rename = "type")]
    pub kind: DiskKind,
}

impl Disk {
    /// Whether it is a volume of its agent's, which stays until its cluster is destroyed. A whole disk always is: so it is
    /// nobody else's meanwhile, and what becomes of its data then is the cluster's choice.
    pub fn is_volume_of_agent(&self) -> bool {
        self.persistent || self.kind == DiskKind::Whole
    }
}

/// What a disk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskKind {
    /// A part of the agent's storage.
    Volume,
    /// A whole physical disk of the agent.
    Whole,
}

/// One network interface of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The pool that its address comes from.
    pub networkname: String,
    /// A fixed address; None: one is leased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A port that a node listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its number on agents that give nodes addresses of their own.
    pub port: u16,
    /// Whether it must have this number even where nodes share their agent's address.
    pub fixed: bool,
}

/// A check of a node, made by its executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What is tried.
    #[serde(flatten)]
    pub probe: Probe,
    /// Milliseconds between two tries once it has passed; while it has not, tries are made more often.
    pub interval_ms: u64,
    /// The longest that one try may take, in milliseconds.
    pub timeout_ms: u64,
    /// How many failures in a row make a passing check fail.
    pub failures: u32,
    /// The longest until it passes first, in milliseconds; after that the node (check) or the cluster (health) has failed.
    pub deadline_ms: u64,
}

/// An executor says again that a check passes or fails after this time at the earliest.
const REPORT_INTERVAL_MIN: Duration = Duration::from_secs(30);

impl Check {
    /// How often the executor says again what the check says, though nothing changed: with the first try after this time.
    pub fn report_interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms).max(REPORT_INTERVAL_MIN)
    }

    /// What was said of the check holds for so long: one report may be lost, and the next one may take its time.
    pub fn silence_limit(&self) -> Duration {
        let try_limit = Duration::from_millis(self.timeout_ms);
        self.report_interval() * 2 + Duration::from_millis(self.interval_ms) + try_limit
    }
}

/// What a check tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// Every one of these ports accepts a connection on the node's address.
    Tcp(Vec<PortRef>),
    /// A GET answers with a 2xx or 3xx.
    Http {
        /// The port to ask.
        port: PortRef,
        /// The path, beginning with `/`.
        path: String,
    },
    /// A command in the node's environment exits 0.
    Command(Command),
}

/// A port by number or by its name among the node's ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortRef {
    /// Its number.
    Number(u16),
    /// Its name in `ports`.
    Name(Name),
}

/// When a node's workload is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// As soon as the node is placed.
    #[default]
    Auto,
    /// When the product's script says so, after it has configured the node.
    Script,
}

/// Where a node may be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operator", rename_all = "snake_case")]
pub enum Constraint {
    /// The agent's attribute (or `hostname`) has this value.
    Equals {
        /// Name of the attribute.
        attribute: String,
        /// The value wanted.
        value: String,
    },
    /// The agent's attribute (or `hostname`) has another value, or none.
    NotEquals {
        /// Name of the attribute.
        attribute: String,
        /// The value not wanted.
        value: String,
    },
    /// No other node of the cluster with this constraint is where the attribute (or `hostname`) has the same value.
    Unique {
        /// Name of the attribute.
        attribute: String,
    },
}

/// What becomes of a node whose agent is gone, or cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replace {
    /// It waits for its agent, and its data.
    #[default]
    Wait,
    /// Another agent takes it, after this time without word of its own one, with empty disks.
    Elsewhere {
        /// Milliseconds.
        after_ms: u64,
    },
}

/// How often a workload that ends is started again in place, by its executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Starts within the window beyond which the attempt has failed.
    pub limit: u32,
    /// The window in milliseconds; a workload that ran longer counts anew.
    pub window_ms: u64,
    /// The wait before the first restart in milliseconds; it doubles up to a minute.
    pub backoff_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self { limit: 3, window_ms: 10 * 60 * 1000, backoff_ms: 500 }
    }
}
