//! What the gateway answers: the cluster's nodes.

use super::frames::Frames;
use super::own::refused;
use super::wire::Answer;
use super::{Reach, over, while_held};
use crate::registry::owner;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::PREFIX;
use bigdata_common::internal::{EXEC_LIMIT_MAX, ExecRequest, RUN_ATTEMPT_HEADER};
use bigdata_common::{Name, frames};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, Response};
use std::time::Duration;

/// How much longer than its command an exec may take.
const EXEC_MARGIN: Duration = Duration::from_secs(30);
/// The longest call: the longest exec, and a little.
const CALL_LIMIT: Duration = EXEC_LIMIT_MAX.saturating_add(EXEC_MARGIN);
/// The longest call that is no exec: a file on its way.
const FILE_LIMIT: Duration = Duration::from_hours(1);
/// An exec up to this size is read for its time limit, in bytes; a longer one has the longest.
const EXEC_READ_MAX: u64 = 1 << 20;

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
    // Nodes do not know attempts: one that was replaced is stopped here.
    if !reach.context.store.is_current(&reach.claim).await.map_err(refused)? {
        return Err(over());
    }
    let dn = reach.claim.cluster.dn();
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{PREFIX}/{dn}/nodes/{node}/{what}{query}");
    let gateway = reach.context.gateway.on_behalf_of(&owner(dn));
    let (parts, body) = request.into_parts();
    let attempt = format!("{}.{}", reach.claim.run.run, reach.claim.run.attempt);
    let mut call = gateway.request(parts.method.clone(), &path).header(RUN_ATTEMPT_HEADER, attempt);
    for header in [CONTENT_TYPE, CONTENT_LENGTH, ACCEPT] {
        if let Some(value) = parts.headers.get(&header) {
            call = call.header(header, value.clone());
        }
    }
    let is_exec = what == "exec";
    let is_framed = parts.headers.get(CONTENT_TYPE).is_some_and(|it| it.as_bytes() == frames::MEDIA_TYPE.as_bytes());
    let mut limit = if is_exec { CALL_LIMIT } else { FILE_LIMIT };
    if is_exec && !is_framed && body.size_hint().upper().is_some_and(|size| size <= EXEC_READ_MAX) {
        let body = body.collect().await.map_err(unreadable)?.to_bytes();
        limit = exec_limit(&body);
        call = call.body(body);
    } else if parts.method != Method::GET {
        call = call.body(reqwest::Body::wrap(while_held(body, reach.hold.clone())));
    }
    let answered = call.timeout(limit).send().await.map_err(|error| {
        ApiError::unavailable("the gateway does not answer, so that no node can be reached; try again", error)
    })?;
    let (parts, body) = Response::<reqwest::Body>::from(answered).into_parts();
    let body = while_held(body, reach.hold.clone());
    let body = match is_exec && parts.status.is_success() {
        true => Frames::new(body, is_framed).into_body().boxed_unsync(),
        false => body.boxed_unsync(),
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = parts.status;
    let kept = [CONTENT_TYPE, RETRY_AFTER].into_iter().chain((!is_exec).then_some(CONTENT_LENGTH));
    for header in kept {
        if let Some(value) = parts.headers.get(&header) {
            answer.headers_mut().insert(header, value.clone());
        }
    }
    Ok(answer)
}

fn unreadable(error: hyper::Error) -> ApiError {
    let detail = format!("the body cannot be read: {error}");
    ApiError::new(bigdata_common::api::problem::ProblemCode::MalformedBody, detail)
}

/// How long an exec may take: what its command may, which the node itself sees to, and a margin.
fn exec_limit(body: &[u8]) -> Duration {
    // What cannot be read is refused by the node.
    let asked =
        serde_json::from_slice::<ExecRequest>(body).map_or(Duration::ZERO, |it| Duration::from_millis(it.timeout_ms));
    asked.saturating_add(EXEC_MARGIN).min(CALL_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exec_takes_no_longer_than_its_command_may() {
        let seconds = |body: &str| exec_limit(body.as_bytes()).as_secs();
        assert_eq!(seconds(r#"{"command":["id"],"timeout_ms":5000}"#), 35);
        assert_eq!(seconds(r#"{"command":["id"]}"#), 330);
        assert_eq!(seconds(r#"{"command":["id"],"timeout_ms":86400000}"#), 86430);
        assert_eq!(seconds(r#"{"command":["id"],"timeout_ms":18446744073709551615}"#), 86430);
        assert_eq!(seconds("nonsense"), 30);
    }
}
