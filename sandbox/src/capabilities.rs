//! What this machine and user allow, found out by doing it in a child.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use landlock::LandlockStatus;
use nix::{
    sys::prctl,
    unistd::{geteuid, getpid},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, SUBCOMMAND,
    confine::{landlock as files, mounts, seccomp},
    entry::PROBE,
    hierarchies::{Hierarchies, Version},
    loopback,
};

/// One thing that a machine allows or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Whether it can be used.
    pub available: bool,
    /// What that means, in a few words.
    pub explanation: String,
}

/// What this machine and user allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Whether other users can be taken on.
    pub root: Capability,
    /// The version of Landlock's interface, 0 without.
    pub landlock_version: u32,
    /// Restriction of files.
    pub landlock: Capability,
    /// Restriction of system calls and with them of the network.
    pub seccomp: Capability,
    /// Private mounts as this user.
    pub mount_namespaces: Capability,
    /// Namespaces that an ordinary user can make.
    pub user_namespaces: Capability,
    /// Control groups of version 1.
    pub cgroup_version_1: Capability,
    /// Control groups of version 2.
    pub cgroup_version_2: Capability,
    /// Loopback connections from an address of the node's own.
    pub loopback_source: Capability,
    /// Adoption of orphans.
    pub subreaper: Capability,
}

impl Capabilities {
    /// Tries everything in a child of `program`, which calls [`main_if_requested`](crate::main_if_requested).
    pub fn probe(program: &Path) -> Result<Self, Error> {
        let output = Command::new(program)
            .args([SUBCOMMAND, PROBE])
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|error| Error::system(format!("cannot start {}", program.display()), error))?;
        serde_json::from_slice(&output.stdout).map_err(Error::Message)
    }

    /// Every capability with its name, for people.
    pub fn list(&self) -> [(&'static str, &Capability); 9] {
        [
            ("root", &self.root),
            ("Landlock", &self.landlock),
            ("seccomp", &self.seccomp),
            ("mount namespaces", &self.mount_namespaces),
            ("user namespaces", &self.user_namespaces),
            ("control groups v1", &self.cgroup_version_1),
            ("control groups v2", &self.cgroup_version_2),
            ("loopback source", &self.loopback_source),
            ("subreaper", &self.subreaper),
        ]
    }
}

/// The child that tries: each step narrows what it can do itself, so the order matters.
pub(crate) fn main() -> i32 {
    let hierarchies = Hierarchies::of_this_process();
    let root = geteuid().is_root();
    let (cgroup_version_1, cgroup_version_2) =
        (cgroups(&hierarchies, Version::One), cgroups(&hierarchies, Version::Two));
    let loopback_source = loopback_source(&hierarchies);
    let subreaper = prctl::set_child_subreaper(true).map_err(|error| error.to_string());
    let user_namespaces = try_user_namespace();
    let mount_namespaces = mounts::own_namespace(geteuid().as_raw()).map_err(|error| error.one_line());
    let _ = prctl::set_no_new_privs();
    let seccomp = seccomp::deny_network().map_err(|error| error.one_line());
    let landlock_version = match files::deny_all() {
        Ok(LandlockStatus::Available { effective_abi, kernel_abi }) => {
            kernel_abi.map_or(effective_abi as u32, i32::cast_unsigned)
        }
        _ => 0,
    };
    let found = Capabilities {
        root: capability(
            root,
            "each cluster has its own user",
            "nodes run as the platform's own user, one cluster can reach another's processes",
        ),
        landlock_version,
        landlock: capability(
            landlock_version > 0,
            &format!("version {landlock_version}: scripts reach their own files only"),
            "scripts can read what their user can",
        ),
        seccomp: attempt(seccomp, "scripts can be kept off the network", "scripts cannot be kept off the network"),
        mount_namespaces: attempt(
            mount_namespaces,
            "nodes can have their own /etc/hosts, /etc/passwd and /tmp",
            "nodes share /etc/hosts, /etc/passwd and /tmp",
        ),
        user_namespaces,
        cgroup_version_1,
        cgroup_version_2,
        loopback_source,
        subreaper: attempt(subreaper, "no process escapes its node", "daemons may escape their node"),
    };
    match serde_json::to_writer(io::stdout(), &found) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// In a grandchild of root's this would show only root's rights, so it is read off where it cannot be tried.
fn try_user_namespace() -> Capability {
    let limit =
        fs::read_to_string("/proc/sys/user/max_user_namespaces").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let switched_off =
        fs::read_to_string("/proc/sys/kernel/unprivileged_userns_clone").is_ok_and(|text| text.trim() == "0");
    let restricted = fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        .is_ok_and(|text| text.trim() == "1");
    let allowed = limit.is_some_and(|limit| limit > 0) && !switched_off && !restricted;
    capability(allowed, "ordinary users can have private mounts", "only root can have private mounts")
}

fn cgroups(hierarchies: &Hierarchies, version: Version) -> Capability {
    let of_version: Vec<_> = hierarchies.0.iter().filter(|hierarchy| hierarchy.version == version).collect();
    let usable: Vec<_> = of_version.iter().filter(|hierarchy| can_make_group(&hierarchy.directory)).collect();
    let mut controllers: Vec<&str> = usable
        .iter()
        .flat_map(|hierarchy| hierarchy.controllers.iter().map(String::as_str))
        .filter(|controller| ["memory", "pids", "cpu"].contains(controller))
        .collect();
    controllers.sort_unstable();
    let explanation = match (of_version.is_empty(), usable.is_empty(), controllers.is_empty()) {
        (true, ..) => "not mounted".to_owned(),
        (_, true, _) => "mounted, but this user cannot make groups".to_owned(),
        (_, _, true) => "groups without limits: processes are found and ended by them".to_owned(),
        _ => format!("limits by {}", controllers.join(", ")),
    };
    Capability { available: !usable.is_empty(), explanation }
}

fn loopback_source(hierarchies: &Hierarchies) -> Capability {
    let version_2 = hierarchies.0.iter().find(|hierarchy| hierarchy.version == Version::Two);
    let tried = version_2.ok_or_else(|| "there are no control groups of version 2".to_owned()).and_then(|hierarchy| {
        loopback::group::try_out(&hierarchy.directory, &format!("bigdata-probe-source-{}", getpid()))
            .map_err(|error| error.to_string())
    });
    attempt(
        tried,
        "nodes with loopback addresses of their own see each other under these",
        "every connection between nodes of this machine seems to come from 127.0.0.1",
    )
}

fn can_make_group(base: &Path) -> bool {
    let trial = base.join(format!("bigdata-probe-{}", getpid()));
    fs::create_dir(&trial).and_then(|()| fs::remove_dir(&trial)).is_ok()
}

fn capability(available: bool, with: &str, without: &str) -> Capability {
    let explanation = if available { with } else { without };
    Capability { available, explanation: explanation.to_owned() }
}

fn attempt(result: Result<(), String>, with: &str, without: &str) -> Capability {
    match result {
        Ok(()) => capability(true, with, without),
        Err(reason) => Capability { available: false, explanation: format!("{without} ({reason})") },
    }
}
