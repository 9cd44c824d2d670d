//! The messages on the control socket: one JSON document per line.

use std::{fmt, path::PathBuf, time::Duration};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Error;

/// What the caller asks of a running sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The specification's stop signal to the command, SIGTERM to what it leaves behind, SIGKILL to all after the grace.
    Stop {
        /// Instead of the specification's grace.
        grace: Option<Duration>,
    },
    /// SIGKILL to the whole tree, now.
    Kill,
    /// A signal to the command, or to its whole tree.
    Signal {
        /// The signal's number.
        signal: i32,
        /// Whether descendants of the command get it too.
        whole_tree: bool,
    },
    /// The caller still answers for the tree, for this long from now. From the first of these on the whole tree is killed
    /// when that time has passed without another: a caller that is stopped, not gone, does not close its socket.
    KeepAlive {
        /// Until the next one must have come.
        limit: Duration,
    },
}

/// What a sandbox tells its caller: at most one `Started`, then one `Ended`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The command has replaced the launcher.
    Started(Started),
    /// The tree is gone; the supervisor exits next.
    Ended(Report),
}

/// A command that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The command's process id (and session id).
    pub pid: i32,
    /// The directories of its control group, to be remembered for [`Cgroup::from_directories`](crate::Cgroup).
    pub cgroup_directories: Vec<PathBuf>,
    /// What this machine or user did not allow, each with its reason.
    pub not_applied: Vec<String>,
}

/// How it all ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The command's end.
    pub ending: Ending,
    /// Whether it was asked to end: by a request, a signal to the supervisor, or a lost caller.
    pub requested: bool,
    /// Processes of the tree that outlived the command and were ended.
    pub leftovers_ended: u32,
    /// Processes that could not be ended in time (in uninterruptible sleep).
    pub survivors: Vec<i32>,
    /// How often the kernel killed one of its processes for want of memory in its control group.
    #[serde(default)]
    pub out_of_memory_kills: u64,
    /// How often the kernel refused it a process at the control group's limit on them.
    #[serde(default)]
    pub process_limit_hits: u64,
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// It reached its wall clock limit.
    TimedOut,
    /// Its control group ran out of memory.
    MemoryExhausted,
    /// It was never started.
    SetupFailed {
        /// Why, on one line.
        what: String,
        /// Whether the program to run is missing.
        command_missing: bool,
        /// Whether the program is there and the system refuses to execute it.
        #[serde(default)]
        not_executable: bool,
    },
}

impl Ending {
    /// What the supervisor exits with: the command's own code, 128 + signal, and as shells and `timeout` have it 124
    /// (timed out), 125 (not started), 126 (not executable), 127 (no such command), 137 (out of memory).
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Exited { code } => *code,
            Self::Signaled { signal } => 128 + signal,
            Self::TimedOut => 124,
            Self::MemoryExhausted => 137,
            Self::SetupFailed { command_missing: true, .. } => 127,
            Self::SetupFailed { not_executable: true, .. } => 126,
            Self::SetupFailed { .. } => 125,
        }
    }

    /// Whether the command exited with 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(formatter, "exited with {code}"),
            Self::Signaled { signal } => match Signal::try_from(*signal) {
                Ok(Signal::SIGXCPU) => write!(formatter, "used up its CPU time (SIGXCPU)"),
                Ok(Signal::SIGXFSZ) => write!(formatter, "wrote a file beyond its size limit (SIGXFSZ)"),
                Ok(known) => write!(formatter, "ended by {known}"),
                Err(_) => write!(formatter, "ended by signal {signal}"),
            },
            Self::TimedOut => write!(formatter, "took longer than its time limit"),
            Self::MemoryExhausted => write!(formatter, "ran out of memory"),
            Self::SetupFailed { what, .. } => write!(formatter, "not started: {what}"),
        }
    }
}

impl Request {
    /// The request as it is written to the control socket, its newline included.
    pub fn line(&self) -> Vec<u8> {
        line(self).expect("a request holds numbers only")
    }
}

impl Event {
    /// Reads one line of the control socket.
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        parse(line)
    }
}

/// What the launcher tells the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Launch {
    /// Everything is applied; the next thing is the command, or `Failed`.
    Ready { not_applied: Vec<String> },
    /// It came to nothing.
    Failed { what: String, command_missing: bool, not_executable: bool },
}

pub(crate) fn line<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec(message).map_err(Error::Message)?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(crate) fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(line).map_err(Error::Message)
}

/// Takes the first whole line, without its newline, out of what was read so far.
pub(crate) fn take_line(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let rest = buffer.split_off(end + 1);
    let mut line = std::mem::replace(buffer, rest);
    line.pop();
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_wire() {
        let report = Report {
            ending: Ending::SetupFailed { what: "no\nnewline".into(), command_missing: true, not_executable: false },
            requested: false,
            leftovers_ended: 2,
            survivors: vec![7],
            out_of_memory_kills: 1,
            process_limit_hits: 3,
        };
        let mut bytes = line(&Event::Ended(report.clone())).unwrap();
        bytes.extend_from_slice(b"rest");
        let first = take_line(&mut bytes).unwrap();
        assert_eq!(Event::parse(&first).unwrap(), Event::Ended(report));
        assert_eq!(bytes, b"rest");
        assert_eq!(take_line(&mut bytes), None);
    }

    #[test]
    fn endings_have_the_shells_codes_and_say_what_happened() {
        assert_eq!(Ending::Exited { code: 3 }.exit_code(), 3);
        assert_eq!(Ending::Signaled { signal: 15 }.exit_code(), 143);
        assert!(Ending::Signaled { signal: 24 }.to_string().contains("CPU"));
        let failed = |command_missing, not_executable| {
            let what = "command not found: /x/y".into();
            Ending::SetupFailed { what, command_missing, not_executable }
        };
        assert_eq!([failed(false, true), failed(false, false)].map(|ending| ending.exit_code()), [126, 125]);
        let missing = failed(true, false);
        assert_eq!((missing.exit_code(), missing.to_string()), (127, "not started: command not found: /x/y".into()));
    }
}
