//! Bounds on time, memory, files and processes.

use std::{
    fs,
    time::{Duration, Instant},
};

use bigdata_sandbox::{Capabilities, Cgroup, Ending, Profile, processes_of_uid};

use crate::{
    Test,
    support::{Place, exited, is_root, program, skipped, until},
};

pub(crate) const TESTS: &[Test] = &[
    ("the wall clock ends the whole tree", wall_clock_ends_the_whole_tree),
    ("the CPU limit is told from other signals", cpu_limit),
    ("a memory bomb dies at its address space", memory_bomb_dies_at_its_address_space),
    ("a memory bomb dies at its group's limit", memory_bomb_dies_at_its_groups_limit),
    ("files stop growing", files_stop_growing),
    ("a flood of forks is bounded and ended", flood_of_forks),
    ("a flood of forks stays within its group's limit", flood_of_forks_in_a_group),
    ("a user's processes count where no group counts the tree's", users_processes),
    ("the limits are the command's", limits_are_the_commands),
    ("a rendering process is shut in", rendering_process_is_shut_in),
];

fn wall_clock_ends_the_whole_tree() {
    let place = Place::new();
    let mut spec = place.shell(Profile::Script, "trap '' TERM; (setsid sleep 1000 &); echo begun; sleep 1000");
    // Long enough for the shell to come to its line on a busy machine.
    spec.limits.wall_clock = Some(Duration::from_secs(10));
    let report = place.run(&spec);
    assert_eq!((report.ending, report.survivors), (Ending::TimedOut, Vec::new()));
    assert!(report.leftovers_ended >= 1 && !report.requested);
    assert_eq!(place.read("output"), "begun\n");
}

fn cpu_limit() {
    let place = Place::new();
    let mut spec = place.role(Profile::Script, ["spin"]);
    spec.limits.cpu_seconds = Some(1);
    let ending = place.run(&spec).ending;
    assert!(ending.to_string().contains("CPU time"), "{ending}");
}

fn memory_bomb_dies_at_its_address_space() {
    let place = Place::new();
    let mut spec = place.role(Profile::Script, ["allocate", "1024"]);
    spec.limits.address_space_bytes = Some(256 << 20);
    let ending = place.run(&spec).ending;
    assert_eq!(ending, Ending::Signaled { signal: 6 }, "the allocator gives up: {}", place.read("output"));
    let spec = place.role(Profile::Script, ["allocate", "32"]);
    assert_eq!(place.run(&spec).ending, exited(0));
}

fn memory_bomb_dies_at_its_groups_limit() {
    let place = Place::new();
    let mut spec = place.role(Profile::Workload, ["allocate", "256"]);
    spec.cgroup = Some(format!("bigdata-test-memory-{}", std::process::id()));
    spec.limits.memory_bytes = Some(48 << 20);
    let (running, started) = place.started(&spec);
    if !started.not_applied.is_empty() {
        return skipped(&started.not_applied.join("; "));
    }
    assert_eq!(running.report().ending, Ending::MemoryExhausted);
    for directory in started.cgroup_directories {
        assert!(!directory.exists(), "{} is left", directory.display());
    }
}

fn files_stop_growing() {
    let place = Place::new();
    let mut spec = place.role(Profile::Script, ["grow", place.path("large").to_str().unwrap()]);
    spec.limits.file_size_bytes = Some(1 << 20);
    let ending = place.run(&spec).ending;
    assert!(ending.to_string().contains("size limit"), "{ending}");
    assert_eq!(fs::metadata(place.path("large")).unwrap().len(), 1 << 20);
}

fn flood_of_forks() {
    let place = Place::new();
    let uid = place.identity.map_or_else(|| nix::unistd::getuid().as_raw(), |identity| identity.uid);
    // A limit on processes is one on threads, and counts all of the user's.
    let threads_before: usize = processes_of_uid(uid)
        .unwrap()
        .iter()
        .filter_map(|process| Some(fs::read_dir(format!("/proc/{}/task", process.pid)).ok()?.count()))
        .sum();
    let mut spec = place.role(Profile::Script, ["forks"]);
    let allowed = threads_before + 60;
    spec.limits.processes = Some(allowed as u64);
    spec.limits.wall_clock = None;
    let running = place.start(&spec);
    let mut most = 0;
    until("the flood reaches its limit", || {
        most = most.max(processes_of_uid(uid).unwrap().len());
        most >= 40
    });
    running.control.kill().unwrap();
    let report = running.report();
    assert!(most <= allowed, "{most} processes");
    assert!(report.survivors.is_empty() && report.leftovers_ended >= 30, "{report:?}");
    if is_root() {
        assert_eq!(processes_of_uid(uid).unwrap(), []);
    }
}

