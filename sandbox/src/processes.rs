//! Finding processes through `/proc`, and ending them.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Read},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid},
};

use crate::Error;

/// A process as `/proc` shows it. Two values with the same id and start time are the same process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: i32,
    /// The parent's process id.
    pub parent: i32,
    /// The session id.
    pub session: i32,
    /// The kernel's one-letter state, e.g. `S`; zombies are `Z`.
    pub state: char,
    /// When it was started, in clock ticks since boot.
    pub start_time: u64,
    /// The real name of its program, at most 15 bytes.
    pub name: String,
}

impl Process {
    /// The process with this id, if there is one.
    pub fn read(pid: i32) -> Option<Self> {
        // One read gives the whole line, which is far shorter than this.
        let mut line = [0; 1024];
        let length = File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut line)).ok()?;
        parse_stat(&line[..length])
    }

    /// Whether it still does something: zombies and dying processes do not.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Sends a signal, unless the id has passed to another process meanwhile. Whether it was sent.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let same = Self::read(self.pid).is_some_and(|now| now.start_time == self.start_time);
        same && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)). The name may hold spaces and parentheses.
fn parse_stat(stat: &[u8]) -> Option<Process> {
    let text = String::from_utf8_lossy(stat);
    let (head, tail) = text.rsplit_once(')')?;
    let (pid, name) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(Process {
        pid: pid.trim().parse().ok()?,
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// Every process that `/proc` shows, zombies included.
pub fn processes() -> Result<Vec<Process>, Error> {
    let entries = fs::read_dir("/proc").map_err(|error| Error::system("cannot read /proc", error))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(Process::read).collect())
}

/// The living processes of a user.
pub fn processes_of_uid(uid: u32) -> Result<Vec<Process>, Error> {
    let owned = |process: &Process| {
        // The directory's owner is root for processes that must not be dumped; the status file tells the truth.
        fs::read_to_string(format!("/proc/{}/status", process.pid)).ok().and_then(|status| {
            status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok())
        }) == Some(uid)
    };
    Ok(processes()?.into_iter().filter(|process| process.is_alive() && owned(process)).collect())
}

/// The living processes that were started with `name=value` in their environment, among those whose environment the
/// caller may read. It finds a tree without root and control groups, if its programs keep their environment.
pub fn processes_with_environment(name: &str, value: &str) -> Result<Vec<Process>, Error> {
    let wanted = format!("{name}={value}").into_bytes();
    let has = |process: &Process| {
        fs::read(format!("/proc/{}/environ", process.pid))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == wanted))
    };
    Ok(processes()?.into_iter().filter(|process| process.is_alive() && has(process)).collect())
}

/// The living descendants of a process, itself not included. Orphans belong to whom they were given to (the nearest
/// subreaper, else process 1).
pub fn descendants(pid: i32) -> Result<Vec<Process>, Error> {
    let mut tree = tree_below(pid, processes()?);
    tree.retain(Process::is_alive);
    Ok(tree)
}

fn tree_below(root: i32, all: Vec<Process>) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let below = children.remove(&process.pid).unwrap_or_default();
        found.extend(below);
        next += 1;
    }
    found
}

/// Ends every process that `find` gives, until it gives none or `limit` has passed; what forks meanwhile is found again.
/// The number of processes ended. Never touched: process 1, the caller and its ancestors.
pub fn kill_all(mut find: impl FnMut() -> Result<Vec<Process>, Error>, limit: Duration) -> Result<usize, Error> {
    let spared = own_line();
    let deadline = Instant::now() + limit;
    let mut ended = HashSet::new();
    let mut pause = Duration::from_millis(1);
    loop {
        let mut alive = find()?;
        alive.retain(|process| process.is_alive() && !spared.contains(&process.pid));
        if alive.is_empty() {
            return Ok(ended.len());
        }
        if Instant::now() >= deadline {
            return Err(Error::Survivors { pids: alive.iter().map(|process| process.pid).collect() });
        }
        // Stopped first, so that none forks while the others are killed.
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for process in &alive {
                if process.signal(signal) {
                    ended.insert((process.pid, process.start_time));
                }
            }
        }
        // Only a parent hears of an end; everyone else has to look again.
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn own_line() -> HashSet<i32> {
    let mut line = HashSet::from([0, 1]);
    let mut pid = getpid().as_raw();
    while line.insert(pid) {
        pid = Process::read(pid).map_or(1, |process| process.parent);
    }
    line
}

/// One SIGKILL for everything below this process, fork bombs included: all are stopped, until a look finds none
/// that runs, and only then killed. The ids of the processes.
pub(crate) fn kill_own_tree() -> HashSet<i32> {
    /// Every pass stops all that it sees; only a flood without any limit on processes needs many.
    const PASSES: usize = 100;
    let mut stopped: HashMap<i32, Process> = HashMap::new();
    for _ in 0..PASSES {
        let mut found_new = false;
        for process in descendants(getpid().as_raw()).unwrap_or_default() {
            let known = stopped.get(&process.pid).is_some_and(|before| before.start_time == process.start_time);
            if !known && process.signal(Signal::SIGSTOP) {
                stopped.insert(process.pid, process);
                found_new = true;
            }
        }
        if !found_new {
            break;
        }
    }
    stopped.retain(|_, process| process.signal(Signal::SIGKILL));
    stopped.into_keys().collect()
}

/// The living processes below this one.
pub(crate) fn own_tree() -> Vec<i32> {
    descendants(getpid().as_raw()).unwrap_or_default().iter().map(|process| process.pid).collect()
}

/// The processes of a `cgroup.procs` file.
pub(crate) fn read_pids(file: &Path) -> io::Result<Vec<i32>> {
    Ok(fs::read_to_string(file)?.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let line = b"42 (a) S (b) R 7 42 43 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 9876 0 0";
        let process = parse_stat(line).unwrap();
        assert_eq!(
            (process.pid, process.parent, process.session, process.state, process.start_time, process.name.as_str()),
            (42, 7, 43, 'R', 9876, "a) S (b")
        );
        assert_eq!(parse_stat(b"42 (cut"), None);
    }

    #[test]
    fn trees_are_followed_through_zombies_and_loops_end() {
        let make = |pid, parent, state| Process { pid, parent, session: 0, state, start_time: 1, name: String::new() };
        let all = vec![make(2, 1, 'S'), make(3, 2, 'Z'), make(4, 3, 'S'), make(5, 9, 'S'), make(9, 5, 'S')];
        let mut pids: Vec<i32> = tree_below(1, all.clone()).iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [2, 3, 4]);
        assert_eq!(tree_below(5, all).len(), 2);
    }

    #[test]
    fn this_process_is_found_and_spared() {
        let own = getpid().as_raw();
        assert!(processes().unwrap().iter().any(|process| process.pid == own));
        assert!(processes_of_uid(nix::unistd::getuid().as_raw()).unwrap().iter().any(|process| process.pid == own));
        assert_eq!(kill_all(|| Ok(Process::read(getpid().as_raw()).into_iter().collect()), Duration::ZERO).unwrap(), 0);
    }
}
