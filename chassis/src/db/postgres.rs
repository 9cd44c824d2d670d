//! Opening Postgres, and asking it whether it answers.

use super::{ACQUIRE_TIMEOUT, DatabaseSettings};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection};
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::Mutex;

/// A connection that was idle for longer is asked whether it lives before it is used: a round trip that a busy service
/// does not pay.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// The key of the lock under which schemas are made; any number that nobody else uses in the database.
const SCHEMA_LOCK: i64 = 0x6269_6764_6174_6101;

/// A replica that stands still in the middle of a transaction (stopped, or cut off) loses it, and its locks, after this.
const IDLE_LIMIT: &str = "5s";
/// The longest wait for a row that another holds.
const LOCK_LIMIT: &str = "10s";

/// How many events wait in the outbox.
pub(super) const WAITING: &str = "SELECT COUNT(*) FROM outbox";

/// Opens a pool whose connections live in `schema`, which is made where it is missing.
pub(super) async fn open(settings: &DatabaseSettings, schema: &'static str) -> Result<(PgPool, Watch), sqlx::Error> {
    let options = PgConnectOptions::from_str(&settings.url)?.options([
        ("search_path", schema),
        ("idle_in_transaction_session_timeout", IDLE_LIMIT),
        ("lock_timeout", LOCK_LIMIT),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(settings.connections.max(2))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > TRUSTED_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options.clone())
        .await?;
    // Two replicas that make it at once would trip over each other in the catalogue, IF NOT EXISTS or not.
    let mut tx = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(SCHEMA_LOCK).execute(&mut *tx).await?;
    sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok((pool, Watch { options, connection: Mutex::default() }))
}

/// Asks whether the server answers, on a connection of its own: the pool may be exhausted by work that goes on.
#[derive(Debug)]
pub(super) struct Watch {
    options: PgConnectOptions,
    connection: Mutex<Option<PgConnection>>,
}

impl Watch {
    /// How many events wait in the outbox. A connection on which the caller lost patience is not used again.
    pub(super) async fn waiting_events(&self) -> Result<i64, sqlx::Error> {
        let mut held = self.connection.lock().await;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.options).await?,
        };
        let count = sqlx::query_scalar(WAITING).fetch_one(&mut connection).await?;
        *held = Some(connection);
        Ok(count)
    }

    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            // The server notices the end without a farewell, too.
            let _ = connection.close().await;
        }
    }
}
