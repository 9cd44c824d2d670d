//! Processes, told apart by number and time of start, and ended with their sessions.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::records::Process;

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: i32,
    session: i32,
    started: u64,
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The command's name stands in parentheses and may hold any sign, parentheses too.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn lives(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X' | 'x')
}

/// A number for the time since the machine's last start: after another, all numbers of processes begin anew.
fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        u64::from_str_radix(&digits, 16).unwrap_or_default()
    })
}

/// The process of that number, as it is now.
pub(crate) fn identify(pid: i32) -> Option<Process> {
    let started = stat(pid)?.started;
    Some(Process { pid, started, boot: boot() })
}

/// Whether it runs. A zombie does not.
pub(crate) fn is_alive(process: &Process) -> bool {
    process.boot == boot() && stat(process.pid).is_some_and(|stat| stat.started == process.started && lives(&stat))
}

/// Ends the process and all of its session by force. Processes that it started and somebody stopped go on, so that they
/// notice its end.
pub(crate) fn kill_session(process: &Process) {
    // While one of the session lives, the kernel gives its number to no other; but if none does, it may have.
    let taken = stat(process.pid).is_some_and(|stat| stat.started != process.started);
    if taken || process.boot != boot() {
        return;
    }
    let everybody: Vec<(i32, Stat)> = all().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let stopped = everybody.iter().filter(|(_, stat)| stat.parent == process.pid && matches!(stat.state, 'T' | 't'));
    let stopped: Vec<i32> = stopped.map(|(pid, _)| *pid).collect();
    for (pid, stat) in everybody {
        let member = pid == process.pid || stat.session == process.pid;
        if member && stat.started >= process.started && lives(&stat) {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    for pid in stopped {
        let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
    }
}

/// Lets a process that somebody stopped go on, and those of its session, too.
pub(crate) fn resume_session(process: &Process) {
    let is_stopped = |stat: &Stat| stat.state == 'T';
    let leader = stat(process.pid).filter(|stat| stat.started == process.started && process.boot == boot());
    let Some(leader) = leader else { return };
    // In any case: it may be about to stop.
    let _ = kill(Pid::from_raw(process.pid), Signal::SIGCONT);
    if !is_stopped(&leader) {
        return;
    }
    tracing::warn!(pid = process.pid, "an executor that is to end was stopped, and goes on");
    for pid in all() {
        let member = |stat: &Stat| pid == process.pid || stat.session == process.pid;
        if stat(pid).is_some_and(|stat| member(&stat) && is_stopped(&stat)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
        }
    }
}

/// Sends one process a signal, if it is still the same.
pub(crate) fn signal_one(process: &Process, signal: Signal) {
    if is_alive(process) {
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

/// After so long (5 s of the usual 100 ticks each) a process has long become the program that it was started for, and
/// its environment is not looked at again.
const SETTLED_TICKS: u64 = 500;

/// The container ids in the environments of processes that are not new, by number and start: they do not change, and to
/// read them is the dear part of a census.
#[derive(Debug)]
pub(crate) struct Environments(Mutex<BTreeMap<(i32, u64), Vec<String>>>);

impl Environments {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

/// The time since the machine's start, in the ticks of [`Stat::started`]; 0 where it cannot be known.
fn ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let (seconds, rest) = text.split_once('.').unwrap_or_default();
    let hundredths: u64 = rest.get(..2).and_then(|digits| digits.parse().ok()).unwrap_or_default();
    seconds.parse::<u64>().map_or(0, |seconds| seconds * 100 + hundredths)
}

/// Who is there: the living processes by their sessions, and by the container ids that their environments name.
#[derive(Debug, Default)]
pub(crate) struct Census {
    sessions: HashMap<i32, Vec<Process>>,
    containers: HashMap<String, Vec<Process>>,
}

impl Census {
    /// Looks at every process. That one was started in a container's folder is not enough to belong to it: an operator
    /// who looks at it does not.
    pub(crate) fn take(known: &Environments) -> Self {
        let mut census = Self::default();
        let boot = boot();
        let mut known = known.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = BTreeMap::new();
        let now = ticks();
        for pid in all() {
            let Some(stat) = stat(pid).filter(lives) else { continue };
            let process = Process { pid, started: stat.started, boot };
            census.sessions.entry(stat.session).or_default().push(process);
            let named = known.remove(&(pid, stat.started)).unwrap_or_else(|| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                let mut named: Vec<String> = ids(&environment).collect();
                named.dedup();
                named
            });
            for id in &named {
                let processes = census.containers.entry(id.clone()).or_default();
                if processes.last() != Some(&process) {
                    processes.push(process);
                }
            }
            if now.saturating_sub(stat.started) >= SETTLED_TICKS {
                seen.insert((pid, stat.started), named);
            }
        }
        *known = seen;
        census
    }

    /// What is there of a container whose first process was, or is, `leader`.
    pub(crate) fn of(&self, container_id: &str, leader: &Process) -> Vec<Process> {
        let session = self.sessions.get(&leader.pid).map(Vec::as_slice).unwrap_or_default();
        // The leader's number may have passed to somebody else, with a session of his own.
        let is_ours = leader.boot == boot() && !session.iter().any(|one| one.pid == leader.pid && one != leader);
        let session = if is_ours { session } else { &[] };
        let named = self.containers.get(container_id).map(Vec::as_slice).unwrap_or_default();
        session.iter().chain(named.iter().filter(|one| !session.contains(one))).copied().collect()
    }
}

/// The words of an environment that may be container ids: UUIDs in lower case.
fn ids(environment: &[u8]) -> impl Iterator<Item = String> {
    const LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;
    let variables = environment.split(|byte| *byte == 0);
    let told = variables.filter(|variable| !variable.starts_with(b"PWD=") && !variable.starts_with(b"OLDPWD="));
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    let words = told.flat_map(move |variable| variable.split(move |byte| !is_part(byte)));
    let words = words.filter(|word| word.len() == LENGTH && word[8] == b'-');
    words.filter_map(|word| Some(std::str::from_utf8(word).ok()?.to_owned()))
}

/// Whether the environment of the process names the container.
pub(crate) fn names(pid: i32, container_id: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    ids(&environment).any(|id| id == container_id)
}

fn all() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// The process that was started with the variable `name` set to `value`: the first of its session.
pub(crate) fn find_by_variable(name: &str, value: &str) -> Option<Process> {
    let wanted = format!("{name}={value}");
    let found = all().into_iter().find(|pid| {
        let leads = stat(*pid).is_some_and(|stat| stat.session == *pid && lives(&stat));
        let environment = || std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        leads && environment().split(|byte| *byte == 0).any(|one| one == wanted.as_bytes())
    });
    identify(found?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let text = "42 (a) R (b)) S 1 42 40 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!(stat, Stat { state: 'S', parent: 1, session: 40, started: 12345 });
        assert_eq!(parse_stat("42 (x"), None);
    }

    #[test]
    fn an_environment_names_its_container() {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let read = |text: &str| ids(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(read(&format!("A=b\0HOME=/engine/{id}/work\0")), [id]);
        assert_eq!(read(&format!("PWD=/engine/{id}\0OLDPWD={id}")), Vec::<String>::new());
        assert_eq!(read(&format!("X={id}0\0Y=1-2-3")), Vec::<String>::new());
    }

    #[test]
    fn a_process_is_itself_and_no_other_with_its_number() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let own = identify(pid).unwrap();
        assert!(is_alive(&own));
        assert!(!is_alive(&Process { started: own.started + 1, ..own }));
        assert!(!is_alive(&Process { boot: own.boot + 1, ..own }));
        // Not killed, since it is not that process.
        kill_session(&Process { started: own.started + 1, ..own });
        kill_session(&Process { boot: own.boot + 1, ..own });
    }

    #[test]
    fn a_session_is_ended_as_a_whole_and_a_zombie_is_dead() {
        let mut child = std::process::Command::new("setsid")
            .args(["sh", "-c", "sleep 1000 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .env("BIGDATA_TEST_MARK", "a_session_is_ended")
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        let leader = identify(i32::try_from(child.id()).unwrap()).unwrap();
        let member = identify(line.trim().parse().unwrap()).unwrap();
        assert_eq!(find_by_variable("BIGDATA_TEST_MARK", "a_session_is_ended"), Some(leader));
        kill_session(&leader);
        child.wait().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
        while is_alive(&member) {
            assert!(std::time::Instant::now() < deadline, "the session's member lives on");
            std::thread::yield_now();
        }
        assert!(!is_alive(&leader));
    }
}
