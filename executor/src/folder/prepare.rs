//! Making a node's folder ready for its workload.

use super::{Folder, Owner};
use crate::peers::Addresses;
use bigdata_common::internal::{NodeSpecification, volume_path};
use indexmap::IndexMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Why a node's folder cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The system refuses something.
    #[error("{what} {path:?} failed")]
    System {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The workload's user cannot come to its folder.
    #[error("uid {uid} cannot enter {path:?}: move the agent's work directory, or let others enter this one")]
    Closed {
        /// The user.
        uid: u32,
        /// The folder above the node's that is closed.
        path: PathBuf,
    },
}

/// Makes the folders and the hosts file below `root`, and gives the workload's user what is its own.
///
/// Disks that the agent has mounted or linked to [`volume_path`] are linked to `disks/NAME`; what is there already is taken as
/// it is.
///
/// # Errors
/// When something cannot be made, given or entered.
pub fn prepare(root: &Path, node: &NodeSpecification, owner: Option<Owner>) -> Result<Folder, PrepareError> {
    let root = root.canonicalize().map_err(|source| failed("finding", root, source))?;
    let mut folder = Folder { root, disks: IndexMap::new(), view: None };
    let disks = folder.root.join("disks");
    for path in [folder.work(), folder.tmp(), folder.logs(), disks.clone()] {
        make(&path)?;
    }
    for name in node.blueprint.disks.keys() {
        let path = disks.join(name.as_str());
        link_volume(&folder.root, name.as_str(), &path)?;
        make(&path)?;
        let path = path.canonicalize().map_err(|source| failed("finding", &path, source))?;
        folder.disks.insert(name.clone(), path);
    }
    if let Some(owner) = owner {
        admit(&folder, owner)?;
    }
    write_hosts(&folder, &node.dnsname, &node.peers)?;
    Ok(folder)
}

fn link_volume(root: &Path, disk: &str, path: &Path) -> Result<(), PrepareError> {
    let Ok(volume) = root.join(volume_path(disk)).canonicalize() else { return Ok(()) };
    match std::os::unix::fs::symlink(volume, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(|source| failed("linking", path, source)),
    }
}

/// Writes what the node sees as `/etc/hosts`.
///
/// # Errors
/// When it cannot be written.
pub fn write_hosts(folder: &Folder, dnsname: &str, peers: &Addresses) -> Result<(), PrepareError> {
    let (hosts, content) = (folder.hosts(), hosts_file(dnsname, peers));
    // One that failed half-way has left less.
    let is_written = fs::read_to_string(&hosts).is_ok_and(|written| written == content);
    if !is_written {
        // In place: the workload sees this very file, not what is renamed over it.
        fs::write(&hosts, content).map_err(|source| failed("writing", &hosts, source))?;
    }
    allow(&hosts, 0o644)
}

/// Gives the workload's user its own folders, and a way to them that nobody else gets.
fn admit(folder: &Folder, owner: Owner) -> Result<(), PrepareError> {
    for path in [folder.work(), folder.tmp()].iter().chain(folder.disks.values()) {
        chown(path, Some(owner.uid), Some(owner.gid)).map_err(|source| failed("giving away", path, source))?;
        allow(path, 0o700)?;
    }
    for path in [folder.root.clone(), folder.root.join("disks"), folder.logs()] {
        chown(&path, None, Some(owner.gid)).map_err(|source| failed("giving away", &path, source))?;
        allow(&path, 0o710)?;
    }
    let above = folder.disks.values().map(PathBuf::as_path).chain([folder.root.as_path()]);
    for path in above.flat_map(|path| path.ancestors().skip(1)).filter(|path| !path.starts_with(&folder.root)) {
        let metadata = path.metadata().map_err(|source| failed("looking at", path, source))?;
        if !owner.may_enter(&metadata) {
            return Err(PrepareError::Closed { uid: owner.uid, path: path.to_owned() });
        }
    }
    Ok(())
}

fn make(path: &Path) -> Result<(), PrepareError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result.map_err(|source| failed("making", path, source)),
    }
}

