//! The workload's output: files with rotation, addressed by one running offset per stream, and followers woken by events.

use bigdata_sandbox::Mask;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions, rename};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// How much of a stream is kept.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Files, the one being written among them.
    pub files: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { file_bytes_max: 10 << 20, files: 3 }
    }
}

/// The most that one read returns.
const READ_BYTES_MAX: u64 = 32 << 10;
/// The most that is looked through for the last lines.
const TAIL_BYTES_MAX: u64 = 1 << 20;
/// The longest line of a report; the rest of it is cut off.
const LINE_CHARACTERS_MAX: usize = 400;

/// One stream in its files: `NAME`, and older parts as `NAME.1`, `NAME.2`.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    rotation: Rotation,
    current: File,
    /// The offset of each kept file's first byte, the oldest first; the last one is the file being written.
    starts: VecDeque<u64>,
    end: u64,
}

/// One of the workload's output streams, kept and followed.
#[derive(Debug)]
pub struct Stream {
    files: Mutex<Files>,
    end: watch::Sender<u64>,
}

impl Files {
    fn open(path: PathBuf, rotation: Rotation) -> io::Result<Self> {
        let mut starts = VecDeque::new();
        let mut end = 0;
        // What an earlier process of this node wrote is counted in.
        for older in (1..rotation.files).rev() {
            if let Ok(metadata) = numbered(&path, older).metadata() {
                starts.push_back(end);
                end += metadata.len();
            }
        }
        let current = create(&path)?;
        starts.push_back(end);
        end += current.metadata()?.len();
        Ok(Self { path, rotation, current, starts, end })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let start = *self.starts.back().expect("the file being written has a start");
        if self.end > start && self.end - start + bytes.len() as u64 > self.rotation.file_bytes_max {
            self.rotate()?;
        }
        self.current.write_all(bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for older in (1..self.rotation.files).rev() {
            let from = if older == 1 { self.path.clone() } else { numbered(&self.path, older - 1) };
            match rename(&from, numbered(&self.path, older)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.rotation.files < 2 {
            std::fs::remove_file(&self.path)?;
        }
        self.current = create(&self.path)?;
        self.starts.push_back(self.end);
        while self.starts.len() > self.rotation.files.max(1) {
            self.starts.pop_front();
        }
        Ok(())
    }

    /// The bytes from `offset` on, or from the oldest that are kept; with the offset of the first of them.
    fn read(&self, offset: u64) -> io::Result<(u64, Vec<u8>)> {
        let oldest = *self.starts.front().expect("the file being written has a start");
        let offset = offset.clamp(oldest, self.end);
        let index = self.starts.iter().rposition(|start| *start <= offset).unwrap_or(0);
        let file_end = self.starts.get(index + 1).copied().unwrap_or(self.end);
        let age = self.starts.len() - 1 - index;
        let path = if age == 0 { self.path.clone() } else { numbered(&self.path, age) };
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset - self.starts[index]))?;
        let mut bytes = Vec::new();
        file.take((file_end - offset).min(READ_BYTES_MAX)).read_to_end(&mut bytes)?;
        Ok((offset, bytes))
    }

    /// The offset at which the last `lines` lines begin, not before `from`.
    fn tail(&self, lines: usize, from: u64) -> io::Result<u64> {
        let first = from.max(self.end.saturating_sub(TAIL_BYTES_MAX));
        let mut begins = VecDeque::from([first]);
        let mut offset = first;
        while offset < self.end {
            let (at, bytes) = self.read(offset)?;
            if bytes.is_empty() {
                break;
            }
            for (index, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                begins.push_back(at + index as u64 + 1);
                // One more than asked for: the last may be the empty line after the final line break.
                if begins.len() > lines + 1 {
                    begins.pop_front();
                }
            }
            offset = at + bytes.len() as u64;
        }
        let ends_with_break = begins.back() == Some(&self.end) && begins.len() > 1;
        if !ends_with_break && begins.len() > lines {
            begins.pop_front();
        }
        Ok(begins.front().copied().unwrap_or(self.end))
    }
}

impl Stream {
    /// Opens the stream's files, and goes on where an earlier process of this node stopped.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn open(directory: &Path, name: &str, rotation: Rotation) -> io::Result<Self> {
        let files = Files::open(directory.join(name), rotation)?;
        Ok(Self { end: watch::Sender::new(files.end), files: Mutex::new(files) })
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the stream and wakes its followers.
    ///
    /// # Errors
    /// When the bytes cannot be written.
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files();
        files.append(bytes)?;
        self.end.send_replace(files.end);
        Ok(())
    }

