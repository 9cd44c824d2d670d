//! What an executor leaves behind: processes that it started, and that outlive it.
//!
//! They are in sessions of their own, and their parent is gone, but their environment still names the executor's
//! container. Its resources are in use until they have ended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::records::Process;
use super::{groups, process};
use process::Census;

/// How soon they are looked at again, at first and at the most.
const INTERVAL_MIN: Duration = Duration::from_millis(20);
const INTERVAL_MAX: Duration = Duration::from_millis(500);
/// How many times as long as a census took the next one is put off, and for how long at the most.
const PAUSE: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long the end of killed processes may take: on a machine that ends a thousand at a time, too.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// How often new processes may be found while all are being stopped, before those that are known are killed.
const STOP_ROUNDS: u32 = 20;

/// Waits until nothing of the container is left, whose first process was `leader`. What has not ended by itself within
/// `grace` is killed.
pub(crate) async fn end(container_id: &str, leader: &Process, grace: Duration) {
    let ended = async {
        let mut interval = INTERVAL_MIN;
        while !left(container_id, leader).await.is_empty() {
            sleep(interval).await;
            interval = (interval * 2).min(INTERVAL_MAX);
        }
    };
    if timeout(grace, ended).await.is_ok() {
        return;
    }
    tracing::warn!(container_id, ?grace, "an executor's processes outlive it and are killed");
    if timeout(KILL_LIMIT, kill(container_id, leader)).await.is_err() {
        let left = left(container_id, leader).await.len();
        tracing::error!(container_id, left, "an executor's processes cannot be ended");
    }
}

async fn left(container_id: &str, leader: &Process) -> Vec<Process> {
    census(Instant::now()).await.of(container_id, leader)
}

/// Ends all by force. Those that fork faster than they are found would outrun it one by one: so all are stopped first, and
/// killed once no new one is found.
async fn kill(container_id: &str, leader: &Process) {
    let mut interval = INTERVAL_MIN;
    loop {
        let mut stopped = HashSet::new();
        let mut found = left(container_id, leader).await;
        if found.is_empty() {
            return;
        }
        for _ in 0..STOP_ROUNDS {
            let known = (container_id.to_owned(), found.clone());
            // An engine that ends kills no more; the next one does.
            let _ = tokio::task::spawn_blocking(move || groups::kill(&known.0, &known.1)).await;
            let new: Vec<&Process> = found.iter().filter(|one| stopped.insert((one.pid, one.started))).collect();
            if new.is_empty() {
                break;
            }
            new.into_iter().for_each(|one| process::signal_one(one, Signal::SIGSTOP));
            found = left(container_id, leader).await;
        }
        found.iter().for_each(|one| process::signal_one(one, Signal::SIGKILL));
        sleep(interval).await;
        interval = (interval * 2).min(INTERVAL_MAX);
    }
}

/// The newest census, shared by all who ask at about the same time.
struct Newest {
    begun: Instant,
    took: Duration,
    census: Arc<Census>,
}

static KNOWN: process::Environments = process::Environments::new();

static NEWEST: Mutex<Option<Newest>> = Mutex::const_new(None);

