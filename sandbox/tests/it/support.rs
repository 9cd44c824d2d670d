//! Running children and waiting for conditions.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Child,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use bigdata_sandbox::{Control, Ending, Filesystem, Identity, Process, Profile, Report, Spec, Started};
use tempfile::TempDir;

/// Beyond any honest duration; reached only by a fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn program() -> PathBuf {
    env::current_exe().expect("this test has a path")
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says loudly that this machine or user does not allow a test.
pub(crate) fn skipped(why: &str) {
    println!("SKIPPED: {why}");
}

/// A user of its own where this is root, so that limits on its processes are enforced and its alone.
pub(crate) fn other_user() -> Option<Identity> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let uid = 1_900_000 + (std::process::id() % 10_000) * 100 + NEXT.fetch_add(1, Ordering::Relaxed);
    is_root().then_some(Identity { uid, gid: uid })
}

/// A directory that belongs to the child's user.
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) identity: Option<Identity>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    /// A place that is not below `/tmp`; `None` where no such place can be written.
    pub(crate) fn beside_tmp() -> Option<Self> {
        tempfile::tempdir_in("/var/tmp").ok().map(Self::at)
    }

    fn at(directory: TempDir) -> Self {
        let identity = other_user();
        if let Some(Identity { uid, gid }) = identity {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { directory, identity }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A command of that profile in this directory, as its user.
    pub(crate) fn spec<const COUNT: usize>(&self, profile: Profile, command: [&str; COUNT]) -> Spec {
        let mut spec = Spec::new(profile, command);
        spec.identity = self.identity;
        spec.directory = self.directory.path().to_owned();
        spec.environment.insert("PATH".into(), "/usr/bin:/bin".into());
        spec.allow_read_write(self.directory.path());
        spec
    }

    pub(crate) fn shell(&self, profile: Profile, script: &str) -> Spec {
        self.spec(profile, ["/bin/sh", "-c", script])
    }

    /// A part of this test program as the command.
    pub(crate) fn role<const COUNT: usize>(&self, profile: Profile, role: [&str; COUNT]) -> Spec {
        let mut spec = self.spec(profile, ["unnamed"]);
        spec.command = [program().to_str().unwrap(), "role"].into_iter().chain(role).map(str::to_owned).collect();
        if let Filesystem::Only { executable, .. } = &mut spec.filesystem {
            executable.push(program());
        }
        spec
    }

    /// Runs a command to its end, its output in the file `output`.
    pub(crate) fn run(&self, spec: &Spec) -> Report {
        let mut running = self.start(spec);
        let report = running.control.wait(PATIENCE).unwrap();
        let code = running.child.wait().unwrap().code();
        assert_eq!(code, Some(report.ending.exit_code()), "the supervisor's own exit code tells the same");
        report
    }

    pub(crate) fn start(&self, spec: &Spec) -> Running {
        let (mut command, control) = spec.command(&program()).unwrap();
        let output = File::create(self.path("output")).unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap();
        Running { child, control }
    }

    /// Starts a command and waits until it runs.
    pub(crate) fn started(&self, spec: &Spec) -> (Running, Started) {
        let mut running = self.start(spec);
        let started = running.control.started(PATIENCE).unwrap();
        (running, started.unwrap_or_else(|report| panic!("not started: {}", report.ending)))
    }
}

pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) control: Control,
}

impl Running {
    pub(crate) fn report(mut self) -> Report {
        let report = self.control.wait(PATIENCE).unwrap();
        self.child.wait().unwrap();
        report
    }
}

pub(crate) fn exited(code: i32) -> Ending {
    Ending::Exited { code }
}

pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    Process::read(pid).is_some_and(|process| process.is_alive())
}

/// The number that a child wrote to a file, once it is there.
pub(crate) fn number_in(file: &Path) -> i32 {
    let mut number = None;
    until(&format!("{} holds a number", file.display()), || {
        let text = fs::read_to_string(file).unwrap_or_default();
        number = text.strip_suffix('\n').and_then(|line| line.trim().parse().ok());
        number.is_some()
    });
    number.unwrap()
}
