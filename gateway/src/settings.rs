//! What an operator may set.

use bigdata_chassis::http::Upstreams;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// The gateway's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where it listens; a loopback address.
    pub listen: SocketAddr,
    /// The registry's base URL; several replicas' with commas between them.
    pub registry: Upstreams,
    /// The framework's base URL; several replicas' with commas between them.
    pub framework: Upstreams,
    /// The orchestrator's base URL; several replicas' with commas between them.
    pub orchestrator: Upstreams,
    /// Threads that serve requests.
    pub workers: usize,
    /// The longest wait for the head of a service's answer, in milliseconds; `?wait=` has its own time beside.
    pub answer_timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
            registry: SocketAddr::from((Ipv4Addr::LOCALHOST, 5001)).into(),
            framework: SocketAddr::from((Ipv4Addr::LOCALHOST, 5002)).into(),
            orchestrator: SocketAddr::from((Ipv4Addr::LOCALHOST, 5003)).into(),
            workers: 2,
            answer_timeout_ms: 30_000,
        }
    }
}
