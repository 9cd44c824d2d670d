//! What the orchestrator answers by itself: the cluster's document, progress, outputs.

use super::wire::{Answer, json, json_body, nothing};
use super::{Reach, over};
use crate::document::document;
use crate::run::MASK;
use crate::store::{StoreError, StoredOutput};
use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::event::EndpointRole;
use hyper::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use std::time::Duration;

/// Progress and outputs are told no more often than this in the long run; whoever is quicker waits for the answer.
const TELLING_PAUSE: Duration = Duration::from_millis(100);
/// So many may be told at once: what a script of a usual size has to say.
const TELLING_BURST: u32 = 50;
const MESSAGE_MAX: usize = 1000;
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 64 << 10;

/// Body of `POST /v1/progress`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    percent: u8,
    #[serde(default)]
    message: String,
}

/// Body of `POST /v1/output`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    key: String,
    value: String,
    #[serde(default)]
    secret: bool,
    #[serde(default)]
    endpoint: Option<String>,
}

/// `GET /v1/cluster`.
pub(super) async fn cluster(reach: &Reach) -> Result<Answer, ApiError> {
    let material = reach.context.registry.material(&reach.claim.cluster, reach.claim.revision).await;
    let material = material.map_err(|error| ApiError::unavailable("the registry does not answer; try again", error))?;
    let published = reach.context.store.outputs_of(&reach.claim.cluster).await.map_err(refused)?;
    json(&document(&material, &published))
}

/// `POST /v1/progress`.
pub(super) async fn progress(reach: &Reach, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let Progress { percent, message } = json_body(request).await?;
    if percent > 100 || message.len() > MESSAGE_MAX {
        let detail = format!("percent is 0 to 100, message has at most {MESSAGE_MAX} bytes");
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    let message = reach.mask.text(&message);
    slow_down(reach).await;
    reach.context.store.progress(&reach.claim, percent, &message).await.map_err(refused)?;
    reach.log.platform_line(format!("{percent} %: {message}")).await;
    Ok(nothing())
}

/// `POST /v1/output`.
pub(super) async fn output(reach: &Reach, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let Published { key, value, secret, endpoint } = json_body(request).await?;
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    if key.is_empty() || key.len() > KEY_MAX || !key.chars().all(is_allowed) {
        let detail = format!("a key has 1 to {KEY_MAX} letters, digits, '.', '_' and '-', not {key:?}");
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    let role_fits = endpoint.as_ref().is_none_or(|role| role.len() <= KEY_MAX && role.chars().all(is_allowed));
    if value.len() > VALUE_MAX || value.contains('\0') || !role_fits {
        let detail = format!(
            "a value has at most {VALUE_MAX} bytes and no NUL, a role at most {KEY_MAX} letters, digits, '.', '_' and '-'"
        );
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    if secret {
        reach.mask.add(&value);
    }
    let masked = if secret { value.clone() } else { reach.mask.text(&value) };
    let role = endpoint.as_deref().unwrap_or_default();
    if reach.mask.text(&key) != key || reach.mask.text(role) != role {
        let detail = "the key or role holds the value of a secret: publish it as the value, and as a secret one";
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    let holds_secret = masked != value;
    let value = masked;
    let published = StoredOutput { key, value, secret, endpoint: endpoint.map(|role| EndpointRole { role }) };
    slow_down(reach).await;
    reach.context.store.publish(&reach.claim, &published).await.map_err(refused)?;
    let what = if published.endpoint.is_some() { "endpoint" } else { "output" };
    let line = format!("{what} {} = {}", published.key, published.value.lines().next().unwrap_or_default());
    reach.log.platform_line(reach.mask.text(&line)).await;
    if holds_secret {
        let key = &published.key;
        let warning = format!(
            "warning: {what} {key} holds the value of a secret, which is stored as {MASK}; \
             `bigdata output {key}=VALUE --secret` publishes it whole, for those who may read it"
        );
        reach.log.platform_line(warning).await;
    }
    Ok(nothing())
}

/// Waits until the attempt may tell something again. `progress_at` is when all that was told is paid for.
async fn slow_down(reach: &Reach) {
    let mut spent_until = reach.progress_at.lock().await;
    if let Some(earliest) = spent_until.checked_sub(TELLING_PAUSE * TELLING_BURST) {
        tokio::time::sleep_until(earliest).await;
    }
    *spent_until = (*spent_until).max(tokio::time::Instant::now()) + TELLING_PAUSE;
}

pub(super) fn refused(error: StoreError) -> ApiError {
    match error {
        StoreError::Overtaken => over(),
        StoreError::TooManyOutputs => ApiError::new(
            ProblemCode::InvalidField,
            format!("{error}; publish under a key that is there already, or several values in one"),
        ),
        StoreError::Database(error) => error.into(),
        other => ApiError::internal(other),
    }
}
