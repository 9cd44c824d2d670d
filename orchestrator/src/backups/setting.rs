//! What `backups_url` says, and whether it can be done. Whoever writes it learns at the service's start what is wrong with it,
//! and not from the first backup that fails.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What the setting may be, for the messages.
const FORMS: &str = "a directory's absolute path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, or az://CONTAINER/PREFIX (abfs:// is \
                     the same); the prefix may be left out";

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The setting names none.
    #[error("orchestrator.backups_url is {url:?}: {wrong}; write {FORMS}")]
    Url {
        /// As it is set.
        url: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// The directory cannot be made or written to.
    #[error(
        "orchestrator.backups_url: backups cannot be kept in the directory {path}: {source}; give it to the user that the \
         orchestrator runs as, or write another: {FORMS}"
    )]
    Directory {
        /// Which one.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The secret key cannot be read.
    #[error("orchestrator.backups_secret_key_file: {path} cannot be read: {source}")]
    Secret {
        /// The file of the settings.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The store refuses its settings.
    #[error(
        "orchestrator.backups_url: the store cannot be opened with what the settings backups_* and the environment say"
    )]
    Store(#[from] object_store::Error),
}

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    Amazon,
    Google,
    Azure,
}

/// Where backups shall be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location<'url> {
    Directory(PathBuf),
    Bucket { maker: Maker, bucket: &'url str, prefix: &'url str },
}

impl<'url> Location<'url> {
    /// What the setting says.
    pub(super) fn of(url: &'url str) -> Result<Self, OpenError> {
        let refused = |wrong| Err(OpenError::Url { url: url.to_owned(), wrong });
        let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| *scheme != "file") else {
            let path = PathBuf::from(url.strip_prefix("file://").unwrap_or(url));
            return if path.is_absolute() { Ok(Self::Directory(path)) } else { refused("that is no absolute path") };
        };
        let maker = match scheme {
            "s3" => Maker::Amazon,
            "gs" => Maker::Google,
            "az" | "abfs" => Maker::Azure,
            _ => return refused("that is no kind of store that is known here"),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return refused("it names no bucket");
        }
        Ok(Self::Bucket { maker, bucket, prefix })
    }
}

/// Makes a directory for backups, and tries it.
pub(super) fn make(path: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path).and_then(|()| write_into(path));
    made.map_err(|source| OpenError::Directory { path: path.to_owned(), source })
}

/// Whether [`make`] would do; nothing is made. A directory that is not there yet is judged by the nearest one above it.
pub(super) fn try_out(path: &Path) -> Result<(), OpenError> {
    let nearest = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
    write_into(nearest).map_err(|source| OpenError::Directory { path: path.to_owned(), source })
}

/// Writes a file and removes it: permissions alone do not say it, of root and of what is mounted.
fn write_into(folder: &Path) -> io::Result<()> {
    let file = folder.join(format!(".try-{}", uuid::Uuid::new_v4()));
    OpenOptions::new().write(true).create_new(true).open(&file)?;
    std::fs::remove_file(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_the_setting_and_what_to_write() {
        for (url, wrong) in [
            ("s3://", "names no bucket"),
            ("s3:///prefix", "names no bucket"),
            ("gs://", "names no bucket"),
            ("az://", "names no bucket"),
            ("abfs:///prefix", "names no bucket"),
            ("backups", "no absolute path"),
            ("", "no absolute path"),
            ("file://backups", "no absolute path"),
            ("s3:/bucket", "no absolute path"),
            ("ftp://bucket/prefix", "no kind of store"),
            ("://bucket", "no kind of store"),
        ] {
            let said = Location::of(url).unwrap_err().to_string();
            for part in ["orchestrator.backups_url", &format!("{url:?}"), wrong, "s3://BUCKET/PREFIX"] {
                assert!(said.contains(part), "{part:?} is not in {said:?}");
            }
        }
        let bucket = Location::Bucket { maker: Maker::Google, bucket: "cold", prefix: "" };
        assert_eq!(Location::of("gs://cold").unwrap(), bucket);
        assert_eq!(Location::of("file:///srv/backups").unwrap(), Location::Directory("/srv/backups".into()));
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        // Not even root writes into the first, and the second leads through a file.
        for path in [Path::new("/proc"), &file.join("backups")] {
            for refused in [make(path).unwrap_err(), try_out(path).unwrap_err()] {
                let said = refused.to_string();
                let named = said.contains("orchestrator.backups_url") && said.contains(path.to_str().unwrap());
                assert!(named && said.contains("s3://BUCKET"), "{said}");
            }
        }
        let path = folder.path().join("a/b");
        try_out(&path).unwrap();
        assert!(!folder.path().join("a").exists(), "trying makes nothing");
        make(&path).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "nothing is left of the try");
    }
}
