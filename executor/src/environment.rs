//! What the node's processes are started with: command, environment, bounds.

use crate::container;
use crate::folder::{Folder, Owner};
use crate::late::{LateValueError, Values};
use crate::peers::Known;
use bigdata_common::Name;
use bigdata_common::blueprint::Command;
use bigdata_common::internal::NodeSpecification;
use bigdata_sandbox::{Identity, Limits, Profile, Spec, UserEntry};
use nix::sys::resource::{Resource, getrlimit};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names the attempt in every process of the node: what is found by it belongs to this node and no other.
pub const ATTEMPT_VARIABLE: &str = "BIGDATA_NODE_ATTEMPT";

/// What the names of the control groups begin with; the attempt follows.
pub(crate) const GROUP_PREFIX: &str = "bigdata-";

/// The name of the workload's user, where it has one of its own. The same on every node of a cluster.
const USER_NAME: &str = "bigdata";
/// Where the system's commands are.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Processes and threads that every node may have, that it may have more for each CPU and for so much memory, and that none
/// may have more than. Zombies count: a flood of forks must stay harmless to the machine.
const PROCESSES: u64 = 512;
const PROCESSES_PER_CPU: f64 = 256.0;
const MIB_PER_PROCESS: u64 = 4;
pub(crate) const PROCESSES_MAX: u64 = 16_384;
/// Open files of one process.
pub(crate) const OPEN_FILES_MAX: u64 = 65_536;

/// A node with its folder: all that its processes are made from.
pub struct Surroundings {
    /// What the framework said.
    pub node: NodeSpecification,
    /// The addresses of the cluster's nodes.
    pub peers: Known,
    /// Where its things are.
    pub folder: Folder,
    /// Its own user, where it has one.
    pub owner: Option<Owner>,
}

