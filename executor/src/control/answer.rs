//! Replies of the control channel.

use bigdata_common::api::problem::{Problem, ProblemCode};
use bytes::Bytes;
use futures_util::Stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::io;

/// A reply's body: whole or a stream.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// A reply, or the problem in its place.
pub(super) type Answer = Result<Response<Body>, Failure>;

/// A problem that a caller is told.
#[derive(Debug)]
pub(super) struct Failure(Box<Problem>);

impl Failure {
    /// A problem of this kind, with what was wrong this time.
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }

    /// Something that the executor itself could not do.
    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::Internal, detail)
    }

    /// What was wrong this time.
    pub(super) fn detail(self) -> String {
        self.0.detail
    }

    /// As `application/problem+json`.
    pub(super) fn into_response(self) -> Response<Body> {
        let text = serde_json::to_vec(&self.0).unwrap_or_default();
        respond(self.0.status, "application/problem+json", whole(text))
    }
}

/// A JSON document.
pub(super) fn json(document: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(document).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(respond(200, "application/json", whole(text)))
}

/// A reply of this type.
pub(super) fn respond(status: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

/// A body that is there already.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that comes piece by piece, and breaks off at an error.
pub(super) fn streamed_or_broken(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    use futures_util::StreamExt as _;
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// A body that comes piece by piece; dropped when the caller goes away.
pub(super) fn streamed(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    use futures_util::StreamExt as _;
    StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync()
}
