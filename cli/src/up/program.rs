//! The platform's own copy of its executable: `DATA/bin/bigdata`.
//!
//! Executors, their workloads and the renderer are started from it, so that they need no way to where `up` was started
//! from (which may lie below root's home), and outlive a rebuild or removal of it.

use crate::failure::Failure;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// This process's executable, also where its file was replaced or removed meanwhile.
const OWN: &str = "/proc/self/exe";
/// The name of the executable in its folder.
const NAME: &str = "bigdata";
/// Everybody may run it, only its owner may write it.
const MODE: u32 = 0o755;

/// Puts this very program into `folder`, where it is not there already, and returns its path.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn install(folder: &Path) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    install_from(Path::new(OWN), &own, folder)
        .map_err(|error| Failure::Failed(format!("{} cannot be put into {}: {error}", own.display(), folder.display())))
}

/// Installs what `content` holds; `named` is where it can be linked to, if it is still there.
fn install_from(content: &Path, named: &Path, folder: &Path) -> io::Result<PathBuf> {
    let (installed, new) = (folder.join(NAME), folder.join(format!("{NAME}.new")));
    if holds_the_same(content, &installed)? {
        return Ok(installed);
    }
    remove(&new)?;
    if !link(content, named, &new)? {
        copy(content, &new)?;
    }
    // What runs the former one keeps it: its name goes to the new file.
    fs::rename(&new, &installed)?;
    Ok(installed)
}

fn holds_the_same(content: &Path, installed: &Path) -> io::Result<bool> {
    let there = match fs::symlink_metadata(installed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => there?,
    };
    let wanted = fs::metadata(content)?;
    if is_same_file(&there, &wanted) {
        return Ok(true);
    }
    Ok(there.is_file()
        && there.permissions().mode() & 0o7777 == MODE
        && there.len() == wanted.len()
        && same_bytes(File::open(content)?, File::open(installed)?)?)
}

fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn same_bytes(mut one: File, mut other: File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut right[..count]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

/// Whether `new` is a link now. A link shares owner and mode with the file, so that one whose owner or mode would have to
/// change is copied.
fn link(content: &Path, named: &Path, new: &Path) -> io::Result<bool> {
    let wanted = fs::metadata(content)?;
    let fits = wanted.permissions().mode() & 0o7777 == MODE && wanted.uid() == nix::unistd::geteuid().as_raw();
    // Another file system, a file that was replaced meanwhile, a kernel that forbids it: a copy does.
    if !fits || fs::hard_link(named, new).is_err() {
        return Ok(false);
    }
    if is_same_file(&fs::symlink_metadata(new)?, &wanted) {
        return Ok(true);
    }
    remove(new)?;
    Ok(false)
}

fn copy(content: &Path, new: &Path) -> io::Result<()> {
    let written = fs::copy(content, new).and_then(|_| {
        fs::set_permissions(new, Permissions::from_mode(MODE))?;
        File::open(new)?.sync_all()
    });
    if written.is_err() {
        // On a full disk, half a program helps nobody.
        remove(new)?;
    }
    written
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &Path, text: &str, mode: u32) {
        fs::write(file, text).unwrap();
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }

    fn mode(file: &Path) -> u32 {
        file.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_program_is_linked_and_outlives_its_original() {
        let folder = tempfile::tempdir().unwrap();
        let (original, bin) = (folder.path().join("built"), folder.path().join("bin"));
        fs::create_dir(&bin).unwrap();
        write(&original, "one", MODE);
        let installed = install_from(&original, &original, &bin).unwrap();
        assert!(is_same_file(&installed.metadata().unwrap(), &original.metadata().unwrap()));
        let running = File::open(&installed).unwrap();
        // As a build does it.
        fs::remove_file(&original).unwrap();
        write(&original, "two", MODE);
        assert_eq!(fs::read_to_string(&installed).unwrap(), "one");
        install_from(&original, &original, &bin).unwrap();
        assert_eq!(fs::read_to_string(&installed).unwrap(), "two");
        assert_eq!(io::read_to_string(running).unwrap(), "one");
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 1, "nothing else is left in the folder");
    }

    #[test]
    fn a_program_that_others_may_not_run_is_copied_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (original, bin) = (folder.path().join("built"), folder.path().join("bin"));
        fs::create_dir(&bin).unwrap();
        write(&original, "one", 0o700);
        let installed = install_from(&original, &original, &bin).unwrap();
        assert_eq!((mode(&original), mode(&installed)), (0o700, MODE));
        let before = installed.metadata().unwrap().ino();
        install_from(&original, &original, &bin).unwrap();
        assert_eq!(installed.metadata().unwrap().ino(), before, "the same content is not written again");
        write(&original, "two", 0o700);
        install_from(&original, &original, &bin).unwrap();
        assert_eq!(fs::read_to_string(&installed).unwrap(), "two");
    }

    #[test]
    fn what_runs_is_installed_not_what_has_its_name_by_now() {
        let folder = tempfile::tempdir().unwrap();
        let (running, named) = (folder.path().join("running"), folder.path().join("named"));
        write(&running, "one", MODE);
        write(&named, "two", MODE);
        for named in [named, folder.path().join("missing (deleted)")] {
            let bin = tempfile::tempdir_in(folder.path()).unwrap();
            let installed = install_from(&running, &named, bin.path()).unwrap();
            assert_eq!(fs::read_to_string(installed).unwrap(), "one");
        }
    }
}
