//! Ending trees: asked to, left behind, abandoned, orphaned.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bigdata_sandbox::{Ending, Error, Profile, Spec, descendants, kill_all, processes_with_environment};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Test,
    support::{PATIENCE, Place, exited, is_alive, number_in, program, until},
};

pub(crate) const TESTS: &[Test] = &[
    ("daemons end with their command", daemons_end_with_their_command),
    ("leftovers are asked before they are killed", leftovers_are_asked),
    ("a stop is graceful", stop_is_graceful),
    ("a stop has an end", stop_has_an_end),
    ("a stop reaches what a shell started", stop_reaches_what_a_shell_started),
    ("signals are passed on", signals_are_passed_on),
    ("a killed caller takes its tree along", killed_caller_takes_its_tree_along),
    ("a workload is stopped gracefully when abandoned", abandoned_workload_stops_gracefully),
    ("what a killed supervisor leaves can be ended", killed_supervisor),
];

/// Starts a sleeper that has left its session and its parent; its id goes to the file `daemon`.
const DAEMON: &str = "setsid sh -c '(sleep 1000 & echo $! > daemon.new; mv daemon.new daemon) & exit' & \
                      until [ -e daemon ]; do :; done; ";

fn daemons_end_with_their_command() {
    for profile in [Profile::Script, Profile::Workload] {
        let place = Place::new();
        let report = place.run(&place.shell(profile, &format!("{DAEMON} exit 7")));
        assert_eq!(report.ending, exited(7));
        // The shells between may be on their way out still, and count then.
        assert!(report.leftovers_ended >= 1 && report.survivors.is_empty());
        assert!(!is_alive(number_in(&place.path("daemon"))));
    }
}

fn leftovers_are_asked() {
    let place = Place::new();
    let script = "(trap 'echo polite > trace; exit' TERM; sleep 1000 & echo > ready; wait; wait) & \
                  until [ -e ready ]; do :; done; exit 0";
    let report = place.run(&place.shell(Profile::Workload, script));
    assert_eq!((report.ending, place.read("trace")), (exited(0), "polite\n".into()));

    let mut impatient = place.shell(
        Profile::Workload,
        "(trap '' TERM; echo > deaf; sleep 1000) & \
                  until [ -e deaf ]; do :; done; exit 0",
    );
    impatient.grace = Duration::from_millis(100);
    let report = place.run(&impatient);
    assert!(report.leftovers_ended >= 1 && report.survivors.is_empty());
}

fn stop_is_graceful() {
    let place = Place::new();
    // Not by a trap of the shell: dash may miss a signal that comes just before it waits.
    let program = r#"exec perl -e '$SIG{INT} = sub { print "bye\n"; exit 5 }; open F, ">ready"; sleep 1 while 1'"#;
    let mut spec = place.shell(Profile::Workload, program);
    spec.stop_signal = Signal::SIGINT as i32;
    let (running, _) = place.started(&spec);
    until("the trap is set", || place.path("ready").exists());
    running.control.stop(None).unwrap();
    let report = running.report();
    assert!(report.requested);
    assert_eq!((report.ending, place.read("output")), (exited(5), "bye\n".into()));
}

fn stop_has_an_end() {
    let place = Place::new();
    let (running, _) =
        place.started(&place.shell(Profile::Workload, "trap '' TERM; echo > ready; while :; do sleep 0.01; done"));
    until("the trap is set", || place.path("ready").exists());
    let begin = Instant::now();
    running.control.stop(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(running.report().ending, Ending::Signaled { signal: 9 });
    assert!(begin.elapsed() >= Duration::from_millis(300), "it had its grace");
}

fn stop_reaches_what_a_shell_started() {
    let place = Place::new();
    let script =
        "sh -c 'trap \"echo saved > trace; exit\" TERM; echo > ready; while :; do sleep 0.01; done'; echo never";
    let (running, _) = place.started(&place.shell(Profile::Workload, script));
    until("the inner trap is set", || place.path("ready").exists());
    running.control.stop(None).unwrap();
    let report = running.report();
    assert_eq!((report.ending, place.read("trace")), (Ending::Signaled { signal: 15 }, "saved\n".into()));
}

fn signals_are_passed_on() {
    let place = Place::new();
    // A shell that waited without end would miss a signal that comes between its look and its wait.
    let script = "trap 'echo again > again' HUP; echo > ready; until [ -e again ]; do sleep 0.02; done; exit 9";
    let (running, _) = place.started(&place.shell(Profile::Script, script));
    until("the trap is set", || place.path("ready").exists());
    running.control.signal(Signal::SIGHUP as i32, false).unwrap();
    assert_eq!(running.report().ending, exited(9));
}

/// Starts a caller of its own, and waits until its sandbox has a daemon.
fn abandon(place: &Place, spec: &Spec) -> (std::process::Child, i32, i32) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), serde_json::to_vec(spec).unwrap()).unwrap();
    let mut caller =
        Command::new(program()).args(["role", "caller"]).arg(file.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(caller.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let daemon = number_in(&place.path("daemon"));
    assert!(is_alive(daemon));
    (caller, line.trim().parse().unwrap(), daemon)
}

fn killed_caller_takes_its_tree_along() {
    let place = Place::new();
    let (mut caller, supervisor, daemon) =
        abandon(&place, &place.shell(Profile::Script, &format!("trap '' TERM; {DAEMON} sleep 1000")));
    let tree = descendants(supervisor).unwrap();
    assert!(tree.iter().any(|process| process.pid == daemon));
    caller.kill().unwrap();
    caller.wait().unwrap();
    until("the tree is gone", || !tree.iter().any(|process| is_alive(process.pid)) && !is_alive(supervisor));
}

fn abandoned_workload_stops_gracefully() {
    let place = Place::new();
    let script = format!("trap 'echo saved > trace; exit' TERM; {DAEMON} sleep 1000 & wait; wait");
    let (mut caller, supervisor, daemon) = abandon(&place, &place.shell(Profile::Workload, &script));
    caller.kill().unwrap();
    caller.wait().unwrap();
    until("the tree is gone", || !is_alive(daemon) && !is_alive(supervisor));
    assert_eq!(place.read("trace"), "saved\n");
}

fn killed_supervisor() {
    let place = Place::new();
    let mark = format!("{}-{daemon}", std::process::id(), daemon = "killed-supervisor");
    let mut spec = place.shell(Profile::Workload, &format!("{DAEMON} sleep 1000"));
    spec.environment.insert("BIGDATA_TEST_MARK".into(), mark.clone());
    let (mut running, started) = place.started(&spec);
    let daemon = number_in(&place.path("daemon"));
    kill(Pid::from_raw(running.child.id().cast_signed()), Signal::SIGKILL).unwrap();
    running.child.wait().unwrap();
    assert!(matches!(running.control.wait(PATIENCE), Err(Error::Vanished)));
    until("the command has followed it", || !is_alive(started.pid));
    assert!(is_alive(daemon), "what had left the command's session did not");
    let ended = kill_all(|| processes_with_environment("BIGDATA_TEST_MARK", &mark), PATIENCE).unwrap();
    assert!(ended >= 1 && !is_alive(daemon));
}
