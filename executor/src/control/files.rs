//! `GET` and `PUT /v1/files`: files of the node, written whole or not at all.

use super::answer::{Answer, Failure, json, respond, streamed_or_broken};
use super::frames::{self, Frames};
use super::query::Query;
use crate::container::{ArchiveError, Contained, Spool, is_inside};
use crate::folder::{Confined, PathError};
use crate::node::Fixture;
use bigdata_common::api::problem::ProblemCode;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::http::request::Parts;
use std::io;
use std::path::PathBuf;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Take};

/// The longest file that comes as it stands; as frames it may be of any size.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The longest file whose late values are filled in.
const LATE_BYTES_MAX: usize = 4 << 20;
/// The most of a file that is read at a time.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Sends a file, as long as it is now.
pub(super) async fn get(fixture: &Fixture, query: &Query) -> Answer {
    let (size, pieces) = match place(fixture, query)? {
        Place::Here(place) => {
            let file = File::from_std(place.open().map_err(refused)?);
            let size = file.metadata().await.map_err(internal)?.len();
            let pieces = stream::try_unfold(file.take(size), |mut file: Take<File>| async move {
                let mut piece = Vec::with_capacity(PIECE_BYTES_MAX);
                while piece.len() < PIECE_BYTES_MAX && file.read_buf(&mut piece).await? > 0 {}
                Ok::<_, io::Error>((!piece.is_empty()).then_some((Bytes::from(piece), file)))
            });
            (size, pieces.boxed())
        }
        Place::Inside(path) => {
            let found = fixture.runtime.get(&fixture.surroundings, path).await;
            let Contained { size, pieces } = found.map_err(|error| not_inside(path, &error))?;
            (size, pieces)
        }
    };
    let mut reply = respond(200, "application/octet-stream", streamed_or_broken(pieces));
    // A file that is cut meanwhile breaks the reply off: it must not look like a whole one.
    reply.headers_mut().insert(CONTENT_LENGTH, size.into());
    Ok(reply)
}

/// Takes a file.
pub(super) async fn put(fixture: &Fixture, query: &Query, head: &Parts, body: &mut Option<Incoming>) -> Answer {
    let place = place(fixture, query)?;
    let mode = query.get("mode").map_or(Some(0o600), octal).ok_or_else(|| {
        Failure::new(ProblemCode::InvalidPath, "mode in the query is three or four octal digits, such as 0644")
    })?;
    let late = query.read("late")?.unwrap_or(false);
    let mut content = Content::of(head, body)?;
    let filled = if late { Some(fill(fixture, &content.whole().await?)?) } else { None };
    let owner = fixture.surroundings.owner;
    let (path, bytes) = match (place, filled) {
        (Place::Here(place), Some(filled)) => {
            place.write(filled.as_bytes(), mode, owner).map_err(refused)?;
            (place.path(), filled.len() as u64)
        }
        (Place::Here(place), None) => {
            let mut replacement = place.replace(mode, owner).map_err(refused)?;
            let bytes = receive(replacement.file(), &mut content).await?;
            replacement.finish().map_err(refused)?;
            (place.path(), bytes)
        }
        (Place::Inside(path), filled) => {
            let spool = Spool::write(&fixture.surroundings, filled.as_deref().unwrap_or_default().as_bytes());
            let (spool, mut file) = spool.map_err(internal)?;
            let bytes = match &filled {
                Some(filled) => filled.len() as u64,
                None => receive(&mut file, &mut content).await?,
            };
            let put = fixture.runtime.put(&fixture.surroundings, path, mode, &spool.0).await;
            put.map_err(|error| not_inside(path, &error))?;
            (PathBuf::from(path), bytes)
        }
    };
    json(&serde_json::json!({ "status": "written", "path": path, "bytes": bytes }))
}

fn fill(fixture: &Fixture, content: &[u8]) -> Result<String, Failure> {
    let text = std::str::from_utf8(content)
        .map_err(|_| Failure::new(ProblemCode::MalformedBody, "a file with late values is UTF-8"))?;
    let filled = fixture.surroundings.values().fill(text);
    filled.map_err(|error| Failure::new(ProblemCode::InvalidField, error.to_string()))
}

