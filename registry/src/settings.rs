//! What the registry can be told.

use bigdata_common::status::Termination;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The registry's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where it listens; port 0: any.
    pub listen: SocketAddr,
    /// Threads that answer requests.
    pub workers: usize,
    /// The file with the key that seals secret options; made where it is missing.
    pub key_file: PathBuf,
    /// The program that is run as `PROGRAM __render` to render templates; none: this very program.
    pub program: Option<PathBuf>,
    /// How many templates are rendered at the same time; more wait.
    pub render_concurrency: usize,
    /// Where scripts' interpreters are looked for, as in `PATH`.
    pub interpreters: String,
    /// What happens to a cluster's data at its destruction where neither launch nor product says.
    pub termination: Termination,
    /// Milliseconds between two looks for limits that have passed.
    pub timer_interval_ms: u64,
    /// Days for which the history of a destroyed cluster is kept; that of every other cluster is kept whole.
    pub history_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 2,
            key_file: PathBuf::from("registry.key"),
            program: None,
            render_concurrency: 4,
            interpreters: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            termination: Termination::Wipe,
            timer_interval_ms: 1000,
            history_days: 30,
        }
    }
}
