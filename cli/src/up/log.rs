//! Where the platform logs to: files of the data directory that take turns, and warnings to standard error as well.

use crate::failure::Failure;
use bigdata_chassis::telemetry::{self, LogSettings};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracing::Level;
use tracing_subscriber::fmt::writer::MakeWriterExt;

/// A log of this size is set aside, in bytes.
const ROTATE_AT: u64 = 50 * 1024 * 1024;
/// How many files there are at most: the one that is written, and those that were set aside.
const FILES: u32 = 5;

/// Begins to log.
///
/// # Errors
/// When the file cannot be opened.
pub(crate) fn start(settings: &LogSettings, folder: &Path, to_stderr: bool) -> Result<(), Failure> {
    if to_stderr {
        telemetry::init(settings, io::stderr);
        return Ok(());
    }
    let path = folder.join("bigdata.log");
    let log = RotatingFile::open(path.clone(), ROTATE_AT, FILES);
    let log = log.map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))?;
    telemetry::init(settings, Mutex::new(log).and(io::stderr.with_max_level(Level::WARN)));
    Ok(())
}

/// A file that is set aside as `NAME.1` when it is full; `NAME.1` becomes `NAME.2`, and the oldest goes. A write, which is
/// one event of the log, is never divided.
#[derive(Debug)]
struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    files: u32,
}

impl RotatingFile {
    fn open(path: PathBuf, limit: u64, files: u32) -> io::Result<Self> {
        let file = append_to(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, limit, files })
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.files).rev() {
            let (from, to) = (self.aside(number - 1), self.aside(number));
            match std::fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = append_to(&self.path)?;
        self.size = 0;
        Ok(())
    }

    /// The name of a file that was set aside so often; 0 is the one that is written.
    fn aside(&self, number: u32) -> PathBuf {
        if number == 0 { self.path.clone() } else { self.path.with_added_extension(number.to_string()) }
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size + bytes.len() as u64 > self.limit && self.rotate().is_err() {
            // A log that is too long helps more than one that ends: the next try is a whole file later.
            self.size = 0;
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_full_log_is_set_aside_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut log = RotatingFile::open(path.clone(), 10, 3).unwrap();
        for line in ["one 12\n", "two\n", "three a long line\n", "four\n", "five\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        drop(log);
        // A start goes on where the last one ended.
        RotatingFile::open(path, 10, 3).unwrap().write_all(b"six\n").unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!([text("x.log"), text("x.log.1"), text("x.log.2")], ["six\n", "four\nfive\n", "three a long line\n"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        let mode = folder.path().join("x.log.1").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_log_that_cannot_be_set_aside_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        // A folder that is not empty cannot be replaced by a file.
        std::fs::create_dir_all(folder.path().join("x.log.1/full")).unwrap();
        std::fs::create_dir_all(folder.path().join("x.log.2/full")).unwrap();
        let mut log = RotatingFile::open(path.clone(), 4, 3).unwrap();
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }
}
