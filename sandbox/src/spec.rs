//! What is to be run, and within which bounds.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Error;

/// The kind of child, which decides the defaults and what a lost caller means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A short computation on untrusted input: no network, no files, killed at once when its caller is gone.
    Render,
    /// A product's script: a time limit, its own directory, no network, killed at once when its caller is gone.
    Script,
    /// A node's workload: its own session, no time limit, stopped gracefully when its caller is gone.
    Workload,
}

/// Everything that a bounded child is started with. [`Spec::new`] fills in what the profile implies.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The kind of child.
    pub profile: Profile,
    /// Shown in process listings beside `__sandbox`; never a secret.
    pub label: String,
    /// The program and its arguments. A name without `/` is looked up in the child's own `PATH`.
    pub command: Vec<String>,
    /// Where the command starts.
    pub directory: PathBuf,
    /// The child's whole environment: nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Bounds on resources.
    pub limits: Limits,
    /// The user that the command runs as; needs root unless it is the caller's own. Supplementary groups are cleared.
    pub identity: Option<Identity>,
    /// The files that the command can reach.
    pub filesystem: Filesystem,
    /// The network that the command can reach.
    pub network: Network,
    /// Whether set-uid programs lose their effect. Always so where files or network are restricted.
    pub no_new_privileges: bool,
    /// A file shown as `/etc/hosts`. It is bound by inode: change it in place, not by renaming over it.
    pub hosts_file: Option<PathBuf>,
    /// A name for the uid, added to the `/etc/passwd` and `/etc/group` that the command sees.
    pub user_entry: Option<UserEntry>,
    /// A directory shown as `/tmp`; not possible for a command that starts below the machine's own.
    pub private_tmp: Option<PathBuf>,
    /// A relative control group name such as `bigdata/node-1`, created below the caller's group and removed at the end.
    /// Processes found in it at the start are leftovers and are killed.
    pub cgroup: Option<String>,
    /// The address that the command's TCP connections to 127.0.0.0/8 come from, but for those to 127.0.0.1 and those of
    /// sockets that it binds itself. It cannot bind one to another address of 127.0.0.0/8 but 127.0.0.1 then: those are
    /// its neighbours'.
    pub loopback_source: Option<Ipv4Addr>,
    /// The signal of a graceful stop (SIGTERM).
    pub stop_signal: i32,
    /// How long a graceful stop waits before everything is killed.
    pub grace: Duration,
    /// Refuse to run where this machine cannot apply something; otherwise [`Started::not_applied`](crate::Started) names it.
    pub required: bool,
}

/// Bounds on resources. Bytes, seconds and counts; `None` leaves the caller's own limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Virtual memory of each process, in bytes.
    pub address_space_bytes: Option<u64>,
    /// CPU time of each process, in seconds: SIGXCPU, and SIGKILL one second later.
    pub cpu_seconds: Option<u64>,
    /// The greatest file that can be written, in bytes.
    pub file_size_bytes: Option<u64>,
    /// Open descriptors of each process.
    pub open_files: Option<u64>,
    /// Processes and threads of the whole tree, zombies among them, by a control group. Where none counts them: all of the
    /// uid's on this machine, not enforced for root.
    pub processes: Option<u64>,
    /// The limit on all of the uid's processes and threads in place of that one, for a uid that several trees share.
    pub user_processes: Option<u64>,
    /// Core dumps, in bytes.
    pub core_bytes: Option<u64>,
    /// The main thread's stack, in bytes.
    pub stack_bytes: Option<u64>,
    /// Memory of the whole tree, in bytes; needs a control group.
    pub memory_bytes: Option<u64>,
    /// Processors that the whole tree may keep busy, e.g. 1.5; needs a control group.
    pub processors: Option<f64>,
    /// How long the command may take; then its tree is killed.
    pub wall_clock: Option<Duration>,
}

/// A numeric user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// A line of `/etc/passwd` (and `/etc/group`) for the uid that the command runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEntry {
    /// The user's and group's name.
    pub name: String,
    /// The home directory.
    pub home: PathBuf,
}

/// Which files a command can reach (Landlock).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filesystem {
    /// Whatever its user can.
    Unrestricted,
    /// Only what lies beneath these paths. Paths that do not exist are ignored, but for `read_write`.
    Only {
        /// Can be read.
        read_only: Vec<PathBuf>,
        /// Can be read and executed.
        executable: Vec<PathBuf>,
        /// Can be read, executed, changed, created and removed.
        read_write: Vec<PathBuf>,
    },
}

/// Which sockets a command can open (seccomp).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Every kind.
    Allowed,
    /// Unix sockets only.
    Denied,
}

