//! What scripts published.

use super::{Claim, Store, StoreError};
use bigdata_chassis::{Tx, on_db, on_tx};
use bigdata_common::event::{EndpointRole, Event, Output};
use bigdata_common::{ClusterId, RunId};

/// The most outputs of a cluster: every reader holds them all at once.
pub(crate) const OUTPUTS_MAX: u32 = 256;

/// A published value, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredOutput {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) secret: bool,
    pub(crate) endpoint: Option<EndpointRole>,
}

#[derive(sqlx::FromRow)]
struct Row {
    output_key: String,
    output_value: String,
    secret: i64,
    endpoint: i64,
    role: String,
    connect: String,
    withdrawn: i64,
}

impl Row {
    fn endpoint(&self) -> Result<Option<EndpointRole>, StoreError> {
        if self.endpoint == 0 {
            return Ok(None);
        }
        let unreadable = |error: serde_json::Error| StoreError::Row { table: "outputs", what: error.to_string() };
        let connect = match self.connect.as_str() {
            "" => None,
            text => Some(serde_json::from_str(text).map_err(unreadable)?),
        };
        Ok(Some(EndpointRole { role: self.role.clone(), connect }))
    }
}

fn place(cluster: &ClusterId, key: &str) -> String {
    format!("outputs/{cluster}/{key}")
}

impl Store {
    /// Stores a value and tells the registry, a secret one without its value.
    pub(crate) async fn publish(&self, claim: &Claim, output: &StoredOutput) -> Result<(), StoreError> {
        let stored = match output.secret {
            true => self.vault.seal(&place(&claim.cluster, &output.key), &output.value),
            false => output.value.clone(),
        };
        let connect = output.endpoint.as_ref().and_then(|endpoint| endpoint.connect.as_ref());
        let connect = connect.map(serde_json::to_string).transpose();
        let connect = connect.map_err(|error| sqlx::Error::Encode(Box::new(error)))?.unwrap_or_default();
        let mut tx = self.db.begin().await?;
        self.fence(&mut tx, claim).await?;
        let others: i64 = on_tx!(tx, connection => sqlx::query_scalar(
                "SELECT COUNT(*) FROM outputs WHERE cluster = $1 AND output_key <> $2 AND withdrawn = 0")
            .bind(claim.cluster.to_string())
            .bind(output.key.as_str())
            .fetch_one(connection)
            .await)?;
        if others >= i64::from(OUTPUTS_MAX) {
            return Err(StoreError::TooManyOutputs);
        }
        on_tx!(tx, connection => sqlx::query(
                "INSERT INTO outputs (cluster, output_key, output_value, secret, endpoint, role, run_id, connect) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (cluster, output_key) DO UPDATE SET \
                 output_value = excluded.output_value, secret = excluded.secret, endpoint = excluded.endpoint, \
                 role = excluded.role, run_id = excluded.run_id, connect = excluded.connect, withdrawn = 0")
            .bind(claim.cluster.to_string())
            .bind(output.key.as_str())
            .bind(stored)
            .bind(i64::from(output.secret))
            .bind(i64::from(output.endpoint.is_some()))
            .bind(output.endpoint.as_ref().map_or("", |endpoint| endpoint.role.as_str()))
            .bind(claim.run.run.to_string())
            .bind(connect)
            .execute(connection)
            .await
            .map(drop))?;
        let value = (!output.secret).then(|| output.value.clone());
        let told = Output { key: output.key.clone(), value, secret: output.secret, endpoint: output.endpoint.clone() };
        self.tell(&mut tx, claim, Event::RunOutput { run: claim.run.clone(), output: told }).await?;
        Ok(tx.commit().await?)
    }

    /// Withdraws what was published under a key, and tells the registry; whether there was something.
    pub(crate) async fn withdraw(&self, claim: &Claim, key: &str) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        self.fence(&mut tx, claim).await?;
        let count = on_tx!(tx, connection => sqlx::query(
                "UPDATE outputs SET withdrawn = 1, run_id = $3, output_value = '', secret = 0, endpoint = 0, connect = '' \
                 WHERE cluster = $1 AND output_key = $2 AND withdrawn = 0")
            .bind(claim.cluster.to_string())
            .bind(key)
            .bind(claim.run.run.to_string())
            .execute(connection)
            .await
            .map(|result| result.rows_affected()))?;
        if count == 0 {
            return Ok(false);
        }
        let output = Output { key: key.to_owned(), value: None, secret: false, endpoint: None };
        self.tell(&mut tx, claim, Event::RunOutput { run: claim.run.clone(), output }).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Forgets what a run has withdrawn: it was told for the last time.
    pub(super) async fn forget_withdrawn(&self, tx: &mut Tx, claim: &Claim) -> Result<(), StoreError> {
        on_tx!(tx, connection => sqlx::query(
                "DELETE FROM outputs WHERE cluster = $1 AND run_id = $2 AND withdrawn = 1")
            .bind(claim.cluster.to_string())
            .bind(claim.run.run.to_string())
            .execute(connection)
            .await
            .map(drop))?;
        Ok(())
    }

    /// What a run has published, by key, secret ones without their values, withdrawn ones without any.
    pub(super) async fn told_outputs(
        &self,
        tx: &mut Tx,
        cluster: &ClusterId,
        run: RunId,
    ) -> Result<Vec<Output>, StoreError> {
        let rows: Vec<Row> = on_tx!(tx, connection => sqlx::query_as(
                "SELECT output_key, output_value, secret, endpoint, role, connect, withdrawn FROM outputs \
                 WHERE cluster = $1 AND run_id = $2 ORDER BY output_key")
            .bind(cluster.to_string())
            .bind(run.to_string())
            .fetch_all(connection)
            .await)?;
        let told = |row: Row| {
            let endpoint = row.endpoint()?;
            let value = (row.secret == 0 && row.withdrawn == 0).then_some(row.output_value);
            Ok(Output { key: row.output_key, value, secret: row.secret != 0, endpoint })
        };
        rows.into_iter().map(told).collect()
    }

    /// What a cluster's script has published, by key, secrets opened.
    pub(crate) async fn outputs_of(&self, cluster: &ClusterId) -> Result<Vec<StoredOutput>, StoreError> {
        let rows: Vec<Row> = on_db!(self.db, pool => sqlx::query_as(
                "SELECT output_key, output_value, secret, endpoint, role, connect, withdrawn FROM outputs \
                 WHERE cluster = $1 AND withdrawn = 0 ORDER BY output_key")
            .bind(cluster.to_string())
            .fetch_all(pool)
            .await)?;
        let open = |row: Row| {
            let endpoint = row.endpoint()?;
            let value = match row.secret {
                0 => row.output_value,
                _ => self.vault.open(&place(cluster, &row.output_key), &row.output_value)?,
            };
            Ok(StoredOutput { key: row.output_key, value, secret: row.secret != 0, endpoint })
        };
        rows.into_iter().map(open).collect()
    }
}
