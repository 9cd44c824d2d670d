//! Who drives, and whether a former driver and its script's tree are gone.

use super::group;
use crate::store::Supervisor;
use bigdata_common::RunId;
use bigdata_sandbox::{Process, kill_all, processes_with_environment};
use std::time::{Duration, Instant};

/// How long a sandbox may take to end its tree once its caller is gone.
const TREE_LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// This process as the owner of claims, each `<machine>|<pid>|<start>|<claim>`.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    text: String,
    /// This boot of this machine and its view of processes.
    pub(crate) machine: String,
}

impl Owner {
    /// A new owner in this process.
    pub(crate) fn new() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let processes = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let machine = format!("{} {}", boot.trim(), processes.display());
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let start = start_of(pid).unwrap_or_default();
        let text = format!("{machine}|{pid}|{start}");
        Self { text, machine }
    }

    /// The text of a new claim, which no other claim has.
    pub(crate) fn new_claim(&self) -> String {
        format!("{}|{}", self.text, uuid::Uuid::new_v4())
    }

    /// Whether another owner was a process of this machine that is gone, so that its claim need not be waited out.
    pub(crate) fn knows_as_gone(&self, other: &str) -> bool {
        let mut parts = other.split('|');
        let (Some(machine), Some(pid), Some(start)) = (parts.next(), parts.next(), parts.next()) else { return false };
        let Ok(pid) = pid.parse() else { return false };
        machine == self.machine && start_of(pid).map(|start| start.to_string()).as_deref() != Some(start)
    }

    /// How a child of this process is remembered.
    pub(crate) fn supervisor(&self, pid: u32) -> Supervisor {
        let pid = i32::try_from(pid).unwrap_or_default();
        Supervisor { machine: self.machine.clone(), pid, start: start_of(pid).unwrap_or_default() }
    }
}

/// Waits until the tree of a run's last attempt is gone. Its sandbox ends it when its caller is gone; what is left
/// nevertheless is ended here. On another machine there is nothing to see: there the lapsed claim must do, since its owner
/// ends the script when it cannot renew it.
///
/// # Errors
/// In words, when something is still alive after [`TREE_LIMIT`].
pub(crate) async fn await_gone(owner: &Owner, former: &Supervisor, run: RunId) -> Result<(), String> {
    if former.machine != owner.machine {
        return Ok(());
    }
    let deadline = Instant::now() + TREE_LIMIT;
    while start_of(former.pid) == Some(former.start) {
        if Instant::now() >= deadline {
            return Err(format!("the sandbox of the last attempt, process {}, is still alive", former.pid));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let ended = tokio::task::spawn_blocking(move || {
        group::end(run, TREE_LIMIT)?;
        let run = run.to_string();
        kill_all(|| processes_with_environment("BIGDATA_RUN", &run), TREE_LIMIT)
    });
    match ended.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn start_of(pid: i32) -> Option<i64> {
    let process = Process::read(pid).filter(Process::is_alive)?;
    i64::try_from(process.start_time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_gone_when_its_process_is() {
        let owner = Owner::new();
        assert!(!owner.knows_as_gone(&Owner::new().new_claim()), "this process lives");
        let text = |machine: &str, pid: i32, start: i64| format!("{machine}|{pid}|{start}|x");
        assert!(owner.knows_as_gone(&text(&owner.machine, i32::MAX, 1)));
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(owner.knows_as_gone(&text(&owner.machine, own, start_of(own).unwrap() + 1)), "the id was used again");
        assert!(!owner.knows_as_gone(&text("elsewhere", i32::MAX, 1)));
        assert!(!owner.knows_as_gone(""));
    }
}
