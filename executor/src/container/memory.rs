//! Whether the kernel ended processes of a container for want of memory. Engines say it of some and not of others (Podman 4
//! with runc of none), and a container's control group goes with it: the kernel's own log names the container.

use nix::time::{ClockId, clock_gettime};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// Where the kernel's log is read, one record at a time.
const LOG: &str = "/dev/kmsg";
/// The longest record.
const RECORD_BYTES: usize = 8 << 10;

/// The time by the clock that the kernel's log goes by.
pub(super) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// How many processes of this container the kernel has ended since then; 0 where its log must not be read.
pub(super) fn kills(container: &str, since: Duration) -> u64 {
    let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(LOG);
    let Ok(mut log) = opened else { return 0 };
    let mut record = [0; RECORD_BYTES];
    let mut count = 0;
    loop {
        match log.read(&mut record) {
            Ok(0) => return count,
            Ok(length) => count += u64::from(is_kill(&String::from_utf8_lossy(&record[..length]), container, since)),
            // Records were overwritten meanwhile: the next one is there.
            Err(error) if error.kind() == ErrorKind::BrokenPipe || error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return count,
        }
    }
}

/// A record: `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`.
fn is_kill(record: &str, container: &str, since: Duration) -> bool {
    let Some((head, text)) = record.split_once(';') else { return false };
    let at = head.split(',').nth(2).and_then(|microseconds| microseconds.parse().ok()).map(Duration::from_micros);
    let group = text.split(',').find_map(|part| part.strip_prefix("task_memcg="));
    text.starts_with("oom-kill:")
        && at.is_some_and(|at| at >= since)
        && !container.is_empty()
        && group.is_some_and(|group| group.contains(container))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_log_names_the_container() {
        let record = "6,1234,18722830838,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=libpod-ab,\
                      mems_allowed=0,oom_memcg=/libpod_parent/libpod-ab,task_memcg=/libpod_parent/libpod-ab,task=tail,pid=7,uid=0\n";
        let before = Duration::from_secs(18_722);
        assert!(is_kill(record, "ab", before));
        assert!(!is_kill(record, "ab", Duration::from_secs(18_723)), "of an earlier run");
        assert!(!is_kill(record, "cd", before), "of another container");
        assert!(!is_kill(&record.replace("oom-kill:", "task_memcg="), "ab", before));
    }
}
