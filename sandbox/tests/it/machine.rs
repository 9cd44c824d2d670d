//! What the machine allows, control groups, and the sandbox's own cost.

use std::{
    fs,
    time::{Duration, Instant},
};

use bigdata_sandbox::{
    Capabilities, Cgroup, Profile, kill_all, processes_in_cgroup, processes_of_uid, remove_empty_groups,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Test,
    support::{PATIENCE, Place, exited, is_alive, is_root, number_in, program, skipped, until},
};

pub(crate) const TESTS: &[Test] = &[
    ("capabilities are found by trying", capabilities_are_found_by_trying),
    ("a group is found, measured, ended and removed", group_is_found_measured_ended_and_removed),
    ("a group's leftovers end before it is used again", leftovers_end_before_a_group_is_used_again),
    ("empty groups that were left behind are removed", empty_groups_are_removed),
    ("the processes of a user are found and ended", processes_of_a_user),
    ("a supervisor is small and quick", supervisor_is_small_and_quick),
];

fn capabilities_are_found_by_trying() {
    let found = Capabilities::probe(&program()).unwrap();
    for (name, capability) in found.list() {
        println!("{name}: {} ({})", capability.available, capability.explanation);
        assert!(!capability.explanation.is_empty());
    }
    assert_eq!(found.root.available, is_root());
    assert!(found.subreaper.available);
    assert_eq!(found.landlock.available, found.landlock_version > 0);
}

fn group_is_found_measured_ended_and_removed() {
    let place = Place::new();
    let name = format!("bigdata-test-{}/measured", std::process::id());
    let mut spec = place.shell(Profile::Workload, "setsid sleep 1000 & echo > ready; sleep 1000");
    spec.cgroup = Some(name.clone());
    let (running, started) = place.started(&spec);
    if started.cgroup_directories.is_empty() {
        return skipped(&started.not_applied.join("; "));
    }
    until("both run", || processes_in_cgroup(&name).unwrap().len() == 3);
    let group = Cgroup::from_directories(started.cgroup_directories);
    assert_eq!(Some(&group), Cgroup::find(&name).unwrap().as_ref());
    let usage = group.usage().unwrap();
    assert!(usage.processes == 3 && usage.memory_bytes != Some(0), "{usage:?}");
    assert_eq!(group.kill_all(PATIENCE).unwrap(), 3);
    assert_eq!(group.processes().unwrap(), []);
    running.report();
    assert!(group.directories().iter().all(|directory| !directory.exists()));
    assert_eq!(Cgroup::find(&name).unwrap(), None);
    for directory in group.directories() {
        let _ = fs::remove_dir(directory.parent().unwrap());
    }
}

fn empty_groups_are_removed() {
    let place = Place::new();
    let prefix = format!("bigdata-test-empty-{}-", std::process::id());
    let mut spec = place.shell(Profile::Workload, "echo > ready; sleep 1000");
    spec.cgroup = Some(format!("{prefix}busy"));
    let (running, started) = place.started(&spec);
    if started.cgroup_directories.is_empty() {
        return skipped(&started.not_applied.join("; "));
    }
    let left: Vec<_> =
        started.cgroup_directories.iter().map(|busy| busy.with_file_name(format!("{prefix}left"))).collect();
    left.iter().for_each(|directory| fs::create_dir(directory).unwrap());
    let is_meant = |name: &str| name.starts_with(&prefix);
    assert_eq!(remove_empty_groups(is_meant, Duration::from_secs(3600)), 0, "they are too young");
    assert_eq!(remove_empty_groups(is_meant, Duration::ZERO), left.len());
    assert!(started.cgroup_directories.iter().all(|directory| directory.exists()), "one that is used stays");
    running.control.kill().unwrap();
    running.report();
}

fn leftovers_end_before_a_group_is_used_again() {
    let place = Place::new();
    let mut spec = place.shell(Profile::Workload, "setsid sleep 1000 & echo $! > daemon; sleep 1000");
    spec.cgroup = Some(format!("bigdata-test-again-{}", std::process::id()));
    let (mut running, started) = place.started(&spec);
    if started.cgroup_directories.is_empty() {
        running.control.kill().unwrap();
        running.report();
        return skipped(&started.not_applied.join("; "));
    }
    let daemon = number_in(&place.path("daemon"));
    kill(Pid::from_raw(running.child.id().cast_signed()), Signal::SIGKILL).unwrap();
    running.child.wait().unwrap();
    assert!(is_alive(daemon));
    spec.command = vec!["/bin/true".into()];
    assert_eq!(place.run(&spec).ending, exited(0));
    assert!(!is_alive(daemon));
}

fn processes_of_a_user() {
    let place = Place::new();
    let Some(identity) = place.identity else { return skipped("only root can take on another user") };
    let mut spec = place.shell(Profile::Workload, "setsid sleep 1000 & sleep 1000 & sleep 1000");
    spec.grace = Duration::ZERO;
    let (running, _) = place.started(&spec);
    until("all run", || processes_of_uid(identity.uid).unwrap().len() == 4);
    assert!(kill_all(|| processes_of_uid(identity.uid), PATIENCE).unwrap() >= 4);
    assert_eq!(processes_of_uid(identity.uid).unwrap(), []);
    running.report();
}

fn supervisor_is_small_and_quick() {
    let place = Place::new();
    let (running, _) = place.started(&place.shell(Profile::Workload, "exec sleep 1000"));
    let supervisor = running.child.id();
    // It lets go of its output and its right to be read right after telling that the command runs.
    until("it waits", || {
        fs::read_link(format!("/proc/{supervisor}/fd/1")).is_ok_and(|file| file.ends_with("null")) || !is_root()
    });
    if let Ok(rollup) = fs::read_to_string(format!("/proc/{supervisor}/smaps_rollup")) {
        let kibibytes = |key: &str| -> u64 {
            let value = rollup.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            value.trim().trim_end_matches(" kB").parse().unwrap()
        };
        // Not `Private_Dirty`: pages of a program that was just linked count there until they are on the disk.
        let (private, proportional) = (kibibytes("Anonymous:"), kibibytes("Pss:"));
        println!("supervisor: {private} KiB of its own, {proportional} KiB proportional");
        assert!(private < 1024, "{private} KiB");
    }
    let status = fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap();
    assert!(status.contains("Threads:\t1\n"));
    running.control.kill().unwrap();
    running.report();

    let spec = place.spec(Profile::Script, ["/bin/true"]);
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(place.run(&spec).ending, exited(0));
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("/bin/true through a sandbox: median {:?}, fastest {:?}", times[10], times[0]);
    assert!(times[0] < Duration::from_millis(200), "{times:?}");
}
