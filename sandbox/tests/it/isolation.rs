//! What a command can reach, and what it sees in place of the machine's own.

use std::{fs, os::unix::fs::PermissionsExt};

use bigdata_sandbox::{Capabilities, Ending, Filesystem, Network, Profile, UserEntry};

use crate::{
    Test,
    support::{Place, exited, is_root, program, skipped},
};

pub(crate) const TESTS: &[Test] = &[
    ("files out of reach are refused", files_out_of_reach),
    ("only Unix sockets remain", only_unix_sockets_remain),
    ("the supervisor is out of the command's reach", supervisor_is_out_of_reach),
    ("hosts, users and tmp are the node's own", own_hosts_users_and_tmp),
    ("the user is the given one", user_is_the_given_one),
    ("what is required and not possible is refused", required_and_not_possible),
];

fn has_landlock() -> bool {
    let found = Capabilities::probe(&program()).unwrap().landlock;
    if !found.available {
        skipped(&found.explanation);
    }
    found.available
}

fn files_out_of_reach() {
    if !has_landlock() {
        return;
    }
    let place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let file = outside.path().join("file");
    fs::write(&file, "secret").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let file = file.to_str().unwrap();
    let inside = place.path("inside");
    let tried = |role: [&str; 2]| {
        // As the caller's own user: it is not permissions that refuse.
        let mut spec = place.role(Profile::Script, role);
        spec.identity = None;
        assert_eq!(place.run(&spec).ending, exited(0), "{}", place.read("output"));
        place.read("output").trim().to_owned()
    };
    assert_eq!(tried(["read", file]), "refused 13");
    assert_eq!(tried(["read", "/root/.profile"]), "refused 13");
    assert_eq!(tried(["write", file]), "refused 13");
    assert_eq!(tried(["write", "/etc/bigdata-sandbox-test"]), "refused 13");
    assert_eq!(tried(["read", "/proc/1/environ"]), "refused 13");
    assert_eq!(tried(["read", "/etc/passwd"]), "allowed");
    assert_eq!(tried(["write", "/dev/null"]), "allowed");
    assert_eq!(tried(["write", inside.to_str().unwrap()]), "allowed");
    assert_eq!(fs::read_to_string(file).unwrap(), "secret");

    let mut missing = place.role(Profile::Script, ["read", "/etc/passwd"]);
    missing.allow_read_write("/no/such/place");
    assert!(place.run(&missing).ending.to_string().contains("/no/such/place"));
}

fn only_unix_sockets_remain() {
    let place = Place::new();
    let report = place.run(&place.role(Profile::Script, ["sockets"]));
    assert_eq!(
        (report.ending, place.read("output")),
        (exited(0), "tcp refused 1\nudp refused 1\nunix allowed\n".into())
    );

    let mut open = place.role(Profile::Script, ["sockets"]);
    open.network = Network::Allowed;
    assert_eq!(place.run(&open).ending, exited(0));
    assert!(place.read("output").contains("udp allowed"), "{}", place.read("output"));
}

fn supervisor_is_out_of_reach() {
    let place = Place::new();
    let script = "kill -9 $PPID && echo killed; echo over";
    let mut spec = place.shell(Profile::Script, script);
    spec.identity = None;
    let scoped = Capabilities::probe(&program()).unwrap().landlock_version >= 6;
    if !scoped {
        return skipped("this kernel's Landlock does not confine signals");
    }
    assert_eq!(place.run(&spec).ending, exited(0));
    assert!(!place.read("output").contains("killed"), "{}", place.read("output"));
    if is_root() {
        spec = place.shell(Profile::Workload, script);
        assert_eq!(place.run(&spec).ending, exited(0));
        assert!(!place.read("output").contains("killed"), "another user cannot either");
    }
}

fn own_hosts_users_and_tmp() {
    let Some(place) = Place::beside_tmp() else { return skipped("/var/tmp cannot be written") };
    let hosts = place.path("hosts");
    fs::write(&hosts, "127.9.8.7 node-1.cluster\n").unwrap();
    fs::set_permissions(&hosts, fs::Permissions::from_mode(0o644)).unwrap();
    let tmp = place.path("tmp");
    fs::create_dir(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
    let mut spec = place.shell(
        Profile::Workload,
        "cat /etc/hosts; id -un; id -gn; echo ~node; echo mine > /tmp/bigdata-sandbox-trace; ls /tmp",
    );
    spec.hosts_file = Some(hosts);
    spec.user_entry = Some(UserEntry { name: "node".into(), home: "/var/node".into() });
    spec.private_tmp = Some(tmp.clone());
    let before = (fs::read("/etc/hosts").unwrap(), fs::read("/etc/passwd").unwrap());
    let (running, started) = place.started(&spec);
    let report = running.report();
    if !started.not_applied.is_empty() {
        return skipped(&started.not_applied.join("; "));
    }
    assert_eq!(report.ending, exited(0));
    let output = place.read("output");
    let lines: Vec<&str> = output.lines().collect();
    // An ordinary user has an entry already, and the first one of its number counts.
    let (user, group) = if is_root() { ("node", "node") } else { (lines[1], lines[2]) };
    assert_eq!(lines, ["127.9.8.7 node-1.cluster", user, group, "/var/node", "bigdata-sandbox-trace"]);
    assert_eq!((fs::read("/etc/hosts").unwrap(), fs::read("/etc/passwd").unwrap()), before);
    assert!(!fs::exists("/tmp/bigdata-sandbox-trace").unwrap() && tmp.join("bigdata-sandbox-trace").exists());

    spec.directory = "/tmp".into();
    spec.command = vec!["/bin/true".into()];
    let (running, started) = place.started(&spec);
    assert!(started.not_applied.concat().contains("would be hidden"), "{:?}", started.not_applied);
    assert_eq!(running.report().ending, exited(0));
}

fn user_is_the_given_one() {
    let place = Place::new();
    let Some(identity) = place.identity else { return skipped("only root can take on another user") };
    let report = place.run(&place.shell(Profile::Script, "id -u; id -g; id -G; touch mine"));
    assert_eq!(report.ending, exited(0));
    let (uid, gid) = (identity.uid, identity.gid);
    assert_eq!(place.read("output"), format!("{uid}\n{gid}\n{gid}\n"));
}

fn required_and_not_possible() {
    let place = Place::new();
    let mut spec = place.shell(Profile::Workload, "echo ran");
    spec.limits.memory_bytes = Some(1 << 30);
    let (running, started) = place.started(&spec);
    assert!(started.not_applied.iter().any(|note| note.contains("control group")), "{:?}", started.not_applied);
    assert_eq!(running.report().ending, exited(0));
    spec.required = true;
    spec.filesystem = Filesystem::Unrestricted;
    let ending = place.run(&spec).ending;
    assert!(matches!(&ending, Ending::SetupFailed { what, .. } if what.contains("not possible here")), "{ending}");
    assert_eq!(place.read("output"), "", "it never ran");
}