impl Surroundings {
    /// Late values of this node.
    pub fn values(&self) -> Values<'_> {
        Values {
            node: &self.node,
            peers: self.peers.now(),
            disks: self.folder.seen_disks(),
            is_published: self.folder.view.is_some() && container::is_published(self),
        }
    }

    /// The environment of the node's processes, late values filled in.
    ///
    /// # Errors
    /// When a late value is not known.
    pub fn environment(&self) -> Result<BTreeMap<String, String>, LateValueError> {
        let user = self.owner.map_or_else(own_user, |_| USER_NAME.to_owned());
        let mut environment: BTreeMap<String, String> = [
            ("PATH", search_path(self.owner)),
            ("LANG", "C.UTF-8".to_owned()),
            ("HOME", self.folder.work().display().to_string()),
            ("TMPDIR", self.folder.tmp().display().to_string()),
            ("LOGNAME", user.clone()),
            ("USER", user),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        environment.extend(self.own_environment()?);
        Ok(environment)
    }

    /// The part of it that says of the node what it is. An image brings the rest.
    ///
    /// # Errors
    /// When a late value is not known.
    pub fn own_environment(&self) -> Result<BTreeMap<String, String>, LateValueError> {
        let node = &self.node;
        let values = self.values();
        let mut environment: BTreeMap<String, String> = [
            ("BIGDATA_NODE", node.node.to_string()),
            ("BIGDATA_NODE_DN", node.cluster.dn().node(&node.node)),
            ("BIGDATA_ADDRESS", node.address.clone()),
            ("BIGDATA_LISTEN_ADDRESS", values.listen_address().to_owned()),
            ("CLUSTERDN", node.cluster.dn().to_string()),
            ("CLUSTERID", node.cluster.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        // Without interfaces of its own a node has one address for all of its networks.
        for name in node.blueprint.networks.keys() {
            let own = node.interfaces.iter().find(|interface| interface.name == *name);
            let address = own.map_or_else(|| node.address.clone(), |interface| interface.address.to_string());
            environment.insert(variable("BIGDATA_ADDRESS_", name), address);
        }
        for (name, path) in self.folder.seen_disks() {
            environment.insert(variable("BIGDATA_DISK_", name), path.display().to_string());
        }
        for (name, port) in &node.ports {
            environment.insert(variable("BIGDATA_PORT_", name), port.to_string());
            let listen = values.listen_port(name.as_str()).unwrap_or(*port);
            environment.insert(variable("BIGDATA_LISTEN_PORT_", name), listen.to_string());
        }
        for (name, value) in &node.blueprint.env {
            environment.insert(name.clone(), values.fill(value)?);
        }
        environment.insert(ATTEMPT_VARIABLE.to_owned(), node.attempt.id.to_string());
        Ok(environment)
    }

    /// The argument list of a command, late values filled in.
    ///
    /// # Errors
    /// When a late value is not known.
    pub fn arguments(&self, command: &Command) -> Result<Vec<String>, LateValueError> {
        let values = self.values();
        match command {
            Command::Arguments(arguments) => arguments.iter().map(|word| values.fill(word)).collect(),
            Command::Shell(line) => Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), values.fill(line)?]),
        }
    }

    /// A process of the node: in its environment, folder, user and bounds. `group` tells it from its siblings.
    ///
    /// # Errors
    /// When a late value of the environment is not known.
    pub fn process(&self, arguments: Vec<String>, group: &str) -> Result<Spec, LateValueError> {
        let mut spec = Spec::new(Profile::Workload, arguments);
        spec.label = format!("{} {group}", self.node.cluster.dn().node(&self.node.node));
        spec.directory = self.folder.work();
        spec.environment = self.environment()?;
        spec.hosts_file = Some(self.folder.hosts());
        spec.private_tmp = self.private_tmp();
        spec.limits = self.limits();
        spec.cgroup = Some(format!("{GROUP_PREFIX}{}-{group}", self.node.attempt.id));
        spec.loopback_source = self.loopback_address();
        if let Some(owner) = self.owner {
            spec.identity = Some(Identity { uid: owner.uid, gid: owner.gid });
            spec.user_entry = Some(UserEntry { name: USER_NAME.to_owned(), home: self.folder.work() });
        }
        Ok(spec)
    }

    /// What bounds each of the node's processes.
    pub fn limits(&self) -> Limits {
        Limits {
            memory_bytes: Some(self.memory_bytes()),
            processes: Some(self.process_limit()),
            user_processes: Some(self.user_process_limit()),
            open_files: open_files_max(),
            ..Limits::default()
        }
    }

    /// A process that is ended after `limit`, and at once when it is no longer wanted.
    ///
    /// # Errors
    /// When a late value of the environment is not known.
    pub fn short_process(&self, arguments: Vec<String>, group: &str, limit: Duration) -> Result<Spec, LateValueError> {
        let mut spec = self.process(arguments, group)?;
        spec.limits.wall_clock = Some(limit);
        spec.grace = Duration::from_secs(1);
        Ok(spec)
    }

    /// What the node's processes see as `/tmp`: many programs write there whatever TMPDIR says. Where the node itself
    /// lies below `/tmp`, that would hide it.
    fn private_tmp(&self) -> Option<PathBuf> {
        let mut paths = self.folder.disks.values().chain([&self.folder.root]);
        (!paths.any(|path| path.starts_with("/tmp"))).then(|| self.folder.tmp())
    }

    /// The node's address where it is a loopback one of its own. Its peers on this machine shall see it under that.
    pub(crate) fn loopback_address(&self) -> Option<Ipv4Addr> {
        let address: Ipv4Addr = self.node.address.parse().ok()?;
        (address.is_loopback() && address != Ipv4Addr::LOCALHOST).then_some(address)
    }

    /// How many processes and threads the workload may have.
    pub fn process_limit(&self) -> u64 {
        let blueprint = &self.node.blueprint;
        let for_cpu = (blueprint.cpu.max(0.0) * PROCESSES_PER_CPU) as u64;
        (PROCESSES + blueprint.mem / MIB_PER_PROCESS).saturating_add(for_cpu).min(PROCESSES_MAX)
    }

    /// How many its user may have where no control group counts the workload's alone: every node of the cluster that is on
    /// this machine has the same user. Without one of its own it is the platform's, which has more to do.
    fn user_process_limit(&self) -> u64 {
        let nodes = u64::try_from(self.peers.now().len()).unwrap_or(u64::MAX).max(1);
        self.owner.map_or(PROCESSES_MAX, |_| self.process_limit().saturating_mul(nodes).min(PROCESSES_MAX))
    }

    fn memory_bytes(&self) -> u64 {
        self.node.blueprint.mem.saturating_mul(1 << 20)
    }
}

/// What may be asked for here: servers want more than the 1024 that are usual.
fn open_files_max() -> Option<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(hard.min(OPEN_FILES_MAX))
}

/// Where commands are found: first in the folder of this program, so that every node can run `bigdata`. Not where a user
/// of the node's own may not look into it: "permission denied" would be said of every command that does not exist then
/// (execvp(3)), as if there were one.
fn search_path(owner: Option<Owner>) -> String {
    let program = std::env::current_exe().ok();
    let folder = program.as_deref().and_then(Path::parent);
    let folder = folder.filter(|folder| owner.is_none_or(|owner| is_open_to(owner, folder)));
    folder.map_or_else(|| SYSTEM_PATH.to_owned(), |folder| format!("{}:{SYSTEM_PATH}", folder.display()))
}

fn is_open_to(owner: Owner, folder: &Path) -> bool {
    folder.ancestors().all(|it| it.metadata().is_ok_and(|it| owner.may_enter(&it)))
}

