//! Where the platform logs to: a file of the data directory, and warnings to standard error as well.

use crate::failure::Failure;
use bigdata_chassis::telemetry::{self, LogSettings};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use tracing::Level;
use tracing_subscriber::fmt::writer::MakeWriterExt;

/// A log of this size is set aside at the next start, in bytes; the one that was set aside before it goes.
const ROTATE_AT: u64 = 32 * 1024 * 1024;

/// Begins to log.
///
/// # Errors
/// When the file cannot be opened.
pub(crate) fn start(settings: &LogSettings, folder: &Path, to_stderr: bool) -> Result<(), Failure> {
    if to_stderr {
        telemetry::init(settings, std::io::stderr);
        return Ok(());
    }
    let path = folder.join("bigdata.log");
    if path.metadata().is_ok_and(|metadata| metadata.len() > ROTATE_AT) {
        std::fs::rename(&path, folder.join("bigdata.log.1"))?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let file = file.map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", path.display())))?;
    telemetry::init(settings, Mutex::new(file).and(std::io::stderr.with_max_level(Level::WARN)));
    Ok(())
}
