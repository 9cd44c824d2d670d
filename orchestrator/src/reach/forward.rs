//! What the gateway answers: the cluster's nodes.

use super::Reach;
use super::wire::{Answer, BodyError};
use crate::registry::owner;
use bigdata_chassis::http::ApiError;
use bigdata_common::Name;
use bigdata_common::api::PREFIX;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, Response};
use std::time::Duration;

/// The longest call: an exec of an hour, and a little.
const CALL_LIMIT: Duration = Duration::from_secs(3700);

/// Whether a node has this.
pub(super) fn is_known(method: &Method, what: &str) -> bool {
    match *method {
        Method::POST => matches!(what, "exec" | "start" | "stop" | "restart"),
        Method::PUT => what == "files",
        Method::GET => matches!(what, "files" | "health" | "logs" | "stats"),
        _ => false,
    }
}

/// Forwards a request about a node of the run's own cluster, on behalf of its owner; both bodies go piece by piece.
pub(super) async fn node(
    reach: &Reach,
    node: &Name,
    what: &str,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let dn = reach.claim.cluster.dn();
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{PREFIX}/{dn}/nodes/{node}/{what}{query}");
    let gateway = reach.context.gateway.on_behalf_of(&owner(dn));
    let (parts, body) = request.into_parts();
    let mut call = gateway.request(parts.method.clone(), &path).timeout(CALL_LIMIT);
    for header in [CONTENT_TYPE, CONTENT_LENGTH, hyper::header::ACCEPT] {
        if let Some(value) = parts.headers.get(&header) {
            call = call.header(header, value.clone());
        }
    }
    if parts.method != Method::GET {
        call = call.body(reqwest::Body::wrap(body));
    }
    let answered = call.send().await.map_err(|error| {
        ApiError::unavailable("the gateway does not answer, so that no node can be reached; try again", error)
    })?;
    let (parts, body) = Response::<reqwest::Body>::from(answered).into_parts();
    let mut answer = Response::new(body.map_err(|error| Box::new(error) as BodyError).boxed_unsync());
    *answer.status_mut() = parts.status;
    for header in [CONTENT_TYPE, CONTENT_LENGTH, RETRY_AFTER] {
        if let Some(value) = parts.headers.get(&header) {
            answer.headers_mut().insert(header, value.clone());
        }
    }
    Ok(answer)
}
