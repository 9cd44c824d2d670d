//! The engine's directories: sandboxes of executors, and volumes that outlive them.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::effects::VolumeLink;
use super::records::ExecutorRecord;

/// On a whole disk: what was discarded and is being removed.
const TRASH: &str = ".discarded-";
/// What the file system itself keeps at its root.
const FILE_SYSTEMS_OWN: &str = "lost+found";

/// Whether something at the root of a whole disk is not its user's.
fn is_own(name: &OsStr) -> bool {
    name == FILE_SYSTEMS_OWN || name.to_str().is_some_and(|name| name.starts_with(TRASH))
}

/// Removes what was discarded on a whole disk; an error where there is anything else, which nobody said may go.
fn clear(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if !is_own(&name) {
            let words =
                format!("the disk at {} is not empty: {} is nothing of the platform's", root.display(), name.display());
            return Err(io::Error::new(ErrorKind::DirectoryNotEmpty, words));
        }
        if name != FILE_SYSTEMS_OWN {
            match fs::remove_dir_all(root.join(name)) {
                // It is just being removed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}

/// Where everything lies. All ids were checked to be safe names.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    work_dir: PathBuf,
}

impl Files {
    pub(crate) fn new(work_dir: PathBuf) -> Self {
        Files { work_dir }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.work_dir.join("state")
    }

    pub(crate) fn sandbox(&self, executor: &ExecutorRecord) -> PathBuf {
        self.work_dir
            .join("sandboxes")
            .join(executor.framework_id.as_str())
            .join(executor.info.executor_id.as_str())
            .join(&executor.container_id)
    }

    /// A role's slashes become spaces, which roles do not have.
    pub(crate) fn volume(&self, role: &str, id: &str) -> PathBuf {
        let role = role.replace('/', " ");
        self.work_dir.join("volumes").join("roles").join(role).join(id)
    }

    fn trash(&self) -> PathBuf {
        self.work_dir.join("volumes").join("trash")
    }

    /// Makes a folder for the volume; one that is a whole disk is where that is mounted.
    pub(crate) fn create_volume(&self, role: &str, id: &str, root: Option<&str>) -> io::Result<()> {
        let volume = self.volume(role, id);
        let Some(root) = root else { return fs::create_dir_all(volume) };
        fs::create_dir_all(volume.parent().unwrap_or(&self.work_dir))?;
        match symlink(root, &volume) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            // What a crash kept from being removed is nobody else's to see.
            made => made.and_then(|()| clear(Path::new(root))).inspect_err(|_| drop(fs::remove_file(&volume))),
        }
    }

    /// Takes a volume's data out of the way, so that a new volume of that name, or on that disk, is empty. Returns what is
    /// to be removed.
    pub(crate) fn discard_volume(&self, role: &str, id: &str) -> io::Result<Option<PathBuf>> {
        let volume = self.volume(role, id);
        if let Ok(root) = fs::read_link(&volume) {
            let target = root.join(format!("{TRASH}{}", uuid::Uuid::new_v4()));
            fs::create_dir(&target)?;
            for entry in fs::read_dir(&root)? {
                let name = entry?.file_name();
                if !is_own(&name) {
                    fs::rename(root.join(&name), target.join(&name))?;
                }
            }
            fs::remove_file(volume)?;
            return Ok(Some(target));
        }
        fs::create_dir_all(self.trash())?;
        let target = self.trash().join(uuid::Uuid::new_v4().to_string());
        match fs::rename(volume, &target) {
            Ok(()) => Ok(Some(target)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What an earlier engine did not finish removing.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.trash()) else { return Vec::new() };
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    }

    /// Makes a volume appear in a sandbox. One whose container path has several levels does not: Mesos's isolator
    /// `filesystem/posix` leaves it out, too.
    pub(crate) fn link(&self, sandbox: &Path, volume: &VolumeLink) -> io::Result<()> {
        let target = self.volume(&volume.role, &volume.id);
        self.create_volume(&volume.role, &volume.id, volume.root.as_deref())?;
        if volume.container_path.contains('/') {
            tracing::warn!(volume = volume.id, path = volume.container_path, "a path of several levels: left out");
            return Ok(());
        }
        let path = sandbox.join(&volume.container_path);
        match fs::read_link(&path) {
            Ok(current) if current == target => return Ok(()),
            Ok(_) => fs::remove_file(&path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "something else is in the volume's place")),
        }
        symlink(&target, &path)
    }

    /// Removes an executor's sandbox and the directories that are empty without it. Volumes are only linked.
    pub(crate) fn remove_sandbox(&self, executor: &ExecutorRecord) -> io::Result<()> {
        let sandbox = self.sandbox(executor);
        match fs::remove_dir_all(&sandbox) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for parent in sandbox.ancestors().skip(1).take(2) {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::ExecutorInfo;

    fn executor() -> ExecutorRecord {
        ExecutorRecord {
            framework_id: "f".into(),
            info: ExecutorInfo { executor_id: "e".into(), ..ExecutorInfo::default() },
            container_id: "c".to_owned(),
            ..ExecutorRecord::default()
        }
    }

    #[test]
    fn a_volume_outlives_the_sandbox_that_it_appeared_in() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path().to_owned());
        let sandbox = files.sandbox(&executor());
        fs::create_dir_all(&sandbox).unwrap();
        let volume =
            VolumeLink { role: "a/b".to_owned(), id: "v".to_owned(), container_path: "data".to_owned(), root: None };
        files.create_volume(&volume.role, &volume.id, None).unwrap();
        files.link(&sandbox, &volume).unwrap();
        files.link(&sandbox, &volume).unwrap();
        fs::write(sandbox.join("data/file"), "kept").unwrap();
        files.remove_sandbox(&executor()).unwrap();
        assert!(!directory.path().join("sandboxes/f").exists());
        let kept = fs::read_to_string(files.volume("a/b", "v").join("file"));
        assert_eq!(kept.unwrap(), "kept");

        let discarded = files.discard_volume("a/b", "v").unwrap().unwrap();
        assert!(!files.volume("a/b", "v").exists());
        assert_eq!(files.leftovers(), [discarded]);
        assert_eq!(files.discard_volume("a/b", "v").unwrap(), None);
    }

    #[test]
    fn a_whole_disk_is_emptied_for_the_next() {
        let (work_dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = Files::new(work_dir.path().to_owned());
        fs::create_dir(disk.path().join(FILE_SYSTEMS_OWN)).unwrap();
        let root = disk.path().to_str();
        for _ in 0..2 {
            files.create_volume("r", "v", root).unwrap();
            let found: Vec<_> =
                fs::read_dir(files.volume("r", "v")).unwrap().map(|it| it.unwrap().file_name()).collect();
            assert_eq!(found, [FILE_SYSTEMS_OWN], "what was there was somebody else's");
            fs::write(files.volume("r", "v").join("file"), "data").unwrap();
            assert_eq!(fs::read_to_string(disk.path().join("file")).unwrap(), "data");
            // Made again, it is as it was. Another one is not made of it.
            assert!(files.create_volume("r", "other", root).is_err() && !files.volume("r", "other").exists());
            files.create_volume("r", "v", root).unwrap();
            let discarded = files.discard_volume("r", "v").unwrap().unwrap();
            assert!(discarded.join("file").exists() && !disk.path().join("file").exists());
        }
    }

    #[test]
    fn what_is_in_a_volumes_place_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path().to_owned());
        let sandbox = files.sandbox(&executor());
        fs::create_dir_all(sandbox.join("data")).unwrap();
        let volume =
            VolumeLink { role: "r".to_owned(), id: "v".to_owned(), container_path: "data".to_owned(), root: None };
        assert!(files.link(&sandbox, &volume).is_err());
    }
}
