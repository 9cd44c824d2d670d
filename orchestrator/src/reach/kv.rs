//! The older system's keys: Consul's key-value interface for the run's own cluster, to be read, and to tell progress by.

use super::own::{material, slow_down, tell_progress};
use super::wire::{Answer, answer as whole, bytes};
use super::{Reach, over};
use crate::document::document;
use crate::keys::{self, Indexed, Query, Refused, Write, decoded, keys, writing};
use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::ProblemCode;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep_until};

/// What the keys' addresses begin with.
const PREFIX: &str = "v1/kv";
/// How old what is answered may be: older clients ask for every key by itself.
const AGE_MAX: Duration = Duration::from_secs(1);
/// The longest answer, in bytes.
const ANSWER_MAX: usize = 16 << 20;
/// The header that names the index to wait at.
const INDEX_HEADER: &str = "x-consul-index";

/// What was seen of the cluster last.
#[derive(Default)]
pub(super) struct Seen {
    indexed: Indexed,
    looked_at: Option<Instant>,
    /// What the script has written that the platform has no value of its own for.
    told: BTreeMap<String, String>,
}

/// The token and the key in an address that holds both: `/run/TOKEN/v1/kv/KEY`.
pub(super) fn address(path: &str) -> Option<(&str, &str)> {
    let (token, rest) = path.strip_prefix("/run/")?.split_once('/')?;
    Some((token, below_prefix(rest)?))
}

/// The key in an address without a token: `/v1/kv/KEY`.
pub(super) fn key(path: &str) -> Option<&str> {
    below_prefix(path.strip_prefix('/')?)
}

/// What comes after the prefix, as it was sent.
fn below_prefix(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(PREFIX)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// The value of `REGISTRY`: the interface's address for whoever knows nothing but an address.
pub(super) fn base(door: &str, token: &str) -> String {
    format!("{door}/run/{token}/{PREFIX}")
}

/// Answers a request for `key`.
pub(super) async fn answer(reach: &Reach, key: &str, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let key = decoded(key).ok_or_else(|| wrong("the key is not encoded as it should be".to_owned()))?;
    let key = key.trim_start_matches('/');
    match *request.method() {
        Method::GET => get(reach, key, request.uri().query().unwrap_or_default()).await,
        Method::PUT => put(reach, key, request).await,
        Method::DELETE => {
            Err(not_allowed(reach, format!("{key} cannot be removed: these keys are the platform's")).await)
        }
        _ => Err(ApiError::new(ProblemCode::MethodNotAllowed, "keys have GET and PUT".to_owned())),
    }
}

/// A read. One that waits is answered when what it reads has changed, or its time is over.
async fn get(reach: &Reach, key: &str, query: &str) -> Result<Answer, ApiError> {
    let query = Query::read(query).map_err(wrong)?;
    if key.is_empty() && !query.is_of_many() {
        return Err(wrong("a key is missing; ?recurse and ?keys alone go without".to_owned()));
    }
    let until = Instant::now() + query.wait;
    let (seen, index) = loop {
        let seen = look(reach).await?;
        let index = keys::index_of(&seen.indexed, key, &query.form);
        if query.index != Some(index) || Instant::now() >= until {
            break (seen, index);
        }
        drop(seen);
        sleep_until(until.min(Instant::now() + AGE_MAX)).await;
        if !reach.hold.is_good() {
            return Err(over());
        }
    };
    let found = keys::answer(&seen.indexed, key, &query.form).map_err(ApiError::internal)?;
    let (status, kind, body) = match found {
        keys::Answer::Json(body) => (StatusCode::OK, "application/json", body),
        keys::Answer::Raw(text) => (StatusCode::OK, "text/plain; charset=utf-8", text.into_bytes()),
        keys::Answer::Missing => (StatusCode::NOT_FOUND, "", Vec::new()),
    };
    if body.len() > ANSWER_MAX {
        let detail =
            format!("the answer has {} bytes, and at most {ANSWER_MAX} are given: ask for a part of it", body.len());
        return Err(wrong(detail));
    }
    let mut answer = whole(status, kind, body);
    answer.headers_mut().insert(INDEX_HEADER, index.into());
    Ok(answer)
}

/// The keys as they are now, or were a moment ago. One look serves all who wait for it.
async fn look(reach: &Reach) -> Result<MutexGuard<'_, Seen>, ApiError> {
    let mut seen = reach.keys.lock().await;
    if seen.looked_at.is_none_or(|at| at.elapsed() >= AGE_MAX) {
        let material = material(reach).await?;
        let keys = keys(&material, &document(&material, &[]), &seen.told);
        seen.indexed.renew(keys);
        seen.looked_at = Some(Instant::now());
    }
    Ok(seen)
}

/// A write: told to users where it says how far the script is, and refused otherwise.
async fn put(reach: &Reach, key: &str, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let has_parameters = request.uri().query().is_some_and(|query| !query.is_empty());
    // Whoever is refused before all was taken in may find a broken connection, and no answer.
    let body = bytes(request).await?;
    if has_parameters {
        return Err(wrong("a write has no parameters: locks, flags and checks are not kept".to_owned()));
    }
    let value = std::str::from_utf8(&body).map_err(|_| wrong(format!("the value of {key} is not UTF-8")))?;
    let written = writing(reach.claim.cluster.dn(), &look(reach).await?.indexed.entries, key, value);
    let is_kept = match written {
        Ok(Write::Progress(percent)) => {
            tell_progress(reach, percent, "").await?;
            true
        }
        Ok(Write::Note { what, is_kept }) => {
            slow_down(reach).await;
            reach.log.platform_line(reach.mask.text(&format!("the script says: {what}"))).await;
            is_kept
        }
        Err(Refused::Value(words)) => return Err(wrong(words)),
        Err(Refused::Key(words)) => return Err(not_allowed(reach, words).await),
    };
    if is_kept {
        let mut seen = reach.keys.lock().await;
        seen.told.insert(key.to_owned(), value.trim().to_owned());
        seen.looked_at = None;
    }
    Ok(whole(StatusCode::OK, "application/json", b"true".to_vec()))
}

fn wrong(detail: String) -> ApiError {
    ApiError::new(ProblemCode::InvalidField, detail)
}

/// A refusal, in the run's log too: older clients tell nothing of an answer but its status.
async fn not_allowed(reach: &Reach, words: String) -> ApiError {
    slow_down(reach).await;
    reach.log.platform_line(reach.mask.text(&words)).await;
    ApiError::new(ProblemCode::Forbidden, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address("/run/abc/v1/kv/clusters/a"), Some(("abc", "clusters/a")));
        assert_eq!(address("/run/abc/v1/kv/"), Some(("abc", "")));
        assert_eq!(address("/run/abc/v1/kv"), Some(("abc", "")));
        for path in ["/run/abc/v1/kvs/a", "/run/abc/v1/cluster", "/run/abc", "/v1/kv/a", "/run//x/v1/kv/a"] {
            assert_eq!(address(path), None, "{path}");
        }
        assert_eq!(key("/v1/kv/a%2Fb"), Some("a%2Fb"));
        assert_eq!(key("/v1/kvs"), None);
    }
}
