//! Settings of the service.

use crate::backups::{OpenError, Place};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Settings of the service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the service listens.
    pub listen: String,
    /// Base URL of the registry.
    pub registry: String,
    /// Base URL of the gateway: scripts reach their nodes through it.
    pub gateway: String,
    /// Where runs have their directories; each replica on a machine has its own. Its path must be short: sockets lie below
    /// it.
    pub work_dir: PathBuf,
    /// The executable that answers `__sandbox`, and is the scripts' `bigdata`.
    pub program: PathBuf,
    /// The key that secret outputs are sealed with, the same for every replica; made where it is missing.
    pub vault_key: PathBuf,
    /// Where the service is root, scripts run as this uid and gid and the ones after it, one for each script at a time. Replicas on
    /// one machine need ranges that do not meet.
    pub script_uid_first: u32,
    /// How many scripts run at a time.
    pub concurrency: u32,
    /// How often the registry is asked for everything, in milliseconds.
    pub reconcile_interval_ms: u64,
    /// How long a claim on a cluster is good without being renewed, in milliseconds. A replica that cannot renew it
    /// ends its script after three fifths of this; another takes the run over when all of it has passed.
    pub lease_ms: u64,
    /// How long the log of a destroyed cluster is kept, in milliseconds.
    pub log_retention_ms: u64,
    /// How many of the newest lines of a cluster's log are kept.
    pub log_lines_max: u64,
    /// Where backups are stored, the same for every replica: a directory's absolute path (or `file://` and it), or
    /// `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` (Google), `az://` or `abfs://CONTAINER/PREFIX` (Azure). None: there are no
    /// backups.
    pub backups_url: Option<String>,
    /// The address of a bucket that is not its maker's own (`https://s3.example.org`).
    pub backups_endpoint: Option<String>,
    /// The region of a bucket of `s3://`. What is not set here is read from the usual variables: `AWS_*`, `GOOGLE_*`, `AZURE_*`.
    pub backups_region: Option<String>,
    /// The name of the key that opens the bucket; of Azure the storage account. Google needs none.
    pub backups_access_key: Option<String>,
    /// A file that holds the secret that belongs to it; of Google a service account's key as JSON.
    pub backups_secret_key_file: Option<PathBuf>,
    /// Bounds on each script.
    pub limits: Limits,
}

impl Settings {
    /// Whether the service could use them, as far as that can be said without making or asking anything.
    ///
    /// # Errors
    /// What is wrong with the store for backups, with the setting's name.
    pub fn check(&self) -> Result<(), OpenError> {
        Place::check(self)
    }
}

/// Bounds on one run of a script.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How much of one attempt's output is stored, in bytes.
    pub output_bytes: u64,
    /// The longest line that is stored, in bytes.
    pub line_bytes: usize,
    /// The greatest file that the script can write, in bytes.
    pub file_bytes: u64,
    /// Virtual memory of each of its processes, in bytes.
    pub address_space_bytes: u64,
    /// Open descriptors of each of its processes.
    pub open_files: u64,
    /// Its processes and threads; enforced where it has a uid of its own.
    pub processes: u64,
    /// Memory of its whole tree, in bytes; enforced where the service is root and has control groups.
    pub memory_bytes: u64,
    /// What its directory may hold, in bytes; it is measured every few seconds, and the script ended beyond that.
    pub directory_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4003".to_owned(),
            registry: "http://127.0.0.1:4001".to_owned(),
            gateway: "http://127.0.0.1:5000".to_owned(),
            work_dir: PathBuf::from("data/orchestrator"),
            program: PathBuf::from("bigdata"),
            vault_key: PathBuf::from("data/orchestrator.key"),
            script_uid_first: 2_000_100,
            concurrency: 8,
            reconcile_interval_ms: 10_000,
            lease_ms: 15_000,
            log_retention_ms: 30 * 24 * 60 * 60 * 1000,
            log_lines_max: 500_000,
            backups_url: None,
            backups_endpoint: None,
            backups_region: None,
            backups_access_key: None,
            backups_secret_key_file: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output_bytes: 4 << 20,
            line_bytes: 8 << 10,
            file_bytes: 1 << 30,
            address_space_bytes: 8 << 30,
            open_files: 1024,
            processes: 1024,
            memory_bytes: 2 << 30,
            directory_bytes: 4 << 30,
        }
    }
}
