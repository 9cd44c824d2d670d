//! A node's folder: what lies where, and writing and reading in it without ever being led out of it.
//!
//! Below the executor's own directory: `work/` (the workload's working directory and HOME), `tmp/`, `disks/NAME`, `logs/`,
//! `hosts`, and the executor's state: `node.json`, and `runs.json` with the newest attempts of runs that have called. Of
//! these the workload owns `work/`, `tmp/` and its disks.

mod confined;
mod prepare;

pub use confined::{Confined, PathError};
pub use prepare::{PrepareError, prepare};

use bigdata_common::Name;
use indexmap::IndexMap;
use std::path::{Path, PathBuf};

/// Where a node's things are; every path is absolute.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The executor's own directory.
    pub root: PathBuf,
    /// Each disk's folder, links followed.
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

    /// Where a path that a product names lies: relative to `work/`, or absolute below `work/`, `tmp/` or a disk.
    ///
    /// # Errors
    /// When it leads elsewhere, names a folder itself, or holds `..`.
    pub fn locate(&self, path: &str) -> Result<Confined, PathError> {
        let refused = || PathError::Outside(path.to_owned());
        let given = Path::new(path);
        let (base, relative) = if given.is_absolute() {
            self.bases()
                .find_map(|base| given.strip_prefix(&base).ok().map(|rest| (base.clone(), rest.to_owned())))
                .ok_or_else(refused)?
        } else {
            (self.work(), given.to_owned())
        };
        Confined::new(base, &relative).ok_or_else(refused)
    }

    /// The folders that the workload owns.
    pub fn bases(&self) -> impl Iterator<Item = PathBuf> {
        let by_link = self.disks.keys().map(|name| self.root.join("disks").join(name.as_str()));
        [self.work(), self.tmp()].into_iter().chain(self.disks.values().cloned()).chain(by_link)
    }
}