/// A file as it comes.
enum Content<'a> {
    /// As it stands, up to a limit.
    Plain(&'a mut Incoming),
    /// As frames, of any size.
    Framed(Frames),
}

impl<'a> Content<'a> {
    fn of(head: &Parts, body: &'a mut Option<Incoming>) -> Result<Self, Failure> {
        if frames::are_in(head) {
            return body.take().map(|body| Self::Framed(Frames::of(body))).ok_or_else(no_body);
        }
        let body = body.as_mut().ok_or_else(no_body)?;
        if body.size_hint().lower() > FILE_BYTES_MAX {
            return Err(too_large(FILE_BYTES_MAX));
        }
        Ok(Self::Plain(body))
    }

    /// The next piece; None at its end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Framed(frames) => Ok(frames.input().await?.map(Bytes::from)),
            Self::Plain(body) => loop {
                let Some(frame) = body.frame().await else { return Ok(None) };
                let frame = frame.map_err(|error| Failure::new(ProblemCode::MalformedBody, error.to_string()))?;
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            },
        }
    }

    fn limit(&self) -> u64 {
        match self {
            Self::Plain(_) => FILE_BYTES_MAX,
            Self::Framed(_) => u64::MAX,
        }
    }

    async fn whole(&mut self) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        while let Some(piece) = self.next().await? {
            content.extend_from_slice(&piece);
            if content.len() > LATE_BYTES_MAX {
                return Err(too_large(LATE_BYTES_MAX as u64));
            }
        }
        Ok(content)
    }
}

/// Writes beside the file, off this thread: storage may be slow, and the node's checks must not wait for it.
async fn receive(file: &mut std::fs::File, content: &mut Content<'_>) -> Result<u64, Failure> {
    let mut file = File::from_std(file.try_clone().map_err(internal)?);
    let (mut bytes, limit) = (0, content.limit());
    while let Some(piece) = content.next().await? {
        bytes += piece.len() as u64;
        if bytes > limit {
            return Err(too_large(limit));
        }
        file.write_all(&piece).await.map_err(internal)?;
    }
    file.flush().await.map_err(internal)?;
    Ok(bytes)
}

/// A request's whole body, of at most `limit` bytes.
pub(super) async fn collect(body: &mut Option<Incoming>, limit: usize) -> Result<Bytes, Failure> {
    match Limited::new(body.as_mut().ok_or_else(no_body)?, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large(limit as u64)),
        Err(error) => Err(Failure::new(ProblemCode::MalformedBody, error.to_string())),
    }
}

/// Where a file is.
enum Place<'a> {
    /// In the node's folder, or on one of its disks.
    Here(Confined),
    /// In the file system of its container.
    Inside(&'a str),
}

fn place<'a>(fixture: &Fixture, query: &'a Query) -> Result<Place<'a>, Failure> {
    let path =
        query.get("path").ok_or_else(|| Failure::new(ProblemCode::InvalidPath, "path is missing in the query"))?;
    match fixture.surroundings.folder.locate(path) {
        Ok(place) => Ok(Place::Here(place)),
        Err(_) if fixture.surroundings.folder.view.is_some() && is_inside(path) => Ok(Place::Inside(path)),
        Err(error) => Err(refused(error)),
    }
}

fn not_inside(path: &str, error: &ArchiveError) -> Failure {
    let code = match error {
        ArchiveError::Missing => ProblemCode::UnknownRoute,
        ArchiveError::Outside | ArchiveError::Refused(_) => ProblemCode::WrongStatus,
    };
    Failure::new(code, format!("{path:?}: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn internal(error: io::Error) -> Failure {
    Failure::internal(error.to_string())
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && text.len() <= 4)
}

fn no_body() -> Failure {
    Failure::internal("the body is read already")
}

fn too_large(limit: u64) -> Failure {
    Failure::new(ProblemCode::BodyTooLarge, format!("at most {limit} bytes are taken"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn refused(error: PathError) -> Failure {
    match error {
        PathError::Outside(_) => Failure::new(ProblemCode::InvalidPath, error.to_string()),
        PathError::Missing(_) => Failure::new(ProblemCode::UnknownRoute, error.to_string()),
        PathError::System { ref source, .. } => Failure::new(ProblemCode::WrongStatus, format!("{error}: {source}")),
    }
}
