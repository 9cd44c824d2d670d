//! The runs without an end, with the claims on their clusters: what the invariants are held against.

use super::leases::KEY_OF_RUN;
use super::{Store, StoreError};
use bigdata_chassis::on_db;

/// A run without an end, or one whose cluster is claimed for it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct UnderWay {
    pub(crate) run_id: String,
    pub(crate) cluster: String,
    /// `waiting`, `running` or `ended`.
    pub(crate) state: String,
    pub(crate) deadline_at_ms: i64,
    /// Whether it stands beside its cluster's main run.
    pub(crate) is_side: bool,
    /// The run that its claim is held for; empty: none.
    pub(crate) claimed_for: String,
    /// Whether that claim is good.
    pub(crate) is_held: bool,
}

impl Store {
    /// Every run without an end, and every ended one whose cluster is still claimed for it.
    pub(crate) async fn under_way(&self) -> Result<Vec<UnderWay>, StoreError> {
        let now = self.lease_now();
        Ok(on_db!(self.db, pool => sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "SELECT runs.run_id, runs.cluster, runs.state, runs.deadline_at_ms, runs.side <> 0 AS is_side, \
                 CASE WHEN leases.owner <> '' THEN leases.run_id ELSE '' END AS claimed_for, \
                 COALESCE(leases.owner <> '' AND leases.until_ms >= {now}, FALSE) AS is_held \
                 FROM runs LEFT JOIN leases ON leases.claim_key = {KEY_OF_RUN} \
                 WHERE runs.state <> 'ended' OR (leases.run_id = runs.run_id AND leases.owner <> '') \
                 ORDER BY runs.cluster, runs.run_id")))
            .fetch_all(pool)
            .await)?)
    }
}
