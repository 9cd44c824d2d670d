//! Enrolment at the framework: who this node is, for the token that came with the task.

use bigdata_common::internal::{EnrolRequest, NodeSpecification};
use bigdata_mesos::client::Backoff;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// One try.
const TRY_LIMIT: Duration = Duration::from_secs(15);
/// How long a framework may take to accept a connection, where others may be asked meanwhile.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// The first wait between two rounds.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between two rounds.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Why a node is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The framework refuses it, in its own words: trying again is of no use.
    #[error("{0}")]
    Refused(String),
    /// It could not be reached, or could not answer, for as long as was allowed.
    #[error("tried for {} s, the last time: {last}", waited.as_secs())]
    Unreachable {
        /// How long it was tried.
        waited: Duration,
        /// What went wrong in the last try.
        last: String,
    },
    /// The task names no framework.
    #[error("the task's data names no framework to enrol at")]
    Nowhere,
    /// No client for HTTP.
    #[error("no client for HTTP")]
    Client(#[source] reqwest::Error),
}

enum Failure {
    ForGood(String),
    ForNow(String),
}

/// The fields of a problem that matter here.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Enrols, trying for at most `patience`. `frameworks` holds the base URLs of all replicas, separated by commas: whichever
/// leads takes the node in, and the others answer 503.
///
/// # Errors
/// When the framework refuses (4xx), or cannot be reached for so long.
pub(super) async fn enrol(
    frameworks: &str,
    request: &EnrolRequest,
    patience: Duration,
) -> Result<NodeSpecification, EnrolError> {
    // Made here and dropped at the end: nothing else of this process calls the framework.
    let client = reqwest::Client::builder()
        .timeout(TRY_LIMIT)
        .connect_timeout(CONNECT_LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .map_err(EnrolError::Client)?;
    let frameworks = list(frameworks);
    if frameworks.is_empty() {
        return Err(EnrolError::Nowhere);
    }
    let (begun, mut backoff) = (Instant::now(), Backoff::new(WAIT_FIRST, WAIT_MAX));
    loop {
        let mut reasons = Vec::new();
        for framework in &frameworks {
            let address = format!("{framework}/internal/v1/nodes/enrol");
            match try_once(&client, &address, request).await {
                Ok(node) => return Ok(node),
                Err(Failure::ForGood(reason)) => return Err(EnrolError::Refused(reason)),
                Err(Failure::ForNow(reason)) => reasons.push((*framework, reason)),
            }
            let waited = begun.elapsed();
            if waited >= patience {
                return Err(EnrolError::Unreachable { waited, last: in_words(&reasons) });
            }
        }
        tracing::info!(reason = in_words(&reasons), "enrolment is tried again");
        sleep(backoff.delay()).await;
    }
}

/// The base URLs of a list that is separated by commas.
pub(crate) fn list(frameworks: &str) -> Vec<&str> {
    frameworks.split(',').map(|url| url.trim().trim_end_matches('/')).filter(|url| !url.is_empty()).collect()
}

/// Why a round came to nothing. Who is meant needs saying only where there are several.
fn in_words(reasons: &[(&str, String)]) -> String {
    match reasons {
        [(_, reason)] => reason.clone(),
        several => several.iter().map(|(url, reason)| format!("{url}: {reason}")).collect::<Vec<_>>().join("; "),
    }
}

async fn try_once(
    client: &reqwest::Client,
    address: &str,
    request: &EnrolRequest,
) -> Result<NodeSpecification, Failure> {
    let for_now = |error: reqwest::Error| Failure::ForNow(crate::chain(&error.without_url()));
    let response = client.post(address).json(request).send().await.map_err(for_now)?;
    let status = response.status();
    let body = response.bytes().await.map_err(for_now)?;
    if !status.is_success() {
        let detail =
            serde_json::from_slice(&body).map_or_else(|_| status.to_string(), |problem: Problem| problem.detail);
        return Err(match status.as_u16() {
            408 | 425 | 429 => Failure::ForNow(detail),
            400..=499 => Failure::ForGood(detail),
            _ => Failure::ForNow(detail),
        });
    }
    let node: NodeSpecification = serde_json::from_slice(&body)
        .map_err(|error| Failure::ForGood(format!("the framework's reply is no specification of a node: {error}")))?;
    if node.attempt.id != request.attempt {
        return Err(Failure::ForGood("the framework's reply is about another attempt".to_owned()));
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frameworks_are_listed_and_named_where_there_are_several() {
        assert_eq!(list("http://a:1/"), ["http://a:1"]);
        assert_eq!(list("http://a:1, http://b:2/,"), ["http://a:1", "http://b:2"]);
        assert!(list(" , ").is_empty());
        let reason = |url, words: &str| (url, words.to_owned());
        assert_eq!(in_words(&[reason("http://a:1", "refused")]), "refused");
        let both = in_words(&[reason("http://a:1", "refused"), reason("http://b:2", "follows")]);
        assert_eq!(both, "http://a:1: refused; http://b:2: follows");
    }
}