fn own_user() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// A variable for something named: letters in upper case, everything else as `_`.
fn variable(prefix: &str, name: &Name) -> String {
    let upper = name.as_str().chars().map(|character| match character {
        'a'..='z' => character.to_ascii_uppercase(),
        '0'..='9' => character,
        _ => '_',
    });
    prefix.chars().chain(upper).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{name, specification};
    use indexmap::IndexMap;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn surroundings() -> Surroundings {
        let mut node = specification();
        node.blueprint.env.insert("DSN".into(), "@{address}:@{port:sql}".into());
        let disks = IndexMap::from([(name("data-1.x"), "/volumes/7".into())]);
        let peers = Known::new(node.peers.clone(), None, true);
        Surroundings {
            node,
            peers,
            folder: Folder { root: "/sandbox".into(), disks, view: None },
            owner: Some(Owner { uid: 7, gid: 7 }),
        }
    }

    #[test]
    fn the_environment_is_the_nodes_own() {
        let environment = surroundings().environment().unwrap();
        for (variable, value) in [
            ("HOME", "/sandbox/work"),
            ("TMPDIR", "/sandbox/tmp"),
            ("USER", "bigdata"),
            ("BIGDATA_NODE", "db0"),
            ("BIGDATA_NODE_DN", "clusters/alice/mariadb/10.11/1/nodes/db0"),
            ("BIGDATA_ADDRESS", "127.0.0.1"),
            ("CLUSTERDN", "clusters/alice/mariadb/10.11/1"),
            ("CLUSTERID", "clusters--alice--mariadb--10__11--1"),
            ("BIGDATA_DISK_DATA_1_X", "/volumes/7"),
            ("BIGDATA_PORT_SQL", "3306"),
            ("BIGDATA_LISTEN_ADDRESS", "127.0.0.1"),
            ("BIGDATA_LISTEN_PORT_SQL", "3306"),
            ("DSN", "127.0.0.1:3306"),
        ] {
            assert_eq!(environment.get(variable).map(String::as_str), Some(value), "{variable}");
        }
        assert!(!environment.contains_key("CARGO"), "nothing is inherited");
    }

    #[test]
    fn a_closed_folder_is_no_place_to_look_for_commands() {
        let open = tempfile::tempdir().unwrap();
        let (below, stranger) = (open.path().join("closed/bin"), Owner { uid: 21_001, gid: 21_001 });
        std::fs::create_dir_all(&below).unwrap();
        let allow = |folder: &Path, mode| std::fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
        allow(open.path(), 0o711);
        allow(&open.path().join("closed"), 0o700);
        assert!(is_open_to(stranger, open.path()));
        assert!(!is_open_to(stranger, &below) && !is_open_to(stranger, Path::new("/no/such/folder")));
    }

    #[test]
    fn commands_as_lists_and_lines() {
        let node = surroundings();
        let list = Command::Arguments(vec!["a".into(), "@{port:sql}".into()]);
        assert_eq!(node.arguments(&list).unwrap(), ["a", "3306"]);
        let line = Command::Shell("exec a @{address}".into());
        assert_eq!(node.arguments(&line).unwrap(), ["/bin/sh", "-c", "exec a 127.0.0.1"]);
        let spec = node.process(vec!["a".into()], "workload").unwrap();
        assert_eq!(spec.limits.memory_bytes, Some(256 << 20));
        // 512, a quarter of 256 and a tenth of 256; the cluster has two nodes.
        assert_eq!((spec.limits.processes, spec.limits.user_processes), (Some(601), Some(1202)));
        assert_eq!(spec.identity, Some(Identity { uid: 7, gid: 7 }));
        assert_eq!(spec.private_tmp, Some("/sandbox/tmp".into()));
        assert_eq!(spec.loopback_source, None, "127.0.0.1 is everybody's");
        for (address, source) in [("127.77.0.5", Some([127, 77, 0, 5].into())), ("10.0.0.7", None), ("::1", None)] {
            let mut other = surroundings();
            other.node.address = address.into();
            assert_eq!(other.process(vec!["a".into()], "workload").unwrap().loopback_source, source, "{address}");
        }
        let mut large = surroundings();
        (large.node.blueprint.cpu, large.node.blueprint.mem, large.owner) = (48.0, 262_144, None);
        let limits = large.process(vec!["a".into()], "workload").unwrap().limits;
        assert_eq!((limits.processes, limits.user_processes), (Some(16_384), Some(16_384)));
        let mut below_tmp = surroundings();
        below_tmp.folder.root = "/tmp/node".into();
        assert_eq!(below_tmp.process(vec!["a".into()], "workload").unwrap().private_tmp, None);
    }
}
