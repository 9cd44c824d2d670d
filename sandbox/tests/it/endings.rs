//! What a caller learns of an end, and what it shows to others.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use bigdata_sandbox::{Ending, Error, Event, Profile, Request, Spec};

use crate::{
    Test,
    support::{PATIENCE, Place, exited, program, until},
};

pub(crate) const TESTS: &[Test] = &[
    ("exit codes and signals are told", exit_codes_and_signals_are_told),
    ("what cannot start says why", what_cannot_start_says_why),
    ("the environment is exactly the given one", environment_is_exact),
    ("nothing secret is shown", nothing_secret_is_shown),
    ("too large a specification is refused", too_large_a_specification_is_refused),
    ("the socket can be used without Control", socket_can_be_used_without_control),
    ("a blocking run ends in time", blocking_run_ends_in_time),
];

fn exit_codes_and_signals_are_told() {
    for profile in [Profile::Script, Profile::Workload] {
        let place = Place::new();
        for code in [0, 3, 255] {
            let report = place.run(&place.shell(profile, &format!("exit {code}")));
            assert_eq!(report.ending, exited(code));
            assert!(!report.requested && report.leftovers_ended == 0 && report.survivors.is_empty());
        }
        let report = place.run(&place.shell(profile, "kill -USR1 $$"));
        assert_eq!(report.ending, Ending::Signaled { signal: 10 });
        assert_eq!(report.ending.exit_code(), 138);
    }
}

fn what_cannot_start_says_why() {
    let place = Place::new();
    let script = place.path("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let cases = [
        ("/x/y", 127, "command not found: /x/y"),
        ("no-such-command", 127, "command not found in PATH: no-such-command"),
        ("/etc/passwd", 126, "cannot execute /etc/passwd"),
        (script.to_str().unwrap(), 126, "interpreter"),
    ];
    for (command, code, text) in cases {
        // A process that another test is just starting may still have the script open for writing.
        let mut tries = (0..100).map(|_| place.run(&place.spec(Profile::Workload, [command])).ending);
        let ending = tries.find(|ending| !ending.to_string().contains("Text file busy")).unwrap();
        let found = matches!(&ending, Ending::SetupFailed { what, .. } if what.contains(text));
        assert!(found && ending.exit_code() == code, "{command}: {ending:?}");
    }
    let mut nowhere = place.shell(Profile::Workload, "exit 0");
    nowhere.directory = "/no/such/directory".into();
    let ending = place.run(&nowhere).ending;
    assert!(ending.to_string().contains("/no/such/directory") && ending.exit_code() == 125, "{ending:?}");
    assert!(Spec::new(Profile::Script, [""]).command(&program()).is_err());
}

fn environment_is_exact() {
    let place = Place::new();
    let mut spec = place.spec(Profile::Script, ["/usr/bin/env"]);
    spec.environment.clear();
    spec.environment.insert("GREETING".into(), "two words\nand a line = more".into());
    spec.environment.insert("EMPTY".into(), String::new());
    assert_eq!(place.run(&spec).ending, exited(0));
    assert_eq!(place.read("output"), "EMPTY=\nGREETING=two words\nand a line = more\n");
}

fn nothing_secret_is_shown() {
    let place = Place::new();
    let mut spec = place.shell(Profile::Workload, "echo ready > ready; read forever < /dev/full; exec sleep 1000");
    spec.environment.insert("PASSWORD".into(), "hunter2".into());
    spec.label = "node-7".into();
    let (running, started) = place.started(&spec);
    until("the command runs", || place.read("ready") == "ready\n");
    for pid in [running.child.id(), started.pid.cast_unsigned()] {
        let arguments = String::from_utf8(fs::read(format!("/proc/{pid}/cmdline")).unwrap()).unwrap();
        assert!(!arguments.contains("hunter2") && !arguments.is_empty(), "{arguments}");
    }
    let supervisor = running.child.id();
    assert!(fs::read_to_string(format!("/proc/{supervisor}/cmdline")).unwrap().ends_with("__sandbox\0--\0node-7\0"));
    // Not readable at all for others of its user; empty for root.
    assert_eq!(fs::read(format!("/proc/{supervisor}/environ")).unwrap_or_default(), b"");
    running.control.kill().unwrap();
    assert_eq!(running.report().ending, Ending::Signaled { signal: 9 });
}

fn too_large_a_specification_is_refused() {
    let place = Place::new();
    let mut spec = place.shell(Profile::Script, "echo ${#LARGE}");
    spec.environment.insert("LARGE".into(), "x".repeat(120_000));
    assert_eq!(place.run(&spec).ending, exited(0));
    assert_eq!(place.read("output"), "120000\n");
    spec.environment.insert("LARGER".into(), "x".repeat(20_000));
    assert!(matches!(spec.command(&program()), Err(Error::TooLarge { .. })));
}

fn socket_can_be_used_without_control() {
    use std::io::{BufRead, BufReader, Write};
    let place = Place::new();
    let (mut command, control) = place.shell(Profile::Workload, "exec sleep 1000").command(&program()).unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut stream = control.into_stream();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).split(b'\n');
    assert!(matches!(Event::parse(&lines.next().unwrap().unwrap()).unwrap(), Event::Started(_)));
    stream.write_all(&Request::Stop { grace: None }.line()).unwrap();
    let Event::Ended(report) = Event::parse(&lines.next().unwrap().unwrap()).unwrap() else { panic!("no end") };
    assert!(report.requested && report.ending == Ending::Signaled { signal: 15 });
    assert!(lines.next().is_none());
    child.wait().unwrap();
}

fn blocking_run_ends_in_time() {
    let place = Place::new();
    assert_eq!(place.shell(Profile::Script, "exit 4").run(&program(), PATIENCE).unwrap().ending, exited(4));
    let endless = place.shell(Profile::Script, "sleep 1000");
    assert!(matches!(endless.run(&program(), Duration::from_millis(100)), Err(Error::Late)));
}
