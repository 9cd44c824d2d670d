//! What can go wrong.

use std::path::PathBuf;

/// Why the service could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address is not free, or not one of this machine.
    #[error("the orchestrator cannot listen on {address}")]
    Listen {
        /// The address of the settings.
        address: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A directory cannot be made or used.
    #[error("the directory {path} cannot be used")]
    Directory {
        /// Which one.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The path of the sockets would be too long for the system.
    #[error("work_dir {path} is too long: it may have {limit} bytes, since the paths of sockets below it are limited")]
    WorkDirTooLong {
        /// The directory of the settings, absolute.
        path: PathBuf,
        /// The longest that would do.
        limit: usize,
    },
    /// Scripts run as a user of their own, who could not reach their directories.
    #[error("scripts run as user {uid}, who cannot enter {path}: give it the mode o+x, or choose another work_dir")]
    Unreachable {
        /// The scripts' user.
        uid: u32,
        /// The first directory that cannot be entered.
        path: PathBuf,
    },
    /// The program of the settings cannot be offered to scripts.
    #[error("the program {path} cannot be used")]
    Program {
        /// The program of the settings.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The key for secret outputs.
    #[error(transparent)]
    Vault(#[from] bigdata_chassis::secret::VaultError),
    /// The store for backups.
    #[error(transparent)]
    Backups(#[from] crate::backups::OpenError),
    /// The clients of other services.
    #[error("the HTTP client cannot be made")]
    Client(#[from] bigdata_chassis::http::ClientBuildError),
    /// The bus.
    #[error("the orchestrator's queue cannot be bound")]
    Bus(#[from] bigdata_chassis::bus::BusError),
}
