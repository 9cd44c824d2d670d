//! A run's own directory.

use super::removal::remove_all;
use nix::unistd::{Gid, Uid, chown};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The name of the socket in it.
const SOCKET: &str = "socket";

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    owner: Option<u32>,
}

impl Directory {
    /// Makes the directory of a run, empty, for the user that its script runs as.
    pub(crate) fn create(path: PathBuf, owner: Option<u32>) -> io::Result<Self> {
        remove_all(&path)?;
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let directory = Self { path, owner };
        for folder in [directory.home(), directory.tmp()] {
            fs::DirBuilder::new().mode(0o700).create(&folder)?;
            directory.give(&folder)?;
        }
        Ok(directory)
    }

    /// Writes a file for the script.
    pub(crate) fn write(&self, name: &str, mode: u32, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        self.give(&path)?;
        Ok(path)
    }

    /// Hands the directory over to the script's user: nothing is written into it by its path from here on.
    pub(crate) fn hand_over(&self) -> io::Result<()> {
        self.give(&self.path)
    }

    /// Makes something the script's user's.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        let Some(id) = self.owner else { return Ok(()) };
        chown(path, Some(Uid::from_raw(id)), Some(Gid::from_raw(id))).map_err(io::Error::from)
    }

    /// Removes it, which takes long where its script put much into it.
    pub(crate) async fn remove(self) {
        if let Err(error) = tokio::task::spawn_blocking(move || drop(self)).await {
            tracing::error!(%error, "the removal of a run's directory failed");
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The script's `HOME`.
    pub(crate) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// The script's `TMPDIR`.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// The script's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a run's directory could not be removed");
        }
    }
}

/// The path of a run's directory below `runs`, as short as it can be for the socket's sake.
pub(crate) fn path_of(runs: &Path, run: bigdata_common::RunId) -> PathBuf {
    runs.join(run.0.simple().to_string())
}

/// How long `runs` may be, in bytes, so that the path of a socket fits into its address (unix(7)).
pub(crate) fn runs_length_max() -> usize {
    const ADDRESS_MAX: usize = 107;
    ADDRESS_MAX - "/".len() - uuid::fmt::Simple::LENGTH - "/".len() - SOCKET.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_private_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_of(folder.path(), bigdata_common::RunId(uuid::Uuid::from_u128(7)));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("old"), "x").unwrap();
        let directory = Directory::create(path.clone(), None).unwrap();
        let script = directory.write("script", 0o700, b"#!/bin/sh\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(script).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!path.join("old").exists());
        drop(directory);
        assert!(!path.exists());
    }
}
