//! `GET /v1/logs`: the workload's output, from an offset or its last lines, and on as it comes.

use super::answer::{Answer, Failure, respond, streamed};
use super::query::Query;
use crate::logs::Stream;
use crate::node::{Fixture, Observation};
use bigdata_common::api::problem::ProblemCode;
use bytes::Bytes;
use futures_util::stream;
use hyper::header::HeaderValue;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::watch;

/// The offset of the first byte of the reply.
const OFFSET_HEADER: &str = "bigdata-offset";

struct Reader {
    stream: Arc<Stream>,
    grown: watch::Receiver<u64>,
    node: watch::Receiver<Observation>,
    offset: u64,
    /// Where it ends; None: with the node.
    until: Option<u64>,
}

/// Sends a stream: `stream=stdout|stderr`, `tail=LINES` or `from=OFFSET` (else all that is kept), `follow=true`.
pub(super) fn log(fixture: &Rc<Fixture>, node: watch::Receiver<Observation>, query: &Query) -> Answer {
    let stream = match query.get("stream") {
        None | Some("stdout") => &fixture.stdout,
        Some("stderr") => &fixture.stderr,
        Some(other) => {
            return Err(Failure::new(ProblemCode::InvalidPath, format!("stream is stdout or stderr, not {other:?}")));
        }
    };
    let stream = Arc::clone(stream);
    let read = |result: std::io::Result<u64>| result.map_err(|error| Failure::internal(error.to_string()));
    let wanted = match (query.read::<usize>("tail")?, query.read::<u64>("from")?) {
        (Some(lines), _) => read(stream.tail(lines))?,
        (None, from) => from.unwrap_or(0),
    };
    let (offset, _) = stream.read(wanted).map_err(|error| Failure::internal(error.to_string()))?;
    let grown = stream.follow();
    let until = (!query.read("follow")?.unwrap_or(false)).then(|| stream.end());
    let reader = Reader { stream, grown, node, offset, until };
    let pieces = stream::unfold(reader, |mut reader| async move { Some((reader.next().await?, reader)) });
    let mut response = respond(200, "text/plain; charset=utf-8", streamed(pieces));
    response.headers_mut().insert(OFFSET_HEADER, HeaderValue::from(offset));
    Ok(response)
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.until.is_some_and(|until| self.offset >= until) {
                return None;
            }
            self.grown.mark_unchanged();
            let (at, bytes) = self.stream.read(self.offset).ok()?;
            if !bytes.is_empty() {
                self.offset = at + bytes.len() as u64;
                return Some(Bytes::from(bytes));
            }
            if self.until.is_some() || self.node.borrow().end.is_some() {
                return None;
            }
            tokio::select! {
                grown = self.grown.changed() => grown.ok()?,
                // A node that has ended writes nothing more: one last look, then the end.
                ended = self.node.wait_for(|seen| seen.end.is_some()) => { ended.ok()?; }
            }
        }
    }
}