impl Spec {
    /// A specification with the profile's defaults, an empty environment and `/` as its directory.
    pub fn new(profile: Profile, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            profile,
            label: String::new(),
            command: command.into_iter().map(Into::into).collect(),
            directory: PathBuf::from("/"),
            environment: BTreeMap::new(),
            limits: Limits::of(profile),
            identity: None,
            filesystem: Filesystem::of(profile),
            network: match profile {
                Profile::Render | Profile::Script => Network::Denied,
                Profile::Workload => Network::Allowed,
            },
            no_new_privileges: true,
            hosts_file: None,
            user_entry: None,
            private_tmp: None,
            cgroup: None,
            loopback_source: None,
            stop_signal: nix::libc::SIGTERM,
            grace: match profile {
                Profile::Render => Duration::ZERO,
                Profile::Script => Duration::from_secs(2),
                Profile::Workload => Duration::from_secs(10),
            },
            required: false,
        }
    }

    /// Lets the command read, change and execute what lies beneath `path`, where its files are restricted at all.
    pub fn allow_read_write(&mut self, path: impl Into<PathBuf>) {
        if let Filesystem::Only { read_write, .. } = &mut self.filesystem {
            read_write.push(path.into());
        }
    }

    /// Refuses what no system call could accept, before anything is started.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Refused(what));
        let holds_nul = |text: &str| text.contains('\0');
        if self.command.first().is_none_or(String::is_empty) {
            return refuse("the command is empty".into());
        }
        if self.command.iter().any(|word| holds_nul(word)) || holds_nul(&self.label) {
            return refuse("the command or label holds a NUL character".into());
        }
        if let Some(name) = self.environment.iter().find_map(|(name, value)| {
            (name.is_empty() || name.contains('=') || holds_nul(name) || holds_nul(value)).then_some(name)
        }) {
            return refuse(format!("the environment variable {name:?} cannot be set"));
        }
        if let Some(entry) = &self.user_entry {
            let home = entry.home.to_string_lossy();
            if entry.name.is_empty() || [&entry.name, home.as_ref()].iter().any(|part| part.contains([':', '\n', '\0']))
            {
                return refuse(format!("the user entry {entry:?} is not a line of /etc/passwd"));
            }
        }
        if self.limits.processors.is_some_and(|count| !(count.is_finite() && count > 0.0)) {
            return refuse("processors must be a positive number".into());
        }
        if self.loopback_source.is_some_and(|address| !address.is_loopback()) {
            return refuse("the source of loopback connections must be in 127.0.0.0/8".into());
        }
        if nix::sys::signal::Signal::try_from(self.stop_signal).is_err() {
            return refuse(format!("{} is no signal", self.stop_signal));
        }
        self.cgroup.as_deref().map_or(Ok(()), crate::cgroup::check_name)
    }
}

impl Limits {
    fn of(profile: Profile) -> Self {
        let common = Self { core_bytes: Some(0), ..Self::default() };
        match profile {
            Profile::Render => Self {
                address_space_bytes: Some(384 << 20),
                cpu_seconds: Some(1),
                file_size_bytes: Some(0),
                stack_bytes: Some(32 << 20),
                wall_clock: Some(Duration::from_secs(3)),
                ..common
            },
            Profile::Script => Self { wall_clock: Some(Duration::from_secs(600)), ..common },
            Profile::Workload => common,
        }
    }
}

impl Filesystem {
    fn of(profile: Profile) -> Self {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        match profile {
            Profile::Workload => Self::Unrestricted,
            Profile::Render | Profile::Script => Self::Only {
                read_only: paths(&["/etc", "/proc", "/sys", "/run/resolvconf", "/run/systemd/resolve"]),
                executable: paths(&["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt"]),
                read_write: paths(&["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]),
            },
        }
    }
}

/// Values of the environment are left out: they hold secrets.
impl fmt::Debug for Spec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Spec")
            .field("profile", &self.profile)
            .field("label", &self.label)
            .field("command", &self.command)
            .field("directory", &self.directory)
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .field("limits", &self.limits)
            .field("identity", &self.identity)
            .field("filesystem", &self.filesystem)
            .field("network", &self.network)
            .field("cgroup", &self.cgroup)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_run() {
        let good = Spec::new(Profile::Script, ["/bin/true"]);
        assert!(good.check().is_ok());
        assert!(Spec::new(Profile::Script, Vec::<String>::new()).check().is_err());
        for (name, value) in [("", "x"), ("A=B", "x"), ("A", "\0")] {
            let mut spec = good.clone();
            spec.environment.insert(name.into(), value.into());
            assert!(spec.check().is_err(), "{name:?}={value:?}");
        }
        for name in ["/absolute", "a/../b", "", "a//b"] {
            let spec = Spec { cgroup: Some(name.into()), ..good.clone() };
            assert!(spec.check().is_err(), "{name:?}");
        }
        let elsewhere = Spec { loopback_source: Some([10, 0, 0, 1].into()), ..good.clone() };
        assert!(elsewhere.check().is_err());
        let entry = UserEntry { name: "node:0".into(), home: "/".into() };
        assert!(Spec { user_entry: Some(entry), ..good }.check().is_err());
    }

    #[test]
    fn debug_output_keeps_secrets() {
        let mut spec = Spec::new(Profile::Workload, ["/bin/true"]);
        spec.environment.insert("PASSWORD".into(), "hunter2".into());
        let text = format!("{spec:?}");
        assert!(text.contains("PASSWORD") && !text.contains("hunter2"), "{text}");
    }
}