/// A census that was begun after `asked`. With many executors ending at once, each looking through all processes would
/// keep the machine busy: so the longer a census takes, the longer are others waited for that want one as well.
async fn census(asked: Instant) -> Arc<Census> {
    let mut newest = NEWEST.lock().await;
    if let Some(newest) = newest.as_ref() {
        if newest.begun >= asked {
            return Arc::clone(&newest.census);
        }
        sleep((newest.took * PAUSE).min(PAUSE_MAX)).await;
    }
    let begun = Instant::now();
    // An engine that ends looks no more; the next one does.
    let census = Arc::new(tokio::task::spawn_blocking(|| Census::take(&KNOWN)).await.unwrap_or_default());
    *newest = Some(Newest { begun, took: begun.elapsed(), census: Arc::clone(&census) });
    census
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    /// A process in a session of its own that belongs to a container, and ignores SIGTERM.
    fn stray(container_id: &str) -> Child {
        let mut child = Command::new("setsid")
            .args(["sh", "-c", "trap '' TERM; echo; while :; do sleep 1; done"])
            .env("HOME", format!("/sandboxes/{container_id}/work"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        child
    }

    #[tokio::test]
    async fn what_outlives_its_executor_is_ended_before_its_resources_are_free() {
        let (one, other) = (uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string());
        let (mut left, mut foreign) = (stray(&one), stray(&other));
        let nobody = Process { pid: i32::MAX, started: 0, boot: 0 };
        let began = Instant::now();
        end(&one, &nobody, Duration::from_millis(100)).await;
        assert!(began.elapsed() >= Duration::from_millis(100), "it had no grace");
        assert!(left.try_wait().unwrap().is_some(), "it lives on");
        assert!(foreign.try_wait().unwrap().is_none(), "another container's process was killed");
        // Nothing is left, so that nothing is waited for.
        timeout(KILL_LIMIT, end(&one, &nobody, Duration::from_secs(3600))).await.unwrap();
        foreign.kill().unwrap();
        foreign.wait().unwrap();
    }

    /// How many processes the bomb may have, and the user that it has alone.
    const BOUND: usize = 60;

    /// Processes of that user.
    fn population(uid: u32) -> usize {
        use std::os::unix::fs::MetadataExt;
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let of_user = |entry: &std::fs::DirEntry| entry.metadata().is_ok_and(|found| found.uid() == uid);
        let pids = entries.filter(of_user).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(process::identify).filter(process::is_alive).count()
    }

    /// Ends with all of its user, however its test does.
    struct Bomb {
        first: Child,
        uid: u32,
    }

    impl Drop for Bomb {
        fn drop(&mut self) {
            let all = format!("exec setpriv --reuid={} --clear-groups sh -c 'kill -9 -1'", self.uid);
            let _ = Command::new("sh").args(["-c", &all]).status();
            let _ = self.first.wait();
        }
    }

    /// Processes that fork as fast as they can, each in a session of its own, up to the bound of their user. None where
    /// users cannot be changed.
    fn bomb(container_id: &str, uid: u32, group: Option<&std::path::Path>) -> Option<Bomb> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: without root the bomb would share its user with others");
            return None;
        }
        let join = group.map_or_else(String::new, |group| format!("echo $$ > {}/cgroup.procs; ", group.display()));
        let forks = "$SIG{TERM} = 'IGNORE'; use POSIX; while (1) { if (!(fork // 1)) { POSIX::setsid() } }";
        let run = format!(
            "{join}exec prlimit --nproc={BOUND} setpriv --reuid={uid} --clear-groups --inh-caps=-all --bounding-set=-all \
             perl -e \"$FORKS\""
        );
        let mut command = Command::new("sh");
        command.args(["-c", &run]).env("FORKS", forks).env("HOME", format!("/sandboxes/{container_id}/work"));
        let bomb = Bomb { first: command.stdin(Stdio::null()).spawn().unwrap(), uid };
        let deadline = Instant::now() + KILL_LIMIT;
        while population(uid) < BOUND {
            assert!(Instant::now() < deadline, "only {} processes", population(uid));
            std::thread::yield_now();
        }
        Some(bomb)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_forks_faster_than_it_is_ended() {
        let (id, uid) = (uuid::Uuid::new_v4().to_string(), 1_899_999_001);
        let Some(bomb) = bomb(&id, uid, None) else { return };
        let leader = process::identify(i32::try_from(bomb.first.id()).unwrap()).unwrap();
        timeout(KILL_LIMIT, kill(&id, &leader)).await.expect("the bomb goes on");
        assert_eq!(population(uid), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_control_group_of_its_own_ends_at_once() {
        let (id, uid) = (uuid::Uuid::new_v4().to_string(), 1_899_999_002);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounted = mounts.lines().find_map(groups::mount_point);
        let Some(group) = mounted.map(|mounted| mounted.join(format!("bigdata-test-{id}"))) else { return };
        if std::fs::create_dir(&group).is_err() || !group.join("cgroup.kill").exists() {
            println!("skipped: control groups of version 2 cannot be made here");
            return;
        }
        let mut bomb = bomb(&id, uid, Some(&group)).unwrap();
        let leader = process::identify(i32::try_from(bomb.first.id()).unwrap()).unwrap();
        // As long as somebody else is in it, it is not ended as a whole.
        let mut foreign = stray(&uuid::Uuid::new_v4().to_string());
        std::fs::write(group.join("cgroup.procs"), foreign.id().to_string()).unwrap();
        groups::kill(&id, &[leader]);
        assert!(
            process::is_alive(&leader) && foreign.try_wait().unwrap().is_none(),
            "it was ended with another's process"
        );
        foreign.kill().unwrap();
        foreign.wait().unwrap();
        let deadline = Instant::now() + KILL_LIMIT;
        // One that ends in this moment may be taken for somebody else's: then it is tried again, as `kill` does.
        while bomb.first.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the group goes on");
            groups::kill(&id, &[leader]);
        }
        while std::fs::remove_dir(&group).is_err() {
            assert!(Instant::now() < deadline, "{} processes are left", population(uid));
            std::thread::yield_now();
        }
    }
}
