//! Bodies of requests and answers on a script's socket.

use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::ProblemCode;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The greatest body that is read whole, in bytes.
const BODY_MAX: usize = 256 << 10;

/// Any error of a body.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// An answer.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, BodyError>>;

/// Reads a JSON body.
pub(super) async fn json_body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, ApiError> {
    bigdata_chassis::http::json::body(&bytes(request).await?)
}

/// Reads a body whole.
pub(super) async fn bytes(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await.map_err(|error| {
        ApiError::new(
            ProblemCode::BodyTooLarge,
            format!("the body cannot be read: {error}; at most {BODY_MAX} bytes are"),
        )
    })?;
    Ok(body.to_bytes())
}

/// 200 with JSON.
pub(super) fn json(value: &impl Serialize) -> Result<Answer, ApiError> {
    let bytes = serde_json::to_vec(value).map_err(ApiError::internal)?;
    Ok(answer(StatusCode::OK, "application/json", bytes))
}

/// 204.
pub(super) fn nothing() -> Answer {
    answer(StatusCode::NO_CONTENT, "", Vec::new())
}

/// An error.
pub(super) fn problem(error: &ApiError) -> Answer {
    let problem = error.problem();
    if problem.status >= 500 {
        tracing::warn!(?error, "a script's request failed");
    }
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(status, "application/problem+json", serde_json::to_vec(problem).unwrap_or_default())
}

/// An answer of this status, media type and body.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    if !kind.is_empty() {
        answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    }
    answer
}
