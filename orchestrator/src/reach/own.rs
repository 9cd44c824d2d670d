//! What the orchestrator answers by itself: the cluster's document, progress, outputs.

use super::wire::{Answer, json, json_body, nothing};
use super::{Reach, over};
use crate::document::document;
use crate::registry::Material;
use crate::run::MASK;
use crate::store::{StoreError, StoredOutput};
use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::event::{Connect, EndpointRole};
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
/// The longest command line of a client with its environment, in bytes.
const CONNECT_MAX: usize = 16 << 10;

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
    endpoint: Option<Endpoint>,
}

/// A role alone, or more than that.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Endpoint {
    Role(String),
    Whole(EndpointRole),
}

impl From<Endpoint> for EndpointRole {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Role(role) => Self { role, connect: None },
            Endpoint::Whole(endpoint) => endpoint,
        }
    }
}

/// `GET /v1/cluster`.
pub(super) async fn cluster(reach: &Reach) -> Result<Answer, ApiError> {
    let material = material(reach).await?;
    let published = reach.context.store.outputs_of(&reach.claim.cluster).await.map_err(refused)?;
    json(&document(&material, &published))
}

/// The cluster as the registry has it now.
pub(super) async fn material(reach: &Reach) -> Result<Material, ApiError> {
    let material = reach.context.registry.material(&reach.claim.cluster, reach.claim.revision).await;
    material.map_err(|error| ApiError::unavailable("the registry does not answer; try again", error))
}

/// `POST /v1/progress`.
pub(super) async fn progress(reach: &Reach, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let Progress { percent, message } = json_body(request).await?;
    if percent > 100 || message.len() > MESSAGE_MAX {
        let detail = format!("percent is 0 to 100, message has at most {MESSAGE_MAX} bytes");
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    tell_progress(reach, percent, &message).await?;
    Ok(nothing())
}

/// Tells the run's progress.
pub(super) async fn tell_progress(reach: &Reach, percent: u8, message: &str) -> Result<(), ApiError> {
    let message = reach.mask.text(message);
    slow_down(reach).await;
    reach.context.store.progress(&reach.claim, percent, &message).await.map_err(refused)?;
    let colon = if message.is_empty() { "" } else { ": " };
    reach.log.platform_line(format!("{percent} %{colon}{message}")).await;
    Ok(())
}

/// `POST /v1/output`.
pub(super) async fn output(reach: &Reach, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let Published { key, value, secret, endpoint } = json_body(request).await?;
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    if key.is_empty() || key.len() > KEY_MAX || !key.chars().all(is_allowed) {
        let detail = format!("a key has 1 to {KEY_MAX} letters, digits, '.', '_' and '-', not {key:?}");
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    let endpoint = endpoint.map(EndpointRole::from);
    let connect = endpoint.as_ref().and_then(|endpoint| endpoint.connect.as_ref());
    if let Some(connect) = connect {
        check_connect(reach, connect)?;
    }
    let role = endpoint.as_ref().map(|endpoint| endpoint.role.clone()).unwrap_or_default();
    let role_fits = role.len() <= KEY_MAX && role.chars().all(is_allowed);
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
    if reach.mask.text(&key) != key || reach.mask.text(&role) != role {
        let detail = "the key or role holds the value of a secret: publish it as the value, and as a secret one";
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    let holds_secret = masked != value;
    let value = masked;
    let published = StoredOutput { key, value, secret, endpoint };
    slow_down(reach).await;
    if published.secret {
        // Under the name of a secret option it is that option's new value.
        reach.context.store.confirm(&reach.claim).await.map_err(refused)?;
        let changed =
            reach.context.registry.change_secret(&reach.claim.cluster, &published.key, &published.value).await;
        changed.map_err(|error| ApiError::unavailable("the registry does not take the secret; try again", error))?;
    }
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

/// `DELETE /v1/output/{key}`.
pub(super) async fn withdraw(reach: &Reach, key: &str) -> Result<Answer, ApiError> {
    slow_down(reach).await;
    if reach.context.store.withdraw(&reach.claim, key).await.map_err(refused)? {
        reach.log.platform_line(format!("{key} is withdrawn")).await;
    }
    Ok(nothing())
}

/// A client's command line, which everybody may read: a secret stands in its environment as `@{secret:NAME}`.
fn check_connect(reach: &Reach, connect: &Connect) -> Result<(), ApiError> {
    let wrong = |detail: &str| Err(ApiError::new(ProblemCode::InvalidField, detail));
    let texts = || connect.command.iter().chain(connect.env.keys()).chain(connect.env.values());
    if connect.command.first().is_none_or(String::is_empty) {
        return wrong("connect: a client's command line begins with a program");
    }
    if texts().any(|text| text.contains('\0')) || texts().map(String::len).sum::<usize>() > CONNECT_MAX {
        return wrong("connect: a client's command line has at most 16 KiB and no NUL");
    }
    if connect.env.keys().any(|name| name.is_empty() || name.contains('=')) {
        return wrong("connect: the name of a variable has at least one letter and no '='");
    }
    if connect.command.iter().chain(connect.env.keys()).any(|text| text.contains("@{secret:")) {
        return wrong(
            "connect: @{secret:NAME} stands in the client's environment alone (--client-env NAME=@{secret:NAME}): \
             a program's arguments can be read by every user of a machine",
        );
    }
    if texts().any(|text| reach.mask.text(text) != *text) {
        return wrong("connect: it holds the value of a secret; write @{secret:NAME} into --client-env in its place");
    }
    Ok(())
}

/// Waits until the attempt may tell something again. `progress_at` is when all that was told is paid for.
pub(super) async fn slow_down(reach: &Reach) {
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
