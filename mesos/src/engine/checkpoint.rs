//! A durable map: an append-only log of changes, rewritten when it has grown.
//!
//! A commit is one frame: its length, a checksum, and the changes as one message. A frame that was not written whole is
//! the last one, and is cut off when the log is opened: a commit is there as a whole or not at all. Any other damage is
//! an error, so that nothing is taken for lost that may still be running.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use prost::Message;

use super::records::Change;

/// Length (4 bytes) and checksum (8 bytes).
const HEADER: usize = 12;
/// A log that is this much larger than what it tells is rewritten.
const SLACK_BYTES: u64 = 4 * 1024 * 1024;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refuses.
    #[error("the state in {0} cannot be read or written")]
    Io(PathBuf, #[source] io::Error),
    /// A commit that was durable is not what it was.
    #[error("the state in {path} is damaged at byte {at}")]
    Damaged {
        /// The log.
        path: PathBuf,
        /// Where the first damaged frame begins.
        at: u64,
    },
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    changes: Vec<Change>,
}

/// The log and what it tells.
#[derive(Debug)]
pub(crate) struct Log {
    directory: PathBuf,
    file: File,
    length: u64,
    entries: BTreeMap<String, Vec<u8>>,
    entry_bytes: u64,
}

impl Log {
    /// Opens the log in `directory`, which is made if it is not there. Only its owner can read it.
    pub(crate) fn open(directory: &Path) -> Result<Self, CheckpointError> {
        let fault = |error| CheckpointError::Io(directory.to_owned(), error);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory).map_err(fault)?;
        let path = directory.join("log");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fault)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fault)?;
        let mut entries = BTreeMap::new();
        let length = replay(&bytes, &mut entries).map_err(|at| CheckpointError::Damaged { path, at })?;
        file.set_len(length).map_err(fault)?;
        file.seek(SeekFrom::End(0)).map_err(fault)?;
        sync_directory(directory).map_err(fault)?;
        let entry_bytes = entries.iter().map(|(key, value)| size(key, value)).sum();
        Ok(Log { directory: directory.to_owned(), file, length, entries, entry_bytes })
    }

    pub(crate) fn entries(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.entries
    }

    /// Makes changes durable, all or none.
    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> io::Result<()> {
        let batch = Batch { changes };
        let frame = frame(&batch)?;
        self.file.write_all(&frame)?;
        self.file.sync_data()?;
        self.length += frame.len() as u64;
        for change in batch.changes {
            if let Some(former) = self.entries.get(&change.key) {
                self.entry_bytes -= size(&change.key, former);
            }
            apply(&mut self.entries, change, &mut self.entry_bytes);
        }
        if self.length > 2 * self.entry_bytes + SLACK_BYTES {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Writes what the log tells into a new one, and puts it in the old one's place.
    fn rewrite(&mut self) -> io::Result<()> {
        let changes = self.entries.iter().map(|(key, value)| Change { key: key.clone(), value: Some(value.clone()) });
        let batch = Batch { changes: changes.collect() };
        let frame = frame(&batch)?;
        let path = self.directory.join("log.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path)?;
        file.write_all(&frame)?;
        file.sync_data()?;
        std::fs::rename(&path, self.directory.join("log"))?;
        sync_directory(&self.directory)?;
        self.file = file;
        self.length = frame.len() as u64;
        Ok(())
    }
}

fn size(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len() + 8) as u64
}

fn apply(entries: &mut BTreeMap<String, Vec<u8>>, change: Change, bytes: &mut u64) {
    match change.value {
        Some(value) => {
            *bytes += size(&change.key, &value);
            entries.insert(change.key, value);
        }
        None => {
            entries.remove(&change.key);
        }
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn frame(batch: &Batch) -> io::Result<Vec<u8>> {
    let payload = batch.encode_to_vec();
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&checksum(&payload).to_le_bytes());
    frame.extend_from_slice(&payload);
    Ok(frame)
}

/// FNV-1a: what is to be noticed is a write that was not finished, not an attack.
fn checksum(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// Applies all whole frames. Returns how many bytes they take, or where the damage is.
fn replay(bytes: &[u8], entries: &mut BTreeMap<String, Vec<u8>>) -> Result<u64, u64> {
    let mut at = 0;
    while let Some((payload, sum)) = frame_at(&bytes[at..]) {
        let end = at + HEADER + payload.len();
        let batch = Batch::decode(payload).ok().filter(|_| checksum(payload) == sum);
        let Some(batch) = batch else {
            let torn = end == bytes.len();
            return if torn { Ok(at as u64) } else { Err(at as u64) };
        };
        for change in batch.changes {
            apply(entries, change, &mut 0);
        }
        at = end;
    }
    Ok(at as u64)
}

/// The payload and checksum of the frame at the beginning of `bytes`, if it is there in full length.
fn frame_at(bytes: &[u8]) -> Option<(&[u8], u64)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    Some((rest.get(..length)?, u64::from_le_bytes(*sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &[u8]) -> Change {
        Change { key: key.to_owned(), value: Some(value.to_vec()) }
    }

    fn keys(log: &Log) -> Vec<&str> {
        log.entries().keys().map(String::as_str).collect()
    }

    #[test]
    fn commits_are_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path()).unwrap();
        log.commit(vec![put("a", b"1"), put("b", b"2")]).unwrap();
        log.commit(vec![Change::delete("a".to_owned()), put("c", b"3")]).unwrap();
        let again = Log::open(directory.path()).unwrap();
        assert_eq!(keys(&again), ["b", "c"]);
        assert_eq!(again.entries()["c"], b"3");
    }

    #[test]
    fn a_log_cut_at_any_byte_holds_whole_commits_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::open(directory.path()).unwrap();
        log.commit(vec![put("a", b"1"), put("b", b"2")]).unwrap();
        let first = std::fs::metadata(&path).unwrap().len();
        log.commit(vec![put("c", b"3"), put("d", b"4")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut log = Log::open(directory.path()).unwrap();
            let expected: &[&str] = match cut as u64 {
                cut if cut < first => &[],
                cut if cut < whole.len() as u64 => &["a", "b"],
                _ => &["a", "b", "c", "d"],
            };
            assert_eq!(keys(&log), expected, "cut at {cut}");
            log.commit(vec![put("z", b"")]).unwrap();
            assert!(Log::open(directory.path()).unwrap().entries().contains_key("z"));
        }
    }

    #[test]
    fn damage_before_the_end_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::open(directory.path()).unwrap();
        log.commit(vec![put("a", b"1")]).unwrap();
        log.commit(vec![put("b", b"2")]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER + 2] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = Log::open(directory.path()).unwrap_err();
        assert!(matches!(error, CheckpointError::Damaged { at: 0, .. }), "{error}");
    }

    #[test]
    fn a_log_that_has_grown_is_rewritten_and_tells_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path()).unwrap();
        let value = vec![7; 1024 * 1024];
        log.commit(vec![put("kept", b"k")]).unwrap();
        for _ in 0..9 {
            log.commit(vec![put("a", &value)]).unwrap();
        }
        let size = std::fs::metadata(directory.path().join("log")).unwrap().len();
        assert!(size < 8 * 1024 * 1024, "{size}");
        log.commit(vec![put("after", b"x")]).unwrap();
        let again = Log::open(directory.path()).unwrap();
        assert_eq!(keys(&again), ["a", "after", "kept"]);
        assert_eq!(again.entries()["a"], value);
    }
}
