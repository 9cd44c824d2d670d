//! The engine's directories: sandboxes of executors, and volumes that outlive them.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::effects::VolumeLink;
use super::records::ExecutorRecord;

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

    pub(crate) fn create_volume(&self, role: &str, id: &str) -> io::Result<()> {
        fs::create_dir_all(self.volume(role, id))
    }

    /// Takes a volume's data out of the way, so that a new volume of that name is empty. Returns what is to be removed.
    pub(crate) fn discard_volume(&self, role: &str, id: &str) -> io::Result<Option<PathBuf>> {
        fs::create_dir_all(self.trash())?;
        let target = self.trash().join(uuid::Uuid::new_v4().to_string());
        match fs::rename(self.volume(role, id), &target) {
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

    /// Makes a volume appear in a sandbox.
    pub(crate) fn link(&self, sandbox: &Path, volume: &VolumeLink) -> io::Result<()> {
        let target = self.volume(&volume.role, &volume.id);
        fs::create_dir_all(&target)?;
        let path = sandbox.join(&volume.container_path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
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
        let volume = VolumeLink { role: "a/b".to_owned(), id: "v".to_owned(), container_path: "disks/data".to_owned() };
        files.create_volume(&volume.role, &volume.id).unwrap();
        files.link(&sandbox, &volume).unwrap();
        files.link(&sandbox, &volume).unwrap();
        fs::write(sandbox.join("disks/data/file"), "kept").unwrap();
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
    fn what_is_in_a_volumes_place_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path().to_owned());
        let sandbox = files.sandbox(&executor());
        fs::create_dir_all(sandbox.join("data")).unwrap();
        let volume = VolumeLink { role: "r".to_owned(), id: "v".to_owned(), container_path: "data".to_owned() };
        assert!(files.link(&sandbox, &volume).is_err());
    }
}
