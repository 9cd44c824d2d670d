//! Commands on a node: what is asked of its executor, and what it answers.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest that a command may run on a node: the copy of a large disk, or a person's session. Every service on its way
/// lets it live that long.
pub const EXEC_LIMIT_MAX: Duration = Duration::from_hours(24);

/// Executor's control channel: `POST /v1/exec`. The reply is a stream of JSON lines, [`ExecFrame`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments, run in the node's environment, folder and uid.
    pub command: Vec<String>,
    /// Standard input, base64; None: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Ended after this many milliseconds; at most [`EXEC_LIMIT_MAX`].
    #[serde(default = "ExecRequest::default_timeout_ms")]
    pub timeout_ms: u64,
}

/// A connection that carries a command is looked at when it has been silent for this long: its other end may have gone with
/// its machine, which nothing else would tell.
pub const SILENCE_LOOKED_AT: Duration = Duration::from_secs(60);
/// The wait for an answer to that, and how many are sent before the other end is given up.
pub const SILENCE_LOOKS: (Duration, u32) = (Duration::from_secs(15), 4);

impl ExecRequest {
    /// Five minutes.
    pub fn default_timeout_ms() -> u64 {
        5 * 60 * 1000
    }

    /// How long it may run.
    ///
    /// # Errors
    /// When that is more than [`EXEC_LIMIT_MAX`]: nothing is cut short that somebody counts on.
    pub fn limit(&self) -> Result<Duration, String> {
        let limit = Duration::from_millis(self.timeout_ms);
        if limit > EXEC_LIMIT_MAX {
            let (most, hours) = (EXEC_LIMIT_MAX.as_millis(), EXEC_LIMIT_MAX.as_secs() / 3600);
            return Err(format!(
                "timeout_ms: {} is more than the {most} ({hours} h) that a command may run",
                self.timeout_ms
            ));
        }
        Ok(limit)
    }
}

/// One line of an exec's reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecFrame {
    /// A piece of standard output, base64.
    Stdout(String),
    /// A piece of standard error, base64.
    Stderr(String),
    /// The last line: the exit code, 128 + signal for a death by one.
    Exit(i32),
    /// The last line where the command could not be run or was ended.
    Error(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(timeout_ms: u64) -> Result<Duration, String> {
        ExecRequest { command: Vec::new(), stdin: None, timeout_ms }.limit()
    }

    #[test]
    fn a_command_may_run_as_long_as_it_asks_for_up_to_a_day() {
        let day = 24 * 60 * 60 * 1000;
        for granted in [0, 1, 6 * 60 * 60 * 1000, day] {
            assert_eq!(limit(granted), Ok(Duration::from_millis(granted)));
        }
        for refused in [day + 1, u64::MAX] {
            let reason = limit(refused).unwrap_err();
            assert!(reason.contains("timeout_ms") && reason.contains("86400000 (24 h)"), "{reason}");
        }
    }
}