fn flood_of_forks_in_a_group() {
    let place = Place::new();
    let mut spec = place.role(Profile::Workload, ["forks"]);
    spec.cgroup = Some(format!("bigdata-test-forks-{}", std::process::id()));
    spec.limits.processes = Some(60);
    let (running, started) = place.started(&spec);
    let group = Cgroup::from_directories(started.cgroup_directories.clone());
    if group.process_limit() != Some(60) {
        running.control.kill().unwrap();
        running.report();
        return skipped("no control group counts processes here");
    }
    let mut most = 0;
    until("the flood reaches its limit", || {
        most = most.max(group.usage().unwrap().processes);
        group.process_limit_hits() > 0
    });
    let begin = Instant::now();
    running.control.kill().unwrap();
    let report = running.report();
    println!("a flood of {most} processes ended within {:?}", begin.elapsed());
    assert!(most <= 60, "{most} processes");
    assert!(report.process_limit_hits > 0 && report.survivors.is_empty(), "{report:?}");
    assert!(started.cgroup_directories.iter().all(|directory| !directory.exists()));
}

fn users_processes() {
    let place = Place::new();
    let mut spec = place.spec(Profile::Workload, ["/bin/bash", "-c", "ulimit -u"]);
    let ulimit = |spec: &bigdata_sandbox::Spec| {
        assert_eq!(place.run(spec).ending, exited(0));
        place.read("output").trim().to_owned()
    };
    let unbounded = ulimit(&spec);
    spec.limits.processes = Some(400);
    assert_eq!(ulimit(&spec), "400");
    spec.limits.user_processes = Some(900);
    assert_eq!(ulimit(&spec), "900");
    spec.cgroup = Some(format!("bigdata-test-user-{}", std::process::id()));
    let found = Capabilities::probe(&program()).unwrap();
    let groups = [found.cgroup_version_1, found.cgroup_version_2];
    let counts = groups.iter().any(|groups| groups.available && groups.explanation.contains("pids"));
    assert_eq!(ulimit(&spec), if counts { unbounded.as_str() } else { "900" });
}

fn limits_are_the_commands() {
    let place = Place::new();
    let mut spec = place.shell(Profile::Workload, "ulimit -n; ulimit -c; ulimit -s; ulimit -t; ulimit -v");
    spec.limits.open_files = Some(99);
    spec.limits.stack_bytes = Some(4 << 20);
    spec.limits.cpu_seconds = Some(77);
    spec.limits.address_space_bytes = Some(64 << 20);
    assert_eq!(place.run(&spec).ending, exited(0));
    assert_eq!(place.read("output"), "99\n0\n4096\n77\n65536\n");

    spec.limits.open_files = Some(u64::MAX / 2);
    let (running, started) = place.started(&spec);
    let impossible = started.not_applied.iter().any(|note| note.contains("open files"));
    assert!(impossible, "{:?}", started.not_applied);
    running.report();
    spec.required = true;
    assert!(place.run(&spec).ending.to_string().contains("not possible here"));
}

fn rendering_process_is_shut_in() {
    let attempt = |what: &str| {
        let output = std::process::Command::new(program()).args(["role", "render", what]).output().unwrap();
        let skipped = String::from_utf8_lossy(&output.stderr).contains("no Landlock");
        (output.status, String::from_utf8_lossy(&output.stdout).trim().to_owned(), skipped)
    };
    assert_eq!(attempt("compute").1, "55");
    let (_, read, no_landlock) = attempt("read");
    if no_landlock {
        skipped("this kernel has no Landlock");
    } else {
        assert_eq!(read, format!("refused {}", nix::libc::EACCES));
    }
    assert!(attempt("execute").1.starts_with("refused"));
    assert_eq!(attempt("sockets").1, "tcp refused 1\nudp refused 1\nunix refused 1");
    for (what, signals) in [("allocate", [6].as_slice()), ("spin", &[24]), ("recurse", &[6, 11])] {
        use std::os::unix::process::ExitStatusExt;
        let signal = attempt(what).0.signal();
        assert!(signal.is_some_and(|signal| signals.contains(&signal)), "{what}: {signal:?}");
    }
}
