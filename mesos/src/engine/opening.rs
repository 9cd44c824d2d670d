//! What stands in a work directory when an engine begins: who has it, who it was, and what lives.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use prost::Message as _;

use super::checkpoint::Log;
use super::files::Files;
use super::process;
use super::records::{ExecutorRecord, IdentityRecord, Process, kind};

/// Takes the work directory; `None` if another engine has it.
pub(crate) fn lock(work_dir: &Path) -> io::Result<Option<Flock<File>>> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(work_dir.join("lock"))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// Who this engine is: as before, or new.
pub(crate) fn identity(log: &Log) -> Result<IdentityRecord, prost::DecodeError> {
    let stored = log.entries().get(kind::IDENTITY);
    let mut identity = match stored {
        Some(bytes) => IdentityRecord::decode(bytes.as_slice())?,
        None => {
            let master_id = uuid::Uuid::new_v4().to_string();
            IdentityRecord { agent_id: format!("{master_id}-S0"), master_id, ..IdentityRecord::default() }
        }
    };
    identity.starts += 1;
    Ok(identity)
}

/// An executor's process, if it lives. One that was started just before the engine died is known by its sandbox.
pub(crate) fn find(record: &ExecutorRecord, files: &Files) -> Option<Process> {
    match record.process {
        Some(process) => Some(process).filter(process::is_alive),
        None => process::find_by_variable("MESOS_DIRECTORY", &files.sandbox(record).to_string_lossy()),
    }
}
