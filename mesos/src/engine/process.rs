//! Processes, told apart by number and time of start, and ended with their sessions.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::records::Process;

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    session: i32,
    started: u64,
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The command's name stands in parentheses and may hold any sign, parentheses too.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
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
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or_default()
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

/// Ends the process and all of its session by force.
pub(crate) fn kill_session(process: &Process) {
    // While one of the session lives, the kernel gives its number to no other; but if none does, it may have.
    let taken = stat(process.pid).is_some_and(|stat| stat.started != process.started);
    if taken || process.boot != boot() {
        return;
    }
    for pid in all() {
        let Some(stat) = stat(pid) else { continue };
        let member = pid == process.pid || stat.session == process.pid;
        if member && stat.started >= process.started && lives(&stat) {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
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
        assert_eq!(stat, Stat { state: 'S', session: 40, started: 12345 });
        assert_eq!(parse_stat("42 (x"), None);
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
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while is_alive(&member) {
            assert!(std::time::Instant::now() < deadline, "the session's member lives on");
            std::thread::yield_now();
        }
        assert!(!is_alive(&leader));
    }
}
