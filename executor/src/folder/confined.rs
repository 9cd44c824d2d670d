//! Files below a folder that somebody else may change at the same time: no link in it leads anywhere else.

use super::Owner;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// A file's place below one of the node's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confined {
    base: PathBuf,
    folders: PathBuf,
    name: String,
}

/// Why a path is not used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// It leads out of the node's folders.
    #[error("{0:?} is no file below the node's folder or its disks")]
    Outside(String),
    /// There is no such file.
    #[error("{0:?} does not exist")]
    Missing(PathBuf),
    /// The system refuses it.
    #[error("{path:?} cannot be used")]
    System {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A file that appears under its name only when it is complete.
pub struct Replacement {
    directory: OwnedFd,
    temporary: String,
    place: Confined,
    file: Option<File>,
    owner: Option<Owner>,
    mode: u32,
}

impl Confined {
    /// None: no plain path to a file (`..`, or nothing at all).
    pub(super) fn new(base: PathBuf, relative: &Path) -> Option<Self> {
        let mut parts = Vec::new();
        for component in relative.components() {
            match component {
                Component::Normal(part) => parts.push(part.to_str()?),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        let name = parts.pop()?.to_owned();
        if name.contains('\0') {
            return None;
        }
        Some(Self { base, folders: parts.iter().collect(), name })
    }

    /// The whole path.
    pub fn path(&self) -> PathBuf {
        self.base.join(&self.folders).join(&self.name)
    }

    fn failed(&self, error: Errno) -> PathError {
        match error {
            Errno::ENOENT => PathError::Missing(self.path()),
            // What the kernel answers when a link leads out of the base.
            Errno::EXDEV | Errno::ELOOP => PathError::Outside(self.path().display().to_string()),
            error => PathError::System { path: self.path(), source: error.into() },
        }
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// When there is none, it is no regular file, or a link in its path leads out.
    pub fn open(&self) -> Result<File, PathError> {
        let base = self.open_base()?;
        // Without blocking: a pipe of that name must not hold the caller.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let path = self.folders.join(&self.name);
        let file = File::from(openat2(&base, &path, beneath(flags)).map_err(|error| self.failed(error))?);
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(file),
            Ok(_) => Err(self.failed(Errno::EISDIR)),
            Err(source) => Err(PathError::System { path: self.path(), source }),
        }
    }

    /// Begins to write the file anew. Folders that lack are made, and belong to `owner`.
    ///
    /// # Errors
    /// When a folder cannot be made or a link in the path leads out.
    pub fn replace(&self, mode: u32, owner: Option<Owner>) -> Result<Replacement, PathError> {
        let directory = self.make_folders(owner)?;
        let temporary = format!(".{}.new", uuid::Uuid::new_v4().simple());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&directory, temporary.as_str(), flags, Mode::from_bits_truncate(0o600))
            .map_err(|error| self.failed(error))?;
        Ok(Replacement { directory, temporary, place: self.clone(), file: Some(File::from(file)), owner, mode })
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// As [`Confined::replace`], and when the content cannot be written.
    pub fn write(&self, content: &[u8], mode: u32, owner: Option<Owner>) -> Result<(), PathError> {
        use std::io::Write as _;
        let mut replacement = self.replace(mode, owner)?;
        replacement.file().write_all(content).map_err(|source| PathError::System { path: self.path(), source })?;
        replacement.finish()
    }

    fn open_base(&self) -> Result<OwnedFd, PathError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        nix::fcntl::open(&self.base, flags, Mode::empty()).map_err(|error| self.failed(error))
    }

    fn make_folders(&self, owner: Option<Owner>) -> Result<OwnedFd, PathError> {
        let base = self.open_base()?;
        let mut reached = PathBuf::new();
        let mut directory = None;
        for part in &self.folders {
            let parent = directory.as_ref().unwrap_or(&base);
            reached.push(part);
            let made = match mkdirat(parent, part, Mode::from_bits_truncate(0o700)) {
                Ok(()) => true,
                Err(Errno::EEXIST) => false,
                Err(error) => return Err(self.failed(error)),
            };
            // From the base on each time: a link may lead up, as long as it stays below the base.
            let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let next = openat2(&base, &reached, beneath(flags)).map_err(|error| self.failed(error))?;
            if made {
                give(&next, owner).map_err(|error| self.failed(error))?;
            }
            directory = Some(next);
        }
        Ok(directory.unwrap_or(base))
    }
}

impl Replacement {
    /// Where to write.
    pub fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("the file is there until the replacement is finished")
    }

    /// Puts the complete file in its place.
    ///
    /// # Errors
    /// When it cannot be given to its owner or renamed.
    pub fn finish(mut self) -> Result<(), PathError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        give(&file, self.owner)
            .and_then(|()| fchmod(&file, Mode::from_bits_truncate(self.mode & 0o777)))
            .and_then(|()| {
                renameat(&self.directory, self.temporary.as_str(), &self.directory, self.place.name.as_str())
            })
            .map_err(|error| {
                let _ = unlinkat(&self.directory, self.temporary.as_str(), UnlinkatFlags::NoRemoveDir);
                self.place.failed(error)
            })
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = unlinkat(&self.directory, self.temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn beneath(flags: OFlag) -> OpenHow {
    OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

fn give(file: &impl std::os::fd::AsFd, owner: Option<Owner>) -> nix::Result<()> {
    match owner {
        Some(Owner { uid, gid }) => fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::folder::{Folder, PathError};
    use indexmap::IndexMap;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    fn folder(root: &Path) -> Folder {
        for name in ["work", "tmp", "disks", "volume", "logs"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        symlink(root.join("volume"), root.join("disks/data")).unwrap();
        let disks = IndexMap::from([("data".parse().unwrap(), root.join("volume"))]);
        Folder { root: root.to_owned(), disks, view: None }
    }

    fn read(folder: &Folder, path: &str) -> Result<String, PathError> {
        let mut text = String::new();
        folder.locate(path)?.open()?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn files_are_written_where_products_name_them() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let absolute = |path: &str| root.path().join(path).display().to_string();
        for (path, lies_at) in [
            ("my.cnf".to_owned(), "work/my.cnf"),
            ("etc/deep/my.cnf".to_owned(), "work/etc/deep/my.cnf"),
            ("./etc/x".to_owned(), "work/etc/x"),
            (absolute("tmp/y"), "tmp/y"),
            (absolute("volume/z"), "volume/z"),
            (absolute("disks/data/by-link"), "volume/by-link"),
        ] {
            folder.locate(&path).unwrap().write(path.as_bytes(), 0o640, None).unwrap();
            let metadata = std::fs::metadata(root.path().join(lies_at)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o640, "{path}");
            assert_eq!(read(&folder, &path).unwrap(), path);
        }
        assert_eq!(std::fs::read_dir(root.path().join("work")).unwrap().count(), 2, "no temporary file stays");
    }

    #[test]
    fn no_path_and_no_link_leads_out() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        std::fs::write(root.path().join("node.json"), "secret").unwrap();
        let state = root.path().join("node.json").display().to_string();
        for path in ["", ".", "/", "../node.json", "a/../../node.json", "/etc/passwd", "a\0b", &state] {
            assert!(matches!(folder.locate(path), Err(PathError::Outside(_))), "{path:?}");
        }
        for (link, target) in [("up", ".."), ("away", "/etc"), ("file", "../node.json"), ("proc", "/proc/self/root")] {
            symlink(target, root.path().join("work").join(link)).unwrap();
        }
        for path in ["up/node.json", "away/passwd", "file", "proc/etc/passwd"] {
            assert!(matches!(read(&folder, path), Err(PathError::Outside(_))), "{path}");
        }
        for path in ["up/new", "away/new", "proc/new"] {
            let refused = folder.locate(path).unwrap().write(b"x", 0o600, None);
            assert!(matches!(refused, Err(PathError::Outside(_))), "{path}");
        }
        // A link in the file's own place is replaced, not followed.
        folder.locate("file").unwrap().write(b"new", 0o600, None).unwrap();
        assert_eq!(std::fs::read_to_string(PathBuf::from(state)).unwrap(), "secret");
        assert!(matches!(read(&folder, "nothing"), Err(PathError::Missing(_))));
    }

    #[test]
    fn an_unfinished_replacement_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        drop(folder.locate("half").unwrap().replace(0o600, None).unwrap());
        assert_eq!(std::fs::read_dir(root.path().join("work")).unwrap().count(), 0);
    }
}
