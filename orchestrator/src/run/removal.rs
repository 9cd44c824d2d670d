//! Removes a directory that belonged to somebody who may not wish it: of any depth, with any modes, and without following
//! a symbolic link. Nothing that could change it may be alive.

use nix::fcntl::OFlag;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Removes `root` with all that is in it; nothing is there: nothing to do.
///
/// One directory is open at a time, and the way back is its `..`: neither the stack nor the open descriptors nor the length
/// of paths grow with the depth.
pub(crate) fn remove_all(root: &Path) -> io::Result<()> {
    match fs::symlink_metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_dir() => return fs::remove_file(root),
        Ok(_) => {}
    }
    let mut here = enter(root)?;
    // The directories on the way down to here, and those that are left in each of them and in this one.
    let mut entered: Vec<OsString> = Vec::new();
    let mut left = vec![remove_files(&here)?];
    loop {
        if let Some(name) = left.last_mut().and_then(Vec::pop) {
            here = enter(&below(&here, &name))?;
            left.push(remove_files(&here)?);
            entered.push(name);
            continue;
        }
        left.pop();
        let Some(name) = entered.pop() else { return fs::remove_dir(root) };
        here = open(&below(&here, OsStr::new("..")))?;
        fs::remove_dir(below(&here, &name))?;
    }
}

/// Opens a directory whatever its modes are.
fn enter(directory: &Path) -> io::Result<File> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    open(directory)
}

fn open(directory: &Path) -> io::Result<File> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(directory)
}

/// The path of something in a directory that is open.
fn below(directory: &File, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

/// Removes everything in a directory but its directories, which are told.
fn remove_files(directory: &File) -> io::Result<Vec<OsString>> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(below(directory, OsStr::new(".")))? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => directories.push(entry.file_name()),
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_of_it_stays_and_nothing_else_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (root, precious) = (folder.path().join("root"), folder.path().join("precious"));
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir_all(root.join("a/d/e")).unwrap();
        fs::write(root.join("a/b/file"), "x").unwrap();
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "x").unwrap();
        symlink(&precious, root.join("a/b/link")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        for closed in ["a/b/c", "a/b", "a/d", "a"] {
            fs::set_permissions(root.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_all(&root).unwrap();
        assert!(!root.exists());
        remove_all(&root).unwrap();
        symlink(&precious, &root).unwrap();
        remove_all(&root).unwrap();
        assert!(precious.join("file").exists() && fs::symlink_metadata(&root).is_err());
    }

    #[test]
    fn the_depth_costs_neither_stack_nor_descriptors() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let mut here = open(&root).unwrap();
        for _ in 0..3000 {
            fs::create_dir(below(&here, OsStr::new("d"))).unwrap();
            here = open(&below(&here, OsStr::new("d"))).unwrap();
        }
        drop(here);
        let path = root.clone();
        let removal = std::thread::Builder::new().stack_size(128 << 10).spawn(move || remove_all(&path)).unwrap();
        removal.join().unwrap().unwrap();
        assert!(!root.exists());
    }
}