    /// The offset after the last byte.
    pub fn end(&self) -> u64 {
        *self.end.borrow()
    }

    /// Wakes whenever the stream grows.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// Some bytes from `offset` on, or from the oldest that are kept; with the offset of the first of them.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn read(&self, offset: u64) -> io::Result<(u64, Vec<u8>)> {
        self.files().read(offset)
    }

    /// Where the last `lines` lines begin.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn tail(&self, lines: usize) -> io::Result<u64> {
        self.files().tail(lines, 0)
    }

    /// The last lines since `from`, without secrets and shortened: others than the log's readers are told them.
    pub fn last_lines(&self, lines: usize, from: u64, mask: &Mask) -> Vec<String> {
        let files = self.files();
        let mut bytes = Vec::new();
        let Ok(mut offset) = files.tail(lines, from) else { return Vec::new() };
        while offset < files.end {
            match files.read(offset) {
                Ok((_, part)) if !part.is_empty() => {
                    offset += part.len() as u64;
                    bytes.extend_from_slice(&part);
                }
                _ => break,
            }
        }
        let text = mask.text(&String::from_utf8_lossy(&bytes));
        text.lines().map(|line| line.chars().take(LINE_CHARACTERS_MAX).collect()).collect()
    }

    /// Copies a pipe into the stream until its end. What cannot be written (a full disk) is lost: the workload goes on.
    pub async fn capture(&self, mut pipe: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 8 << 10];
        let mut lost = false;
        loop {
            match pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => match self.append(&buffer[..count]) {
                    Ok(()) => lost = false,
                    Err(_) if lost => {}
                    Err(error) => {
                        lost = true;
                        tracing::warn!(%error, "output of the workload is lost");
                    }
                },
            }
        }
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(directory: &Path) -> Stream {
        Stream::open(directory, "stdout", Rotation { file_bytes_max: 10, files: 3 }).unwrap()
    }

    #[test]
    fn files_rotate_and_offsets_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let log = stream(directory.path());
        for part in ["aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "eeee\n", "ffff\n", "gggg\n"] {
            log.append(part.as_bytes()).unwrap();
        }
        let names = ["stdout.2", "stdout.1", "stdout", "stdout.3"];
        let contents = names.map(|name| std::fs::read_to_string(directory.path().join(name)).ok());
        assert_eq!(contents, [Some("cccc\ndddd\n".into()), Some("eeee\nffff\n".into()), Some("gggg\n".into()), None]);
        assert_eq!(log.end(), 35);
        assert_eq!(log.read(0).unwrap(), (10, b"cccc\ndddd\n".to_vec()), "the oldest that is kept");
        assert_eq!(log.read(22).unwrap(), (22, b"ee\nffff\n".to_vec()));
        assert_eq!(log.read(99).unwrap(), (35, Vec::new()));
        // Another process of the node counts on from what is kept.
        assert_eq!(stream(directory.path()).end(), 25);
    }

    #[test]
    fn the_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let log = stream(directory.path());
        let last_lines = |lines, from| log.last_lines(lines, from, &Mask::of(["s3cret"]));
        assert_eq!(last_lines(2, 0), Vec::<String>::new());
        log.append(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(last_lines(2, 0), ["two", "three"]);
        log.append(b"four").unwrap();
        assert_eq!(last_lines(2, 0), ["three", "four"]);
        assert_eq!(last_lines(9, 0), ["one", "two", "three", "four"]);
        assert_eq!(last_lines(9, 8), ["three", "four"], "not what was written before the last start");
        assert_eq!(log.read(log.tail(1).unwrap()).unwrap().1, b"four");
        log.append(b"\ns3cret\n").unwrap();
        assert_eq!(last_lines(1, 0), ["********"]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_pipe_is_copied_and_followers_wake() {
        let directory = tempfile::tempdir().unwrap();
        let log = stream(directory.path());
        let mut follower = log.follow();
        log.capture(&b"hello\n"[..]).await;
        follower.changed().await.unwrap();
        assert_eq!(*follower.borrow(), 6);
    }
}
