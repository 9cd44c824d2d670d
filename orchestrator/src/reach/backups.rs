//! `POST /v1/backups` and `GET /v1/backups/{id}`: backups' bytes, from and to the script.

use super::own::refused;
use super::wire::{Answer, BodyError, json};
use super::{Reach, while_held};
use crate::backups::{Place, PlaceError, Upload, discard};
use bigdata_chassis::http::{ApiError, ClientError};
use bigdata_common::BackupId;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::internal::Backup;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::{Request, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::fmt::Write;

/// The longest label, in bytes.
const LABEL_MAX: usize = 200;

fn place(reach: &Reach) -> Result<&Place, ApiError> {
    reach.context.backups.as_ref().ok_or_else(|| {
        let detail = "this platform has no store for backups: its operator sets orchestrator.backups_url to a directory \
                      that every replica sees, or to s3://BUCKET/PREFIX";
        ApiError::new(ProblemCode::ServiceUnavailable, detail)
    })
}

/// Takes a backup in. It is one when this has answered, and not before.
pub(super) async fn put(reach: &Reach, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let place = place(reach)?;
    let label = label(reach, request.uri().query().unwrap_or_default())?;
    let id = BackupId(uuid::Uuid::now_v7());
    let mut upload = place.begin(id).await.map_err(|error| not_stored(&error))?;
    let name = upload.name().to_owned();
    // From here on whatever is left of the upload goes, where this future is dropped, too.
    let begun = Begun { reach, place, id };
    reach.context.store.backup_comes(&reach.claim, id, &name).await.map_err(refused)?;
    let body = while_held(request.into_body(), reach.hold.clone());
    let (size, sha256) = take_in(&mut upload, body).await?;
    if size == 0 {
        let detail = "the stream is empty, so that no backup is stored: what should write it has probably failed";
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    upload.complete().await.map_err(|error| not_stored(&error))?;
    let (cluster, operation) = (reach.claim.cluster.clone(), reach.claim.run.operation);
    let at = reach.context.store.clock.now();
    let backup = Backup { id, cluster, operation, label, size, sha256, at };
    reach.context.store.backup_is_stored(&reach.claim, &backup).await.map_err(refused)?;
    std::mem::forget(begun);
    reach.log.platform_line(format!("backup {id}: {size} bytes, sha256 {}", backup.sha256)).await;
    json(&json!({ "id": id, "size": size, "sha256": backup.sha256 }))
}

/// An upload that is not completed: dropping this removes what there is of it.
struct Begun<'a> {
    reach: &'a Reach,
    place: &'a Place,
    id: BackupId,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let (context, place, id) = (self.reach.context.clone(), self.place.clone(), self.id);
        self.reach.context.tasks.spawn("removal of an upload", async move {
            if let Err(error) = discard(&context, &place, id).await {
                tracing::warn!(backup.id = %id, error = &error as &dyn Error, "an upload's rest is left for the timer");
            }
        });
    }
}

/// Sends the body on part by part; its size and checksum.
async fn take_in(
    upload: &mut Upload,
    body: impl Body<Data = Bytes, Error = BodyError>,
) -> Result<(u64, String), ApiError> {
    let mut body = std::pin::pin!(body);
    let (mut part, mut size, mut sum) = (BytesMut::new(), 0, Sha256::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::new(
                ProblemCode::MalformedBody,
                format!("the stream broke off, so that no backup is stored: {error}"),
            )
        })?;
        let Ok(mut piece) = frame.into_data() else { continue };
        size += piece.len() as u64;
        sum.update(&piece);
        while !piece.is_empty() {
            let wanted = upload.part_size() - part.len();
            part.extend_from_slice(&piece.split_to(wanted.min(piece.len())));
            if part.len() == upload.part_size() {
                upload.put(part.split().freeze()).await.map_err(|error| not_stored(&error))?;
            }
        }
    }
    if !part.is_empty() {
        upload.put(part.freeze()).await.map_err(|error| not_stored(&error))?;
    }
    Ok((size, hexadecimal(&sum.finalize())))
}

