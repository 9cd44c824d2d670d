//! Which replica drives a run: the main one of a cluster by a claim on the cluster, each one beside it by its own.
//!
//! A claim is known by its owner's text, which is made anew for each: whoever presents another one is fenced off. Its time
//! is the database's on Postgres, so that replicas whose clocks differ agree on when it lapses.

use super::{Claim, Store, StoreError, as_i64};
use bigdata_chassis::{Tx, on_db, on_tx};
use bigdata_common::{ClusterId, RunId};

/// The claim that a row of `runs` needs, as an SQL expression.
pub(super) const KEY_OF_RUN: &str = "CASE runs.side WHEN 0 THEN runs.cluster ELSE runs.run_id END";

/// What the database says the time is, in milliseconds.
const POSTGRES_NOW: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";

/// A claim.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Lease {
    /// What is claimed: see [`Claim::key`].
    pub(crate) claim_key: String,
    /// The run that is driven.
    pub(crate) run_id: String,
    /// Who drives it; empty: nobody.
    pub(crate) owner: String,
    /// Whether its time has passed.
    lapsed: bool,
}

impl Lease {
    /// Whether the claim still binds others.
    pub(crate) fn is_good(&self) -> bool {
        !self.owner.is_empty() && !self.lapsed
    }
}

impl Store {
    /// The time that claims are measured by, as an SQL expression.
    pub(super) fn lease_now(&self) -> String {
        match self.db.is_postgres() {
            true => POSTGRES_NOW.to_owned(),
            false => self.clock.now().as_millis().to_string(),
        }
    }

    /// The claims on a cluster and on the runs beside its main one, good or not.
    pub(crate) async fn leases(&self, cluster: &ClusterId) -> Result<Vec<Lease>, StoreError> {
        let now = self.lease_now();
        Ok(on_db!(self.db, pool => sqlx::query_as(sqlx::AssertSqlSafe(
                format!("SELECT claim_key, run_id, owner, until_ms < {now} AS lapsed FROM leases WHERE claim_key = $1 \
                 OR claim_key IN (SELECT run_id FROM runs WHERE cluster = $1 AND side = 1 AND state <> 'ended')")))
            .bind(cluster.to_string())
            .fetch_all(pool)
            .await)?)
    }

