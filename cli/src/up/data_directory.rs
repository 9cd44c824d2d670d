//! The platform's data directory: one running platform each, private to its user.
//!
//! `lock` (held while the platform runs), `internal.token`, `control.key`, `engine.secret`, `host.json`, `ports.json`,
//! `catalog.json`, `db/`, `keys/`, `log/`, `bin/`, `engine/`, `run/`. Where the platform is root, nodes and scripts have
//! users of their own, who may pass through to `bin/`, `engine/` and `run/` but list nothing.

use crate::failure::Failure;
use bigdata_chassis::secret::Token;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest path of a data directory, in bytes: the sockets of scripts lie below it, and their addresses are short
/// (unix(7)).
const PATH_MAX: usize = 60;

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    lock: Flock<File>,
}

/// The user's data directory: `$XDG_DATA_HOME/bigdata`, else `/var/lib/bigdata` for root (nodes and scripts have users
/// of their own then, who cannot pass root's home) and `~/.local/share/bigdata` for everybody else.
pub(crate) fn default_path() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || variable("HOME").filter(|_| !is_root()).map(|home| home.join(".local/share"));
    variable("XDG_DATA_HOME").or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib")).join("bigdata")
}

/// Whether the platform may become other users.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

impl DataDirectory {
    /// Makes the directory where it is missing, and takes it.
    ///
    /// # Errors
    /// When another platform has it, somebody else owns it, or it cannot be used.
    pub(crate) fn take(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            Failure::Failed(format!("the data directory {} cannot be used: {error}", path.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(cannot)?;
        let path = path.canonicalize().map_err(cannot)?;
        if path.as_os_str().len() > PATH_MAX {
            return Err(Failure::Usage(format!(
                "the path of the data directory {} has more than {PATH_MAX} characters; sockets below it would not fit, choose a shorter one",
                path.display()
            )));
        }
        let metadata = path.metadata().map_err(cannot)?;
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            let text = format!("the data directory {} belongs to somebody else; choose another", path.display());
            return Err(Failure::Failed(text));
        }
        let passable = if is_root() { 0o711 } else { 0o700 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(passable)).map_err(cannot)?;
        let lock = take_lock(&path)?;
        let directory = Self { path, lock };
        let private = ["db", "keys", "log"].map(|folder| (folder, 0o700));
        for (folder, mode) in private.into_iter().chain(["bin", "engine", "run"].map(|folder| (folder, passable))) {
            DirBuilder::new().recursive(true).mode(mode).create(directory.path.join(folder)).map_err(cannot)?;
        }
        Ok(directory)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The token that proves one service to another, made on the first start.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn internal_token(&self) -> Result<Token, Failure> {
        self.token("internal.token")
    }

    /// The key that the nodes' control keys are derived from, made on the first start.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn control_key(&self) -> Result<Token, Failure> {
        self.token("control.key")
    }

    /// What proves the framework to the engine, which starts programs as the platform's user; made on the first start.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn engine_secret(&self) -> Result<Token, Failure> {
        self.token("engine.secret")
    }

    fn token(&self, name: &str) -> Result<Token, Failure> {
        let text = read_or_make(&self.join(name), || Token::random().expose().to_owned())?;
        Ok(Token::from_text(text.trim()))
    }

    /// Writes down where the platform answers, for those who find the lock held.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn announce(&mut self, url: &str) -> Result<(), Failure> {
        write_lock(&mut self.lock, Some(url)).map_err(Failure::from)
    }
}

fn take_lock(path: &Path) -> Result<Flock<File>, Failure> {
    let file = path.join("lock");
    let cannot = |error: io::Error| Failure::Failed(format!("{} cannot be used: {error}", file.display()));
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
    match Flock::lock(open().map_err(cannot)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            write_lock(&mut lock, None).map_err(cannot)?;
            Ok(lock)
        }
        Err((mut held, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            held.read_to_string(&mut holder).map_err(cannot)?;
            let mut lines = holder.lines();
            let pid = lines.next().unwrap_or("unknown");
            let where_it_answers = lines.next().map(|url| format!(" and answers at {url}")).unwrap_or_default();
            Err(Failure::Failed(format!(
                "another platform (pid {pid}) uses the data directory {}{where_it_answers}\n  next: stop it, or start this one with another --data-dir and --listen",
                path.display()
            )))
        }
        Err((_, errno)) => Err(cannot(errno.into())),
    }
}

fn write_lock(lock: &mut Flock<File>, url: Option<&str>) -> io::Result<()> {
    use std::io::Seek;
    lock.set_len(0)?;
    lock.rewind()?;
    let url = url.map(|url| format!("{url}\n")).unwrap_or_default();
    lock.write_all(format!("{}\n{url}", std::process::id()).as_bytes())
}

/// A small private file's text; where it is missing, it is made.
fn read_or_make(file: &Path, make: impl FnOnce() -> String) -> Result<String, Failure> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = make();
            replace(file, text.as_bytes())?;
            Ok(text)
        }
        Err(error) => Err(Failure::Failed(format!("{} cannot be read: {error}", file.display()))),
    }
}

/// Writes a private file whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::Failed(format!("{} cannot be written: {error}", file.display()));
    let beside = file.with_extension("new");
    let write = || {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        out.write_all(content)?;
        out.sync_all()?;
        std::fs::rename(&beside, file)
    };
    write().map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_platform_and_keeps_what_it_chose() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let mut first = DataDirectory::take(&path).unwrap();
        first.announce("http://127.0.0.1:5000").unwrap();
        let (token, key) = (first.internal_token().unwrap(), first.control_key().unwrap());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o766, 0o700);
        assert_eq!(path.join("db").metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let secret = first.engine_secret().unwrap();
        for file in ["internal.token", "control.key", "engine.secret"] {
            assert_eq!(path.join(file).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        }
        let refused = DataDirectory::take(&path).unwrap_err().to_string();
        for part in [&format!("pid {}", std::process::id()), "http://127.0.0.1:5000", path.to_str().unwrap()] {
            assert!(refused.contains(part), "{part} is not in {refused}");
        }
        drop(first);
        let again = DataDirectory::take(&path).unwrap();
        assert_eq!((again.internal_token().unwrap(), again.control_key().unwrap()), (token, key));
        assert_eq!(again.engine_secret().unwrap(), secret);
    }

    #[test]
    fn a_long_path_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = DataDirectory::take(&folder.path().join("x".repeat(70))).unwrap_err();
        assert_eq!(refused.code(), 2);
    }
}
