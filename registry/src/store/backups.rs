//! Backups: the list that the registry keeps. The bytes are the orchestrator's.

use super::{from_text, to_text};
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::internal::Backup;
use bigdata_common::{BackupId, ClusterId, Name, ProductRef, Timestamp};
use serde::{Deserialize, Serialize};

/// `removing` of a backup whose bytes have gone; `at_ms` says when.
const GONE: i64 = 2;
/// For how long the id of such a backup is known.
const REMEMBERED_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A backup as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// What the orchestrator said of it.
    pub backup: Backup,
    /// The product that made it.
    pub product: ProductRef,
    /// What asked for it, in words; empty where a user did.
    pub cause: String,
}

/// Which backups a list shows.
#[derive(Debug, Clone)]
pub enum Scope {
    /// Those of one cluster.
    Cluster(ClusterId),
    /// Those of one user's clusters.
    User(Name),
    /// All.
    Everything,
}

/// Stores a backup that is complete; false where it is known already, or was removed: then nothing changes. `schedule` is the
/// action of the schedule that made it.
///
/// # Errors
/// When the database refuses.
pub async fn insert(tx: &mut Tx, kept: &Kept, schedule: Option<&str>) -> Result<bool, sqlx::Error> {
    let backup = &kept.backup;
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO backups (id, cluster_id, user_name, product, schedule, at_ms, record) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING")
        .bind(backup.id.to_string())
        .bind(backup.cluster.to_string())
        .bind(backup.cluster.dn().user.as_str())
        .bind(kept.product.name.as_str())
        .bind(schedule.unwrap_or_default())
        .bind(backup.at.as_millis())
        .bind(to_text(kept)?)
        .execute(connection)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Lets go of what a schedule of a cluster made beyond the newest `keep`; how many that were.
///
/// # Errors
/// When the database refuses.
pub async fn expire(tx: &mut Tx, cluster: &ClusterId, schedule: &str, keep: u32) -> Result<u64, sqlx::Error> {
    on_tx!(tx, connection => sqlx::query(
            "UPDATE backups SET removing = 1 WHERE cluster_id = $1 AND schedule = $2 AND removing = 0 AND id NOT IN \
             (SELECT id FROM backups WHERE cluster_id = $1 AND schedule = $2 AND removing = 0 \
             ORDER BY at_ms DESC, id DESC LIMIT $3)")
        .bind(cluster.to_string())
        .bind(schedule)
        .bind(i64::from(keep))
        .execute(connection)
        .await
        .map(|done| done.rows_affected()))
}

/// A backup that is not to be removed.
///
/// # Errors
/// When the database refuses.
pub async fn find(db: &Db, id: BackupId) -> Result<Option<Kept>, sqlx::Error> {
    let record: Option<String> = on_db!(db, pool => sqlx::query_scalar("SELECT record FROM backups WHERE id = $1 AND removing = 0")
            .bind(id.to_string())
            .fetch_optional(pool)
            .await)?;
    record.as_deref().map(from_text).transpose()
}

/// At most `limit` backups, the newest first; `before` is the time and id of the one that the page before ended with.
///
/// # Errors
/// When the database refuses.
pub async fn page(
    db: &Db,
    scope: &Scope,
    before: Option<(i64, BackupId)>,
    limit: u32,
) -> Result<Vec<Kept>, sqlx::Error> {
    let (at_ms, id) = before.map_or((i64::MAX, String::new()), |(at_ms, id)| (at_ms, id.to_string()));
    let (query, subject) = match scope {
        Scope::Cluster(cluster) => (
            "SELECT record FROM backups WHERE cluster_id = $1 AND removing = 0 AND (at_ms, id) < ($2, $3) \
             ORDER BY at_ms DESC, id DESC LIMIT $4",
            cluster.to_string(),
        ),
        Scope::User(user) => (
            "SELECT record FROM backups WHERE user_name = $1 AND removing = 0 AND (at_ms, id) < ($2, $3) \
             ORDER BY at_ms DESC, id DESC LIMIT $4",
            user.to_string(),
        ),
        Scope::Everything => (
            "SELECT record FROM backups WHERE $1 = '' AND removing = 0 AND (at_ms, id) < ($2, $3) \
             ORDER BY at_ms DESC, id DESC LIMIT $4",
            String::new(),
        ),
    };
    let records: Vec<String> = on_db!(db, pool => sqlx::query_scalar(query)
        .bind(subject)
        .bind(at_ms)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?;
    records.iter().map(|record| from_text(record)).collect()
}

/// At most `limit` backups whose bytes are to go.
///
/// # Errors
/// When the database refuses.
pub async fn removing(db: &Db, limit: u32) -> Result<Vec<Kept>, sqlx::Error> {
    let records: Vec<String> = on_db!(db, pool => sqlx::query_scalar(
            "SELECT record FROM backups WHERE removing = 1 ORDER BY id LIMIT $1")
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?;
    records.iter().map(|record| from_text(record)).collect()
}

/// Lets go of a backup: its bytes are to go, and nobody finds it any more.
///
/// # Errors
/// When the database refuses.
pub async fn remove(tx: &mut Tx, id: BackupId) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("UPDATE backups SET removing = 1 WHERE id = $1 AND removing = 0")
        .bind(id.to_string())
        .execute(connection)
        .await
        .map(drop))
}

/// Forgets a backup whose bytes have gone, but for its id: a word of it that comes late is none of a new one.
///
/// # Errors
/// When the database refuses.
pub async fn forget(tx: &mut Tx, id: BackupId, now: Timestamp) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("DELETE FROM backup_readers WHERE backup_id = $1")
        .bind(id.to_string())
        .execute(connection)
        .await
        .map(drop))?;
    on_tx!(tx, connection => sqlx::query("UPDATE backups SET removing = $2, record = '', at_ms = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(GONE)
        .bind(now.as_millis())
        .execute(connection)
        .await
        .map(drop))?;
    // The state as a literal: an index of those that have gone is for it.
    on_tx!(tx, connection => sqlx::query("DELETE FROM backups WHERE removing = 2 AND at_ms < $1")
        .bind(now.plus_millis(-REMEMBERED_MS).as_millis())
        .execute(connection)
        .await
        .map(drop))
}

/// Lets a cluster read backups, whoever they belong to.
///
/// # Errors
/// When the database refuses.
pub async fn let_read(tx: &mut Tx, cluster: &ClusterId, backups: &[BackupId]) -> Result<(), sqlx::Error> {
    for backup in backups {
        on_tx!(tx, connection => sqlx::query(
                "INSERT INTO backup_readers (backup_id, cluster_id) VALUES ($1, $2) \
                 ON CONFLICT (backup_id, cluster_id) DO NOTHING")
            .bind(backup.to_string())
            .bind(cluster.to_string())
            .execute(connection)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// Whether a cluster was given the right to read this backup.
///
/// # Errors
/// When the database refuses.
pub async fn may_read(db: &Db, cluster: &ClusterId, id: BackupId) -> Result<bool, sqlx::Error> {
    let count: i64 = on_db!(db, pool => sqlx::query_scalar(
            "SELECT COUNT(*) FROM backup_readers WHERE backup_id = $1 AND cluster_id = $2")
        .bind(id.to_string())
        .bind(cluster.to_string())
        .fetch_one(pool)
        .await)?;
    Ok(count > 0)
}
