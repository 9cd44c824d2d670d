//! Ending all that is in a control group, a flood of forks among it.

use std::{
    collections::HashSet,
    fs, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{Cgroup, is_gone, with_groups_below};
use crate::{Error, Process, processes::kill_all};

/// How long a group that was just emptied may refuse to be removed.
const REMOVE_LIMIT: Duration = Duration::from_secs(2);

/// How long a group may take to be frozen whole: what sits in the kernel comes to it later, and dies of its signal too.
const FREEZE_LIMIT: Duration = Duration::from_millis(200);

impl Cgroup {
    /// Ends all its processes and verifies that none is left: by `cgroup.kill` or with the group frozen where the machine
    /// has that, one by one otherwise. The number of processes ended.
    pub fn kill_all(&self, limit: Duration) -> Result<usize, Error> {
        let before = self.processes()?.len();
        if before == 0 {
            return Ok(0);
        }
        self.kill_now();
        kill_all(|| self.processes(), limit).map(|rest| rest.max(before))
    }

    /// One SIGKILL for everything in the group, so that none forks meanwhile where the machine allows that. It does not wait
    /// for their end. The ids of the processes.
    pub(crate) fn kill_now(&self) -> HashSet<i32> {
        let found = || self.pids().unwrap_or_default();
        let mut killed: HashSet<i32> = found().into_iter().collect();
        if self.write_first(&["cgroup.kill"], "1") {
            return killed;
        }
        self.freeze();
        for pid in found() {
            if Process::read(pid).is_some_and(|process| process.signal(Signal::SIGKILL)) {
                killed.insert(pid);
            }
        }
        self.write_first(&["freezer.state"], "THAWED");
        killed
    }

    /// Stops the whole group where there is a freezer of version 1; a child of a frozen process is frozen, too.
    fn freeze(&self) {
        const FILE: &str = "freezer.state";
        if !self.write_first(&[FILE], "FROZEN") {
            return;
        }
        let is_frozen = || {
            let texts = self.directories.iter().filter_map(|directory| fs::read_to_string(directory.join(FILE)).ok());
            texts.into_iter().any(|text| text.trim() == "FROZEN")
        };
        let deadline = Instant::now() + FREEZE_LIMIT;
        while !is_frozen() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the group, which must be empty, and the groups below it.
    pub fn remove(&self) -> Result<(), Error> {
        let deadline = Instant::now() + REMOVE_LIMIT;
        for group in self.directories.iter().flat_map(|directory| with_groups_below(directory)) {
            // A process that just ended may still be counted.
            while let Err(error) = fs::remove_dir(&group) {
                if is_gone(&error) {
                    break;
                }
                if error.raw_os_error() != Some(nix::libc::EBUSY) || Instant::now() >= deadline {
                    return Err(Error::system(format!("cannot remove {}", group.display()), error));
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }
}
