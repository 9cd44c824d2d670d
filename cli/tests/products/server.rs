//! The processes and the data of a cluster's servers, and how it is changed.

use crate::cluster::root;
use crate::support::{Data, Platform};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What of a primary is made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server is killed.
    Server,
    /// The executor is killed, and the server ends with it.
    Executor,
    /// The server answers nothing any more, and lives.
    Hang,
    /// Nothing of the node can be reached, and everything lives: its machine is frozen, or cut off.
    Frozen,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Server, Self::Executor, Self::Hang, Self::Frozen];

    /// The longest that clients may be without a writer, until it is noticed included.
    pub(crate) fn outage_max(self) -> Duration {
        Duration::from_secs(match self {
            Self::Server | Self::Executor => 10,
            Self::Hang => 15,
            Self::Frozen => 30,
        })
    }

    /// Lets it happen to a node; the processes that wait for [`thaw`].
    pub(crate) fn strike(self, data: &Data, node: &str) -> Vec<String> {
        let server = server_of(data, node);
        match self {
            Self::Server => signal("-KILL", &[server]),
            Self::Executor => signal("-KILL", &[executor_of(&server)]),
            Self::Hang => signal("-STOP", &[server]),
            Self::Frozen => {
                let frozen = vec![executor_of(&server), server];
                signal("-STOP", &frozen);
                return frozen;
            }
        }
        Vec::new()
    }
}

/// Lets frozen processes go on where they were.
pub(crate) fn thaw(frozen: &[String]) {
    signal("-CONT", frozen);
}

pub(crate) fn signal(signal: &str, processes: &[String]) {
    let sent = processes.is_empty() || Command::new("kill").arg(signal).args(processes).status().unwrap().success();
    assert!(sent, "kill {signal} {processes:?}");
}

/// The server of a node.
pub(crate) fn server_of(data: &Data, node: &str) -> String {
    let variable = format!("BIGDATA_NODE={node}");
    let is_it = |pid: &String| {
        let folder = Path::new("/proc").join(pid);
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
        name.trim() == "mariadbd" && environment.split(|byte| *byte == 0).any(|it| it == variable.as_bytes())
    };
    data.nodes().into_iter().find(is_it).unwrap_or_else(|| panic!("{node} has no server"))
}

/// The executor above a process.
pub(crate) fn executor_of(pid: &str) -> String {
    let folder = Path::new("/proc").join(pid);
    let line = std::fs::read(folder.join("cmdline")).unwrap();
    if line.split(|byte| *byte == 0).nth(1) == Some(b"executor") {
        return pid.to_owned();
    }
    let status = std::fs::read_to_string(folder.join("status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    assert_ne!(parent, "1", "no executor is above the server");
    executor_of(parent)
}

/// What a server that may be away answers to statements of root.
pub(crate) fn try_query(platform: &Platform, cluster: &str, node: &str, statements: &str) -> Result<String, String> {
    let output = platform.try_run(&[&["node", "exec", cluster, node, "--"], &root(statements)[..]].concat());
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