fn allow(path: &Path, mode: u32) -> Result<(), PrepareError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|source| failed("setting the mode of", path, source))
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> PrepareError {
    PrepareError::System { what, path: path.to_owned(), source }
}

/// The names of a cluster's nodes, as `/etc/hosts` has them.
fn hosts_file(dnsname: &str, peers: &Addresses) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for (name, address) in peers {
        let _ = writeln!(text, "{address} {name} {name}.{dnsname}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{name, specification};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn folders_disks_and_hosts() {
        let root = tempfile::tempdir().unwrap();
        let volume = tempfile::tempdir().unwrap();
        let mut node = specification();
        for disk in ["data", "scratch"] {
            let disk_spec = r#"{"destination": "/d", "size": 1, "persistent": true, "type": "volume"}"#;
            node.blueprint.disks.insert(name(disk), serde_json::from_str(disk_spec).unwrap());
        }
        fs::create_dir(root.path().join("disks")).unwrap();
        std::os::unix::fs::symlink(volume.path(), root.path().join("disks/data")).unwrap();
        let owner = nix::unistd::geteuid().is_root().then_some(Owner { uid: 21_001, gid: 21_001 });
        allow(volume.path(), 0o755).unwrap();
        // A second time finds what the first one made.
        for _ in 0..2 {
            let folder = prepare(root.path(), &node, owner).unwrap();
            assert_eq!(folder.disks["data"], volume.path().canonicalize().unwrap());
            assert!(folder.disks["scratch"].is_dir());
            let uid = fs::metadata(folder.work()).unwrap().uid();
            assert_eq!(uid, owner.map_or(nix::unistd::geteuid().as_raw(), |owner| owner.uid));
        }
        let hosts = fs::read_to_string(root.path().join("hosts")).unwrap();
        assert!(hosts.ends_with("127.0.0.1 db0 db0.db.local\n127.0.0.2 other other.db.local\n"), "{hosts}");
    }

    /// Every attempt of a node has a folder of its own, and its disks are where the agent says.
    #[test]
    fn another_attempt_finds_its_disks_as_they_were_and_everything_else_fresh() {
        let volume = tempfile::tempdir().unwrap();
        allow(volume.path(), 0o755).unwrap();
        let owner = nix::unistd::geteuid().is_root().then_some(Owner { uid: 21_001, gid: 21_001 });
        let mut node = specification();
        let disk = r#"{"destination": "/d", "size": 1, "persistent": true, "type": "volume"}"#;
        node.blueprint.disks.insert(name("data"), serde_json::from_str(disk).unwrap());
        let attempt = || {
            let root = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(volume.path(), root.path().join(volume_path("data"))).unwrap();
            let folder = prepare(root.path(), &node, owner).unwrap();
            (root, folder)
        };
        let (_first, folder) = attempt();
        folder.locate("state").unwrap().write(b"of one attempt", 0o600, owner).unwrap();
        let on_disk = folder.disks["data"].join("deep/file").display().to_string();
        folder.locate(&on_disk).unwrap().write(b"kept", 0o640, owner).unwrap();
        let (_second, folder) = attempt();
        assert_eq!(fs::read_dir(folder.work()).unwrap().count(), 0);
        let file = folder.disks["data"].join("deep/file");
        assert_eq!(fs::read(&file).unwrap(), b"kept");
        let uid = owner.map_or(nix::unistd::geteuid().as_raw(), |owner| owner.uid);
        let (file, deep) = (fs::metadata(&file).unwrap(), fs::metadata(file.parent().unwrap()).unwrap());
        assert_eq!((file.uid(), file.mode() & 0o777, deep.uid()), (uid, 0o640, uid), "it is its workload's still");
    }

    #[test]
    fn a_closed_folder_above_is_named() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: giving folders to another user needs root");
            return;
        }
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("node");
        fs::create_dir(&root).unwrap();
        allow(outer.path(), 0o700).unwrap();
        let refused = prepare(&root, &specification(), Some(Owner { uid: 21_001, gid: 21_001 }));
        assert!(matches!(refused, Err(PrepareError::Closed { uid: 21_001, path }) if path == outer.path()));
    }
}