    /// The clusters with a run without an end that nobody holds a good claim on, each with the claim's owner where it has
    /// one; and the clusters whose claim is good, with its owner.
    pub(crate) async fn unfinished_owners(&self) -> Result<Vec<(ClusterId, String, bool)>, StoreError> {
        let now = self.lease_now();
        let rows: Vec<(String, String, bool)> = on_db!(self.db, pool => sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "SELECT DISTINCT runs.cluster, COALESCE(leases.owner, ''), \
                 COALESCE(leases.owner <> '' AND leases.until_ms >= {now}, FALSE) \
                 FROM runs LEFT JOIN leases ON leases.claim_key = {KEY_OF_RUN} WHERE runs.state <> 'ended'")))
            .fetch_all(pool)
            .await)?;
        let read = |(cluster, owner, good): (String, String, bool)| match cluster.parse() {
            Ok(cluster) => Ok((cluster, owner, good)),
            Err(error) => Err(StoreError::Row { table: "runs", what: format!("{cluster}: {error}") }),
        };
        rows.into_iter().map(read).collect()
    }

    /// Claims a cluster, or a run beside its main one, for the run. False where another claim is good; `gone` is an owner that is known to have died.
    pub(crate) async fn claim(
        &self,
        key: &str,
        run: RunId,
        owner: &str,
        lease_ms: u64,
        gone: &str,
    ) -> Result<bool, StoreError> {
        let now = self.lease_now();
        let mut tx = self.db.begin().await?;
        let claimed = on_tx!(tx, connection => sqlx::query(sqlx::AssertSqlSafe(format!(
                "INSERT INTO leases (claim_key, run_id, owner, until_ms) VALUES ($1, $2, $3, {now} + $4) \
                 ON CONFLICT (claim_key) DO UPDATE SET run_id = excluded.run_id, owner = excluded.owner, \
                 until_ms = excluded.until_ms \
                 WHERE leases.owner = '' OR leases.owner = $5 OR leases.until_ms < {now}")))
            .bind(key)
            .bind(run.to_string())
            .bind(owner)
            .bind(as_i64(lease_ms))
            .bind(gone)
            .execute(connection)
            .await
            .map(|result| result.rows_affected()))?;
        tx.commit().await?;
        Ok(claimed == 1)
    }

    /// Holds on to a cluster; whether its run shall be cancelled.
    pub(crate) async fn renew(&self, claim: &Claim, lease_ms: u64) -> Result<bool, StoreError> {
        let now = self.lease_now();
        let mut tx = self.db.begin().await?;
        let cancel_wanted: Option<i64> = on_tx!(tx, connection => sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "UPDATE leases SET until_ms = {now} + $4 WHERE claim_key = $1 AND run_id = $2 AND owner = $3 \
                 RETURNING (SELECT cancel_wanted FROM runs WHERE runs.run_id = leases.run_id)")))
            .bind(claim.key())
            .bind(claim.run.run.to_string())
            .bind(claim.owner.as_str())
            .bind(as_i64(lease_ms))
            .fetch_optional(connection)
            .await)?;
        tx.commit().await?;
        cancel_wanted.map(|wanted| wanted != 0).ok_or(StoreError::Overtaken)
    }

    /// Lets go of a cluster.
    pub(crate) async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        on_tx!(tx, connection => sqlx::query(
                "UPDATE leases SET owner = '', until_ms = 0 WHERE claim_key = $1 AND run_id = $2 AND owner = $3")
            .bind(claim.key())
            .bind(claim.run.run.to_string())
            .bind(claim.owner.as_str())
            .execute(connection)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// Whether the attempt is still its cluster's current one.
    pub(crate) async fn is_current(&self, claim: &Claim) -> Result<bool, StoreError> {
        let held: i64 = on_db!(self.db, pool => sqlx::query_scalar(
                "SELECT COUNT(*) FROM leases WHERE claim_key = $1 AND run_id = $2 AND owner = $3")
            .bind(claim.key())
            .bind(claim.run.run.to_string())
            .bind(claim.owner.as_str())
            .fetch_one(pool)
            .await)?;
        Ok(held == 1)
    }

    /// Takes the claim's row for this transaction, so that the claim cannot pass to another before its commit.
    pub(super) async fn lock_claim(&self, tx: &mut Tx, claim: &Claim) -> Result<(), StoreError> {
        // SQLite has one writer at a time anyway.
        let lock = if tx.is_postgres() { "FOR UPDATE" } else { "" };
        let held: Option<String> = on_tx!(tx, connection => sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "SELECT owner FROM leases WHERE claim_key = $1 AND run_id = $2 AND owner = $3 {lock}")))
            .bind(claim.key())
            .bind(claim.run.run.to_string())
            .bind(claim.owner.as_str())
            .fetch_optional(connection)
            .await)?;
        held.map(drop).ok_or(StoreError::Overtaken)
    }

    /// Refuses where the attempt is not the cluster's current one now.
    pub(crate) async fn confirm(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        self.fence(&mut tx, claim).await?;
        Ok(tx.commit().await?)
    }

    /// Refuses to go on where the attempt is not the cluster's current one; until the transaction's end it stays so.
    pub(super) async fn fence(&self, tx: &mut Tx, claim: &Claim) -> Result<(), StoreError> {
        self.lock_claim(tx, claim).await?;
        let current: i64 = on_tx!(tx, connection => sqlx::query_scalar(
                "SELECT COUNT(*) FROM runs WHERE run_id = $1 AND attempt = $2 AND state = 'running'")
            .bind(claim.run.run.to_string())
            .bind(i64::from(claim.run.attempt))
            .fetch_one(connection)
            .await)?;
        if current == 1 { Ok(()) } else { Err(StoreError::Overtaken) }
    }
}
