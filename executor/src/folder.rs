//! A node's folder: what lies where, and writing and reading in it without ever being led out of it.
//!
//! Below the executor's own directory: `work/` (the workload's working directory and HOME), `tmp/`, `disks/NAME`, `logs/`,
//! `hosts`, and the executor's state: `node.json`, and `runs.json` with the newest attempts of runs that have called. Of
//! these the workload owns `work/`, `tmp/` and its disks.

mod confined;
mod prepare;

pub use confined::{Confined, PathError};
pub use prepare::{PrepareError, prepare, write_hosts};

use bigdata_common::Name;
use indexmap::IndexMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a node's things are; every path is absolute.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The executor's own directory.
    pub root: PathBuf,
    /// Each disk's folder, links followed.
    pub disks: IndexMap<Name, PathBuf>,
    /// Where the workload sees them, where that is elsewhere.
    pub view: Option<View>,
}

/// A container's view of its node's folder.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Where it sees `work/`.
    pub work: PathBuf,
    /// Where it sees each disk.
    pub disks: IndexMap<Name, PathBuf>,
}

/// Who owns what the workload may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// Whether this user, with this group alone, may go through a folder.
    pub(crate) fn may_enter(self, folder: &Metadata) -> bool {
        let shift = match folder {
            folder if folder.uid() == self.uid => 6,
            folder if folder.gid() == self.gid => 3,
            _ => 0,
        };
        (folder.mode() >> shift) & 1 == 1
    }
}

impl Folder {
    /// The workload's working directory and HOME.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The workload's TMPDIR.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Its captured output.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What its nodes see as `/etc/hosts`.
    pub fn hosts(&self) -> PathBuf {
        self.root.join("hosts")
    }

    /// Where the workload finds each disk.
    pub fn seen_disks(&self) -> &IndexMap<Name, PathBuf> {
        self.view.as_ref().map_or(&self.disks, |view| &view.disks)
    }

    /// Where a path that a product names lies: relative to `work/`, or absolute below `work/`, `tmp/` or a disk, as the
    /// workload sees them.
    ///
    /// # Errors
    /// When it leads elsewhere, names a folder itself, or holds `..`.
    pub fn locate(&self, path: &str) -> Result<Confined, PathError> {
        let refused = || PathError::Outside(path.to_owned());
        let given = Path::new(path);
        let (base, relative) = if given.is_absolute() {
            self.bases()
                .into_iter()
                .find_map(|(seen, base)| given.strip_prefix(&seen).ok().map(|rest| (base, rest.to_owned())))
                .ok_or_else(refused)?
        } else {
            (self.work(), given.to_owned())
        };
        Confined::new(base, &relative).ok_or_else(refused)
    }

    /// The folders that the workload owns: where it sees them, and where they are.
    fn bases(&self) -> Vec<(PathBuf, PathBuf)> {
        if let Some(view) = &self.view {
            let disks =
                view.disks.iter().filter_map(|(name, seen)| Some((seen.clone(), self.disks.get(name)?.clone())));
            let mut bases: Vec<_> = disks.chain([(view.work.clone(), self.work())]).collect();
            // A disk may be mounted below another.
            bases.sort_by_key(|(seen, _)| std::cmp::Reverse(seen.components().count()));
            return bases;
        }
        let by_link = self.disks.keys().map(|name| self.root.join("disks").join(name.as_str()));
        let own = [self.work(), self.tmp()].into_iter().chain(self.disks.values().cloned()).chain(by_link);
        own.map(|base| (base.clone(), base)).collect()
    }
}
