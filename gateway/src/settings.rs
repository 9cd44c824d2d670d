//! What an operator may set.

use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};

/// The gateway's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where it listens; a loopback address.
    pub listen: SocketAddr,
    /// The registry's base URL.
    pub registry: String,
    /// The framework's base URL.
    pub framework: String,
    /// The orchestrator's base URL.
    pub orchestrator: String,
    /// Threads that serve requests.
    pub workers: usize,
    /// The longest wait for the head of a service's answer, in milliseconds; `?wait=` has its own time beside.
    pub answer_timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
            registry: "http://127.0.0.1:5001".to_owned(),
            framework: "http://127.0.0.1:5002".to_owned(),
            orchestrator: "http://127.0.0.1:5003".to_owned(),
            workers: 2,
            answer_timeout_ms: 30_000,
        }
    }
}
