//! Which replica drives a cluster.

use super::{Store, StoreError, as_i64};
use bigdata_chassis::{on_db, on_tx};
use bigdata_common::{ClusterId, RunId, Timestamp};

/// A claim on a cluster.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Lease {
    /// The run that is driven.
    pub(crate) run_id: String,
    /// Who drives it; empty: nobody.
    pub(crate) owner: String,
    /// Until when the claim is good.
    until_ms: i64,
}

impl Lease {
    /// Whether the claim still binds others.
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        !self.owner.is_empty() && self.until_ms >= now.as_millis()
    }
}

impl Store {
    /// The claim on a cluster, good or not.
    pub(crate) async fn lease(&self, cluster: &ClusterId) -> Result<Option<Lease>, StoreError> {
        Ok(on_db!(self.db, pool => sqlx::query_as("SELECT run_id, owner, until_ms FROM leases WHERE cluster = $1")
            .bind(cluster.to_string())
            .fetch_optional(pool)
            .await)?)
    }

    /// Claims a cluster for a run. False where another claim is good; `gone` is an owner that is known to have died.
    pub(crate) async fn claim(
        &self,
        cluster: &ClusterId,
        run: RunId,
        owner: &str,
        lease_ms: u64,
        gone: &str,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now().as_millis();
        let mut tx = self.db.begin().await?;
        let claimed = on_tx!(tx, connection => sqlx::query(
                "INSERT INTO leases (cluster, run_id, owner, until_ms) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (cluster) DO UPDATE SET run_id = excluded.run_id, owner = excluded.owner, \
                 until_ms = excluded.until_ms \
                 WHERE leases.owner = '' OR leases.owner = $6 OR leases.until_ms < $5")
            .bind(cluster.to_string())
            .bind(run.to_string())
            .bind(owner)
            .bind(now + as_i64(lease_ms))
            .bind(now)
            .bind(gone)
            .execute(connection)
            .await
            .map(|result| result.rows_affected()))?;
        tx.commit().await?;
        Ok(claimed == 1)
    }

    /// Holds on to a cluster; whether its run shall be cancelled.
    pub(crate) async fn renew(
        &self,
        cluster: &ClusterId,
        run: RunId,
        owner: &str,
        lease_ms: u64,
    ) -> Result<bool, StoreError> {
        let until = self.clock.now().as_millis() + as_i64(lease_ms);
        let mut tx = self.db.begin().await?;
        let cancel_wanted: Option<i64> = on_tx!(tx, connection => sqlx::query_scalar(
                "UPDATE leases SET until_ms = $4 WHERE cluster = $1 AND run_id = $2 AND owner = $3 \
                 RETURNING (SELECT cancel_wanted FROM runs WHERE runs.run_id = leases.run_id)")
            .bind(cluster.to_string())
            .bind(run.to_string())
            .bind(owner)
            .bind(until)
            .fetch_optional(connection)
            .await)?;
        tx.commit().await?;
        cancel_wanted.map(|wanted| wanted != 0).ok_or(StoreError::Overtaken)
    }

    /// Lets go of a cluster.
    pub(crate) async fn release(&self, cluster: &ClusterId, run: RunId, owner: &str) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        on_tx!(tx, connection => sqlx::query(
                "UPDATE leases SET owner = '', until_ms = 0 WHERE cluster = $1 AND run_id = $2 AND owner = $3")
            .bind(cluster.to_string())
            .bind(run.to_string())
            .bind(owner)
            .execute(connection)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }
}
