//! Files of a container's own file system, which engines give and take as tar archives.

use super::engine::{Engine, in_words, is_missing};
use bollard::body_try_stream;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::io;
use std::path::Path;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

const BLOCK: usize = 512;
/// How much of a file is read at a time.
const PIECE_BYTES: usize = 64 << 10;
/// The most that an archive may hold before its file: extended headers.
const HEADERS_MAX: usize = 1 << 20;

/// Why a file is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The path is no plain one of a container.
    #[error("it is no file of the node")]
    Outside,
    /// There is none.
    #[error("there is no such file, or its container is not there")]
    Missing,
    /// It is something else than a file, or the path is too long, or the engine refuses.
    #[error("{0}")]
    Refused(String),
}

/// A file of a container: its size, and its bytes as they come.
pub struct Contained {
    /// In bytes.
    pub size: u64,
    /// So many of them, or an error.
    pub pieces: BoxStream<'static, io::Result<Bytes>>,
}

/// Writes a file of any size to an absolute path; folders that lack are made. It belongs to root.
pub(super) async fn put(
    engine: &Engine,
    container: &str,
    path: &str,
    mode: u32,
    source: &Path,
) -> Result<(), ArchiveError> {
    let refused = |error: io::Error| ArchiveError::Refused(error.to_string());
    let file = File::open(source).await.map_err(refused)?;
    let size = file.metadata().await.map_err(refused)?.len();
    let header = header(path.trim_start_matches('/'), mode, size)
        .ok_or_else(|| ArchiveError::Refused(format!("the path {path:?} is too long")))?;
    let content = stream::try_unfold(file.take(size), |mut file| async move {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        file.read_buf(&mut piece).await?;
        Ok::<_, io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
    });
    let padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0);
    let end = Bytes::from(vec![0; padding + 2 * BLOCK]);
    let archive = stream::iter([Ok(header)]).chain(content).chain(stream::iter([Ok(end)]));
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    match engine.docker.upload_to_container(container, Some(options), body_try_stream(archive)).await {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) => Err(ArchiveError::Missing),
        Err(error) => Err(ArchiveError::Refused(in_words(&error))),
    }
}

/// Begins to read a file at an absolute path.
pub(super) async fn get(engine: &Engine, container: &str, path: &str) -> Result<Contained, ArchiveError> {
    let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
    let mut pieces = engine.docker.download_from_container(container, Some(options)).boxed();
    let mut buffer = BytesMut::new();
    let mut extended = None;
    loop {
        while buffer.len() < BLOCK {
            match pieces.next().await {
                None => return Err(ArchiveError::Missing),
                Some(Ok(piece)) => buffer.extend_from_slice(&piece),
                Some(Err(error)) if is_missing(&error) => return Err(ArchiveError::Missing),
                Some(Err(error)) => return Err(ArchiveError::Refused(in_words(&error))),
            }
        }
        let block = buffer.split_to(BLOCK);
        let size = size(&block).ok_or_else(|| ArchiveError::Refused("the engine's archive is broken".to_owned()))?;
        match block[156] {
            b'0' | 0 => {
                let pieces = pieces.map(|piece| piece.map_err(|error| io::Error::other(in_words(&error))));
                let size = extended.unwrap_or(size);
                let pieces = stream::iter([Ok(buffer.freeze())]).chain(pieces);
                return Ok(Contained { size, pieces: bounded(pieces.boxed(), size) });
            }
            // Extended headers stand before the file's own.
            b'x' | b'g' | b'L' | b'K' if size <= HEADERS_MAX as u64 => {
                let length = usize::try_from(size.next_multiple_of(BLOCK as u64)).unwrap_or(HEADERS_MAX);
                while buffer.len() < length {
                    let piece = pieces.next().await.and_then(Result::ok).ok_or(ArchiveError::Missing)?;
                    buffer.extend_from_slice(&piece);
                }
                let records = buffer.split_to(length);
                if block[156] == b'x' {
                    extended = extended_size(&records);
                }
            }
            _ => return Err(ArchiveError::Refused(format!("{path:?} is no regular file"))),
        }
    }
}

/// The first bytes of a stream, and an error where there are less.
fn bounded(pieces: BoxStream<'static, io::Result<Bytes>>, size: u64) -> BoxStream<'static, io::Result<Bytes>> {
    stream::try_unfold((pieces, size), |(mut pieces, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(piece) = pieces.next().await else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let mut piece = piece?;
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - piece.len() as u64;
        Ok(Some((piece, (pieces, left))))
    })
    .boxed()
}

/// The header of a regular file, as POSIX.1-1988 has it; None: the path does not fit.
fn header(path: &str, mode: u32, size: u64) -> Option<Bytes> {
    let (prefix, name) = if path.len() <= 100 {
        ("", path)
    } else {
        path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..])).find(|(_, name)| name.len() <= 100)?
    };
    if prefix.len() > 155 || name.is_empty() {
        return None;
    }
    let mut block = [0_u8; BLOCK];
    let mut field = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    field(0, name.as_bytes());
    field(100, format!("{mode:07o}\0").as_bytes());
    field(108, b"0000000\0");
    field(116, b"0000000\0");
    if size < 1 << 33 {
        field(124, format!("{size:011o}\0").as_bytes());
    } else {
        field(124, &[&[0x80, 0, 0, 0], &size.to_be_bytes()[..]].concat());
    }
    field(136, b"00000000000\0");
    field(148, b"        ");
    field(156, b"0");
    field(257, b"ustar\x0000");
    field(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(Bytes::copy_from_slice(&block))
}

/// The size in a header: octal digits, or a number to the base of 256 with the first bit set.
fn size(block: &[u8]) -> Option<u64> {
    let field = block.get(124..136)?;
    if field[0] & 0x80 != 0 {
        return Some(u64::from_be_bytes(field[4..].try_into().ok()?));
    }
    let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(if digits.is_empty() { "0" } else { digits }, 8).ok()
}

/// The size in the records `LENGTH size=NUMBER\n` of an extended header.
fn extended_size(records: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(records);
    text.lines().find_map(|line| line.split_once(" size=")?.1.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_tar_reads_them() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(90));
        for (path, bytes) in [("etc/my.cnf", 5), (long.as_str(), 0), ("large", 1 << 34)] {
            let header = header(path, 0o640, bytes).unwrap();
            assert_eq!(size(&header), Some(bytes));
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("a.tar");
            std::fs::write(&file, [&header[..], &[0; 2 * BLOCK]].concat()).unwrap();
            let listed = std::process::Command::new("tar").arg("-tvf").arg(&file).output().unwrap();
            let text = String::from_utf8_lossy(&listed.stdout).into_owned();
            assert!(
                text.starts_with("-rw-r-----") && text.contains(path),
                "{text}{}",
                String::from_utf8_lossy(&listed.stderr)
            );
        }
        assert!(header(&"x".repeat(101), 0o600, 0).is_none());
    }

    #[test]
    fn extended_headers_may_hold_the_size() {
        assert_eq!(extended_size(b"20 path=a/b\n21 size=8589934593\n\0\0"), Some(8_589_934_593));
        assert_eq!(extended_size(b"20 path=a/b\n"), None);
    }
}
