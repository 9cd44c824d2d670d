//! Backups on their way into the store, and out of it.

use super::leases::KEY_OF_RUN;
use super::{Claim, Store, StoreError, as_i64};
use bigdata_chassis::messaging::outbox;
use bigdata_chassis::{on_db, on_tx};
use bigdata_common::event::Event;
use bigdata_common::internal::Backup;
use bigdata_common::{BackupId, ClusterId};
use std::time::Duration;

/// Backups that the registry is told of at a time.
const TOLD_AT_A_TIME: i64 = 100;

impl Store {
    /// A backup is about to come: from here on its bytes are known, whatever becomes of whoever sends them. `upload` is the
    /// store's name for it.
    pub(crate) async fn backup_comes(&self, claim: &Claim, backup: BackupId, upload: &str) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        self.fence(&mut tx, claim).await?;
        on_tx!(tx, connection => sqlx::query(
                "INSERT INTO backups (backup_id, cluster, revision, state, claim_key, run_id, owner, upload, created_at_ms) \
                 VALUES ($1, $2, $3, 'coming', $4, $5, $6, $7, $8)")
            .bind(backup.to_string())
            .bind(claim.cluster.to_string())
            .bind(i64::from(claim.revision))
            .bind(claim.key())
            .bind(claim.run.run.to_string())
            .bind(claim.owner.as_str())
            .bind(upload)
            .bind(self.clock.now().as_millis())
            .execute(connection)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// A backup is whole, and the registry is told: by an event, and by [`Store::untold_backups`] until it says that it knows.
    pub(crate) async fn backup_is_stored(&self, claim: &Claim, backup: &Backup) -> Result<(), StoreError> {
        let record = serde_json::to_string(backup)
            .map_err(|error| StoreError::Row { table: "backups", what: error.to_string() })?;
        let mut tx = self.db.begin().await?;
        self.fence(&mut tx, claim).await?;
        let count = on_tx!(tx, connection => sqlx::query(
                "UPDATE backups SET state = 'stored', size = $2, sha256 = $3, record = $4, told_at_ms = $5 \
                 WHERE backup_id = $1 AND state = 'coming'")
            .bind(backup.id.to_string())
            .bind(as_i64(backup.size))
            .bind(backup.sha256.as_str())
            .bind(record)
            .bind(self.clock.now().as_millis())
            .execute(connection)
            .await
            .map(|result| result.rows_affected()))?;
        if count != 1 {
            return Err(StoreError::Overtaken);
        }
        self.tell(&mut tx, claim, Event::BackupStored(backup.clone())).await?;
        Ok(tx.commit().await?)
    }

    /// Some stored backups of which the registry has not said that it knows, the longest untold first, and not those that
    /// were told less than `pause` ago. They count as told from now on.
    pub(crate) async fn untold_backups(&self, pause: Duration) -> Result<Vec<Backup>, StoreError> {
        let now = self.clock.now().as_millis();
        let before = now.saturating_sub(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        let mut tx = self.db.begin().await?;
        let records: Vec<String> = on_tx!(tx, connection => sqlx::query_scalar(
                "UPDATE backups SET told_at_ms = $1 WHERE backup_id IN (SELECT backup_id FROM backups \
                 WHERE state = 'stored' AND record <> '' AND told_at_ms <= $2 ORDER BY told_at_ms LIMIT $3) \
                 AND record <> '' AND told_at_ms <= $2 RETURNING record")
            .bind(now)
            .bind(before)
            .bind(TOLD_AT_A_TIME)
            .fetch_all(connection)
            .await)?;
        tx.commit().await?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|error| StoreError::Row { table: "backups", what: error.to_string() })
        };
        records.into_iter().map(read).collect()
    }

    /// The registry knows of a backup.
    pub(crate) async fn backup_is_known(&self, backup: BackupId) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        on_tx!(tx, connection => sqlx::query("UPDATE backups SET record = '' WHERE backup_id = $1")
            .bind(backup.to_string())
            .execute(connection)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// An upload comes to nothing: from here on it cannot become a backup. The store's name for it; None: it has become one,
    /// or is gone.
    pub(crate) async fn drop_upload(&self, backup: BackupId) -> Result<Option<String>, StoreError> {
        let mut tx = self.db.begin().await?;
        let upload: Option<String> = on_tx!(tx, connection => sqlx::query_scalar(
                "UPDATE backups SET state = 'dropped' WHERE backup_id = $1 AND state <> 'stored' RETURNING upload")
            .bind(backup.to_string())
            .fetch_optional(connection)
            .await)?;
        tx.commit().await?;
        Ok(upload)
    }

    /// Nothing of an upload is left.
    pub(crate) async fn forget_upload(&self, backup: BackupId) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        on_tx!(tx, connection => sqlx::query("DELETE FROM backups WHERE backup_id = $1 AND state = 'dropped'")
            .bind(backup.to_string())
            .execute(connection)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// The uploads that come to nothing: those that were dropped, and those whose attempt no longer holds its claim.
    pub(crate) async fn abandoned_uploads(&self) -> Result<Vec<BackupId>, StoreError> {
        let now = self.lease_now();
        let texts: Vec<String> = on_db!(self.db, pool => sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "SELECT backup_id FROM backups WHERE state = 'dropped' OR (state = 'coming' AND NOT EXISTS ( \
                 SELECT 1 FROM runs JOIN leases ON leases.claim_key = {KEY_OF_RUN} WHERE runs.run_id = backups.run_id \
                 AND runs.state <> 'ended' AND leases.owner = backups.owner AND leases.until_ms >= {now}))")))
            .fetch_all(pool)
            .await)?;
        let read = |text: String| {
            text.parse().map_err(|error| StoreError::Row { table: "backups", what: format!("{text}: {error}") })
        };
        texts.into_iter().map(read).collect()
    }

    /// A backup's bytes are gone, and the registry is told.
    pub(crate) async fn backup_is_removed(&self, cluster: &ClusterId, backup: BackupId) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let revision: Option<i64> = on_tx!(tx, connection => sqlx::query_scalar(
                "DELETE FROM backups WHERE backup_id = $1 RETURNING revision")
            .bind(backup.to_string())
            .fetch_optional(connection)
            .await)?;
        let revision = revision.and_then(|revision| u32::try_from(revision).ok()).unwrap_or(1);
        let event = Event::BackupRemoved { backup };
        outbox::enqueue(&mut tx, cluster, revision, self.clock.now(), event).await?;
        Ok(tx.commit().await?)
    }
}
