//! Who leads: a lease in the database, and the token that fences off whoever held it before.

use super::StoreError;
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::Timestamp;
use std::time::Duration;
use uuid::Uuid;

/// What a leader shows with everything that it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The process.
    pub holder: Uuid,
    /// Grows with every change of the leader.
    pub token: i64,
}

/// What came of a try to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Acquired {
    Leads(Claim),
    /// Another does, at that URL.
    Follows(String),
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Takes the lease, if nobody holds it.
///
/// `at_once`: also from a holder that must be dead, so that nobody waits for its lease to run out. On SQLite every other is:
/// the data directory is one process's. On Postgres the one that answered at `url` is, where this process answers now;
/// others may live elsewhere.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn acquire(
    db: &Db,
    holder: Uuid,
    url: &str,
    length: Duration,
    at_once: bool,
    now: Timestamp,
) -> Result<Acquired, StoreError> {
    let mut tx = db.begin().await?;
    let sql = if tx.is_postgres() {
        // The row's own clock: those of two machines differ. Our own is bound, and not looked at.
        "UPDATE leadership SET holder = $1, url = $2, token = token + 1, \
         expires_at_ms = floor(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT + $3 \
         WHERE (expires_at_ms <= floor(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT OR ($5 = 1 AND url = $2)) \
         AND $4::BIGINT IS NOT NULL RETURNING token"
    } else {
        "UPDATE leadership SET holder = $1, url = $2, token = token + 1, expires_at_ms = $3 + $4 \
         WHERE expires_at_ms <= $4 OR $5 = 1 RETURNING token"
    };
    let taken: Option<(i64,)> = on_tx!(tx, connection => sqlx::query_as(sql)
        .bind(holder.to_string())
        .bind(url)
        .bind(millis(length))
        .bind(now.as_millis())
        .bind(i64::from(at_once))
        .fetch_optional(connection)
        .await)?;
    tx.commit().await?;
    match taken {
        Some((token,)) => Ok(Acquired::Leads(Claim { holder, token })),
        None => {
            let leader: Option<(String,)> =
                on_db!(db, pool => sqlx::query_as("SELECT url FROM leadership").fetch_optional(pool).await)?;
            Ok(Acquired::Follows(leader.map(|(url,)| url).unwrap_or_default()))
        }
    }
}

/// Makes the lease longer; false where it is another's.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn renew(db: &Db, claim: &Claim, length: Duration, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = db.begin().await?;
    let sql = if tx.is_postgres() {
        "UPDATE leadership SET expires_at_ms = floor(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT + $3 \
         WHERE holder = $1 AND token = $2 AND $4::BIGINT IS NOT NULL RETURNING token"
    } else {
        "UPDATE leadership SET expires_at_ms = $3 + $4 WHERE holder = $1 AND token = $2 RETURNING token"
    };
    let kept: Option<(i64,)> = on_tx!(tx, connection => sqlx::query_as(sql)
        .bind(claim.holder.to_string())
        .bind(claim.token)
        .bind(millis(length))
        .bind(now.as_millis())
        .fetch_optional(connection)
        .await)?;
    tx.commit().await?;
    Ok(kept.is_some())
}

/// Gives the lease up, so that nobody waits for its end.
///
/// # Errors
/// When the database refuses; then it runs out.
pub(crate) async fn release(db: &Db, claim: &Claim) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    on_tx!(tx, connection => sqlx::query("UPDATE leadership SET expires_at_ms = 0, url = '' WHERE holder = $1 AND token = $2")
        .bind(claim.holder.to_string())
        .bind(claim.token)
        .execute(connection)
        .await
        .map(drop))?;
    Ok(tx.commit().await?)
}

/// Refuses the transaction unless the claim is the newest, and keeps it so until the transaction ends: who takes the
/// lease waits for it. A transaction whose process stands still in the middle is ended by Postgres, lest a successor
/// waits for that process.
///
/// # Errors
/// [`StoreError::LostLeadership`], or when the database refuses.
pub(super) async fn fence(tx: &mut Tx, claim: &Claim) -> Result<(), StoreError> {
    let sql = if tx.is_postgres() {
        "SELECT set_config('idle_in_transaction_session_timeout', '3000', true) \
         FROM leadership WHERE holder = $1 AND token = $2 FOR SHARE"
    } else {
        "SELECT holder FROM leadership WHERE holder = $1 AND token = $2"
    };
    let held: Option<(String,)> = on_tx!(tx, connection => sqlx::query_as(sql)
        .bind(claim.holder.to_string())
        .bind(claim.token)
        .fetch_optional(connection)
        .await)?;
    held.map(drop).ok_or(StoreError::LostLeadership)
}
