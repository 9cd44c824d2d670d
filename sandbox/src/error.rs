//! What can go wrong on the calling side.

use std::io;

/// Why a bounded child could not be started, steered or cleaned up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The specification cannot be carried out as it stands.
    #[error("the sandbox specification is refused: {0}")]
    Refused(String),
    /// The specification does not fit into the control socket.
    #[error("the sandbox specification has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Its encoded length.
        bytes: usize,
        /// The greatest length that is accepted.
        limit: usize,
    },
    /// A specification or message could not be encoded or understood.
    #[error("a sandbox message is not valid")]
    Message(#[source] serde_json::Error),
    /// An operating system call failed.
    #[error("{what}")]
    System {
        /// What was attempted.
        what: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The supervisor ended without a report: it was killed, and its tree may still run.
    #[error("the sandbox ended without a report")]
    Vanished,
    /// A bounded wait ran out.
    #[error("the sandbox did not answer in time")]
    Late,
    /// Processes that outlived every attempt to end them.
    #[error("{} processes are still alive: {pids:?}", pids.len())]
    Survivors {
        /// Their process ids.
        pids: Vec<i32>,
    },
}

impl Error {
    /// An [`Error::System`] that says what was attempted.
    pub(crate) fn system(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System { what: what.into(), source: source.into() }
    }

    /// The error and its sources on one line.
    pub(crate) fn one_line(&self) -> String {
        match self {
            Self::System { what, source } => format!("{what}: {source}"),
            Self::Message(source) => format!("{self}: {source}"),
            other => other.to_string(),
        }
    }
}
