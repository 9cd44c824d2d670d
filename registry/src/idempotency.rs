//! Requests that are sent again with the same `Idempotency-Key`, and get the same reply.

use crate::registry::Registry;
use crate::store;
use crate::store::idempotency::{Remembered, Reply};
use actix_web::HttpRequest;
use bigdata_chassis::Tx;
use bigdata_chassis::http::ApiError;
use bigdata_chassis::secret::sha256_hex;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::{Name, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest idempotency key.
const KEY_MAX: usize = 255;

/// An idempotency key, and the request that it belongs to.
pub(crate) struct Idempotency {
    key: String,
    /// Never stored as it is: a secret among the options could be guessed from it.
    request_hash: String,
}

impl Idempotency {
    /// The key that came with a request, where one did.
    pub(crate) fn of(request: &HttpRequest, body: &[u8]) -> Result<Option<Self>, ApiError> {
        let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
        let key = key.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > KEY_MAX || !key.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            let detail = format!("an Idempotency-Key has 1 to {KEY_MAX} printable ASCII characters");
            return Err(ApiError::new(ProblemCode::InvalidField, detail));
        }
        let query = match request.query_string() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let request_hash = sha256_hex(&[request.path().as_bytes(), query.as_bytes(), b"\n", body].concat());
        Ok(Some(Self { key: key.to_owned(), request_hash }))
    }

    /// What was answered to the same request of this user.
    pub(crate) async fn replayed<T: DeserializeOwned>(
        &self,
        registry: &Registry,
        user: &Name,
    ) -> Result<Option<T>, ApiError> {
        let Some(remembered) = store::idempotency::find(&registry.db, user, &self.key).await? else { return Ok(None) };
        // A hash that was stored as it is comes from an older release, and is forgotten within a day.
        let hash = registry.vault.open(&self.place(user), &remembered.request_hash);
        if hash.unwrap_or(remembered.request_hash) != self.request_hash {
            let detail = "this Idempotency-Key was sent with another request; use a new key for a new request";
            return Err(ApiError::new(ProblemCode::IdempotencyConflict, detail));
        }
        serde_json::from_str(&remembered.reply).map(Some).map_err(ApiError::internal)
    }

    /// Notes the reply; false where the key was used at the same time.
    pub(crate) async fn remember(
        &self,
        registry: &Registry,
        tx: &mut Tx,
        user: &Name,
        reply: &impl Serialize,
        now: Timestamp,
    ) -> Result<bool, ApiError> {
        let reply = self.reply(registry, user, reply)?;
        Ok(store::idempotency::remember(tx, user, &reply, now).await?)
    }

    /// The reply as it is remembered.
    pub(crate) fn reply(&self, registry: &Registry, user: &Name, reply: &impl Serialize) -> Result<Reply, ApiError> {
        let reply = serde_json::to_string(reply).map_err(ApiError::internal)?;
        let request_hash = registry.vault.seal(&self.place(user), &self.request_hash);
        Ok(Reply { key: self.key.clone(), remembered: Remembered { request_hash, reply } })
    }

    fn place(&self, user: &Name) -> String {
        format!("idempotency_keys/{user}/{}", self.key)
    }
}