fn not_stored(error: &PlaceError) -> ApiError {
    // The innermost cause says it (`No space left on device`); what is around it names paths.
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    tracing::error!(error = error as &dyn Error, "the store for backups");
    let detail = format!("the store for backups does not do its work: {}", message(&cause.to_string()));
    ApiError::new(ProblemCode::ServiceUnavailable, detail)
}

/// What a bucket's answer says to people, which stands in XML.
fn message(text: &str) -> &str {
    let inner = text.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    inner.map_or(text, |(message, _)| message)
}

fn label(reach: &Reach, query: &str) -> Result<String, ApiError> {
    let wrong = |detail: &str| ApiError::new(ProblemCode::InvalidField, detail);
    let url = reqwest::Url::parse(&format!("http://run/?{query}")).map_err(|_| wrong("the query is none"))?;
    let mut label = String::new();
    for (name, value) in url.query_pairs() {
        match &*name {
            "label" => label = value.into_owned(),
            _ => return Err(wrong("the query has label alone")),
        }
    }
    if label.len() > LABEL_MAX || label.chars().any(char::is_control) {
        return Err(wrong("a label has at most 200 bytes, and no control characters"));
    }
    Ok(reach.mask.text(&label))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Gives a backup that the cluster's owner may have; the stream breaks off where it is not what was stored.
pub(super) async fn get(reach: &Reach, id: &str) -> Result<Answer, ApiError> {
    let place = place(reach)?;
    let unknown =
        || ApiError::new(ProblemCode::UnknownBackup, format!("there is no backup {id} of this cluster's owner"));
    let id: BackupId = id.parse().map_err(|_| unknown())?;
    let backup = reach.context.registry.backup(id, &reach.claim.cluster).await.map_err(|error| match error {
        ClientError::Problem(problem) => ApiError::from(*problem),
        error => ApiError::unavailable("the registry does not answer; try again", error),
    })?;
    let (size, pieces) = place.read(id).await.map_err(|error| match error.is_missing() {
        true => {
            let detail = format!("the bytes of the backup {id} are gone from the store, and not by this platform");
            ApiError::new(ProblemCode::UnknownBackup, detail)
        }
        false => not_stored(&error),
    })?;
    let checked = Checked { sum: Sha256::new(), left: size, backup };
    let pieces = pieces.map_err(BodyError::from).scan(Some(checked), |checked, piece| {
        let result = match (checked.as_mut(), piece) {
            (None, _) => return futures_util::future::ready(None),
            (Some(state), Ok(piece)) => state.pass(piece),
            (Some(_), Err(error)) => Err(error),
        };
        if result.is_err() {
            *checked = None;
        }
        futures_util::future::ready(Some(result))
    });
    let body = StreamBody::new(pieces.map(|piece| piece.map(Frame::data)));
    let mut answer = Response::new(while_held(body, reach.hold.clone()).boxed_unsync());
    answer.headers_mut().insert(CONTENT_LENGTH, size.into());
    Ok(answer)
}

/// A backup on its way out. Its last piece passes only where all of them are what was stored.
struct Checked {
    sum: Sha256,
    left: u64,
    backup: Backup,
}

impl Checked {
    fn pass(&mut self, piece: Bytes) -> Result<Bytes, BodyError> {
        self.sum.update(&piece);
        self.left = self.left.saturating_sub(piece.len() as u64);
        if self.left == 0 && hexadecimal(&self.sum.clone().finalize()) != self.backup.sha256 {
            tracing::error!(backup.id = %self.backup.id, "a backup is not what was stored");
            return Err("the backup's bytes are not those that were stored: its SHA-256 differs".into());
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_buckets_answer_reads_well() {
        let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message><Key>a</Key></Error>";
        assert_eq!(super::message(denied), "Access Denied.");
        assert_eq!(super::message("No space left on device"), "No space left on device");
    }
}
