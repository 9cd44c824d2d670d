//! `GET` and `PUT /v1/files`: files of the node, written whole or not at all.

use super::answer::{Answer, Failure, json, respond, streamed};
use super::query::Query;
use crate::folder::{Confined, PathError};
use crate::node::Fixture;
use bigdata_common::api::problem::ProblemCode;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Incoming};
use std::fs::File;
use std::io::{Read, Write};

/// The longest file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The longest file whose late values are filled in.
const LATE_BYTES_MAX: usize = 4 << 20;
/// The most of a file that is read at a time.
const PIECE_BYTES_MAX: u64 = 16 << 10;

/// Sends a file.
pub(super) fn get(fixture: &Fixture, query: &Query) -> Answer {
    let file = place(fixture, query)?.open().map_err(refused)?;
    let pieces = stream::unfold(file, |mut file: File| async move {
        let mut piece = Vec::new();
        match Read::by_ref(&mut file).take(PIECE_BYTES_MAX).read_to_end(&mut piece) {
            Ok(1..) => Some((Bytes::from(piece), file)),
            Ok(0) | Err(_) => None,
        }
    });
    Ok(respond(200, "application/octet-stream", streamed(pieces)))
}

/// Takes a file.
pub(super) async fn put(fixture: &Fixture, query: &Query, body: &mut Incoming) -> Answer {
    let place = place(fixture, query)?;
    let mode = query.get("mode").map_or(Some(0o600), octal).ok_or_else(|| {
        Failure::new(ProblemCode::InvalidPath, "mode in the query is three or four octal digits, such as 0644")
    })?;
    let owner = fixture.surroundings.owner;
    let bytes = if query.read("late")?.unwrap_or(false) {
        let content = collect(body, LATE_BYTES_MAX).await?;
        let text = std::str::from_utf8(&content)
            .map_err(|_| Failure::new(ProblemCode::MalformedBody, "a file with late values is UTF-8"))?;
        let filled = fixture.surroundings.values().fill(text);
        let filled = filled.map_err(|error| Failure::new(ProblemCode::InvalidField, error.to_string()))?;
        place.write(filled.as_bytes(), mode, owner).map_err(refused)?;
        filled.len() as u64
    } else {
        if body.size_hint().lower() > FILE_BYTES_MAX {
            return Err(too_large(FILE_BYTES_MAX));
        }
        receive(&place, mode, fixture, body).await?
    };
    json(&serde_json::json!({ "status": "written", "path": place.path(), "bytes": bytes }))
}

async fn receive(place: &Confined, mode: u32, fixture: &Fixture, body: &mut Incoming) -> Result<u64, Failure> {
    let mut replacement = place.replace(mode, fixture.surroundings.owner).map_err(refused)?;
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::new(ProblemCode::MalformedBody, error.to_string()))?;
        let Ok(piece) = frame.into_data() else { continue };
        bytes += piece.len() as u64;
        if bytes > FILE_BYTES_MAX {
            return Err(too_large(FILE_BYTES_MAX));
        }
        replacement.file().write_all(&piece).map_err(|error| Failure::internal(error.to_string()))?;
    }
    replacement.finish().map_err(refused)?;
    Ok(bytes)
}

/// A request's whole body, of at most `limit` bytes.
pub(super) async fn collect(body: &mut Incoming, limit: usize) -> Result<Bytes, Failure> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large(limit as u64)),
        Err(error) => Err(Failure::new(ProblemCode::MalformedBody, error.to_string())),
    }
}

fn place(fixture: &Fixture, query: &Query) -> Result<Confined, Failure> {
    let path =
        query.get("path").ok_or_else(|| Failure::new(ProblemCode::InvalidPath, "path is missing in the query"))?;
    fixture.surroundings.folder.locate(path).map_err(refused)
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && text.len() <= 4)
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
