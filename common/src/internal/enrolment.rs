//! Between the framework and the executors: how an attempt is taken in, what it gets, and what it reports.

use super::{InterfaceAddress, Secrets};
use crate::blueprint::Node;
use crate::event::AttemptRef;
use crate::{AttemptId, ClusterId, Name, Timestamp};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// `TaskInfo.data`: all that Mesos learns of a node.
#[derive(Clone, Serialize, Deserialize)]
pub struct TaskData {
    /// Base URLs of the framework service's replicas, separated by commas; whichever leads takes the node in.
    pub framework: String,
    /// The attempt.
    pub attempt: AttemptId,
    /// Proves the first executor that shows it to be the attempt's.
    pub token: String,
}

/// Where in its sandbox an attempt finds a persistent disk, as its volume's container path. It holds no slash: Mesos's
/// isolator `filesystem/posix` leaves others out, and says so in the agent's log alone.
pub fn volume_path(disk: &str) -> String {
    format!("disk-{disk}")
}

/// Executor to framework: `POST /internal/v1/nodes/enrol`. Idempotent for the same fingerprint.
#[derive(Clone, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The attempt.
    pub attempt: AttemptId,
    /// The token from [`TaskData`].
    pub token: String,
    /// SHA-256 of the certificate (DER) that the executor's control channel shows, in lower-case hexadecimal.
    pub fingerprint: String,
    /// Where its control channel listens, `address:port`.
    pub control: String,
    /// What bounds the workload on this agent, in words (`cgroup v1, uid`).
    pub isolation: String,
}

/// The answer to [`EnrolRequest`]: everything that the executor needs, secrets among it.
#[derive(Clone, Serialize, Deserialize)]
pub struct NodeSpecification {
    /// The cluster.
    pub cluster: ClusterId,
    /// The cluster's dnsname.
    pub dnsname: String,
    /// The node.
    pub node: Name,
    /// The attempt.
    pub attempt: AttemptRef,
    /// What to run.
    pub blueprint: Node,
    /// Its address.
    pub address: String,
    /// The interfaces that its container is to have, the one of `address` first; none: it has what its agent gives it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Its ports by name, as they came out.
    pub ports: IndexMap<Name, u16>,
    /// The addresses of all nodes of the cluster by name, its own among them.
    pub peers: IndexMap<Name, String>,
    /// Values for `@{secret:NAME}`.
    pub secrets: Secrets,
    /// The uid and gid of the cluster's workloads; None: the executor's own.
    pub uid: Option<u32>,
    /// Key of the control channel's tokens, base64: see [`ControlGrant`](super::ControlGrant).
    pub control_key: String,
}

/// A network interface of a container, with an address that is leased to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name inside (`eth0`).
    pub name: Name,
    /// The pool of the framework's settings that its address was leased from.
    pub network: Name,
    /// Its address.
    pub address: Ipv4Addr,
    /// The pool's block of addresses, the first of them.
    pub subnet: Ipv4Addr,
    /// How many bits of it all of the block's addresses share.
    pub prefix: u8,
    /// The address by which what is beyond the network is reached; None: nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// The bridge of the agent's machine that carries the network; None: the container engine makes one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

impl Interface {
    /// What others are told of it.
    pub fn told(&self) -> InterfaceAddress {
        let (name, network) = (self.name.clone(), self.network.to_string());
        InterfaceAddress { name, network, address: self.address.to_string() }
    }
}

/// Framework to executor: `GET /internal/v1/nodes/peers`. [`NodeSpecification::peers`] as it is now: nodes come, move and go
/// while others of their cluster run.
///
/// Asked with `Authorization: Bearer <token>`, of the form of [`ControlGrant::token`](super::ControlGrant::token), which the
/// executor makes itself with its [`NodeSpecification::control_key`]; the caller in it is `executor`. 410: the attempt is its
/// node's no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// The addresses of all nodes of the cluster by name, its own among them.
    pub peers: IndexMap<Name, String>,
}

/// What an executor says of its node in the `data` of every Mesos status update, as JSON; the control channel's
/// `GET /v1/health` holds the same fields. It is the whole of what is known: the newest one replaces every older one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeReport {
    /// What the health checks say; None: none yet, or none declared.
    pub passing: Option<bool>,
    /// How often the workload was started again in place.
    pub restarts: u32,
    /// For people: why it ended, waits, or does not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last lines of its output, where they help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// Whether the workload's processes run now.
    pub started: bool,
    /// When a check last came back, whatever it said, by the agent's clock; None: none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
}
