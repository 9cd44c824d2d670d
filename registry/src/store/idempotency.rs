//! Replies that are given again to the same request.

use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::{Name, Timestamp};

/// How long a reply is given again.
pub const REMEMBERED_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// What was answered to a request with an idempotency key.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Remembered {
    /// Hash of the request's path and body, sealed.
    pub request_hash: String,
    /// The reply's body.
    pub reply: String,
}

/// What is answered to a request with this key.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The key.
    pub key: String,
    /// What is answered.
    pub remembered: Remembered,
}

/// What was answered to this user's request with this key.
///
/// # Errors
/// When the database refuses.
pub async fn find(db: &Db, user: &Name, key: &str) -> Result<Option<Remembered>, sqlx::Error> {
    on_db!(db, pool => sqlx::query_as(
            "SELECT request_hash, reply FROM idempotency_keys WHERE user_name = $1 AND idempotency_key = $2")
        .bind(user.as_str())
        .bind(key)
        .fetch_optional(pool)
        .await)
}

/// Notes a reply; false where the key was used at the same time.
///
/// # Errors
/// When the database refuses.
pub async fn remember(tx: &mut Tx, user: &Name, reply: &Reply, now: Timestamp) -> Result<bool, sqlx::Error> {
    let inserted = on_tx!(tx, connection => sqlx::query(
            "INSERT INTO idempotency_keys (user_name, idempotency_key, request_hash, reply, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_name, idempotency_key) DO NOTHING")
        .bind(user.as_str())
        .bind(&reply.key)
        .bind(&reply.remembered.request_hash)
        .bind(&reply.remembered.reply)
        .bind(now.as_millis())
        .execute(connection)
        .await
        .map(|result| result.rows_affected()))?;
    Ok(inserted == 1)
}

/// Forgets keys that are older than [`REMEMBERED_MILLIS`].
///
/// # Errors
/// When the database refuses.
pub async fn prune(tx: &mut Tx, now: Timestamp) -> Result<u64, sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("DELETE FROM idempotency_keys WHERE created_at_ms < $1")
        .bind(now.as_millis() - REMEMBERED_MILLIS)
        .execute(connection)
        .await
        .map(|result| result.rows_affected()))
}
