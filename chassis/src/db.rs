//! One database handle for Postgres and SQLite, with native types on both.
//!
//! A query's text and body are written once and compiled for both engines by [`on_db!`](crate::on_db) (reads, on a pool)
//! and [`on_tx!`](crate::on_tx) (in a transaction); where the texts must differ, match on [`Db::is_postgres`].
//! Portable columns: `TEXT`, `BIGINT`, `BLOB`/`BYTEA`; ids and JSON as text, instants as `*_at_ms BIGINT`, flags as
//! `BIGINT` 0 or 1; parameters `$1`; ids are made in Rust.
//!
//! SQLite has one writing connection (a plain `BEGIN` that upgrades fails under load), WAL and synchronous FULL.

mod postgres;

use postgres::Watch;
use serde::Deserialize;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Postgres, Sqlite, Transaction};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The longest wait for a connection: past it the caller is told that the service is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for a word of the database that it is there.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

static MESSAGING_POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static MESSAGING_SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// Which database, and how it is used.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `postgres://user:password@host/database` or `sqlite:FILE`. Each service has a schema, or file, of its own.
    pub url: String,
    /// Most connections to Postgres that the service holds open.
    #[serde(default = "default_connections")]
    pub connections: u32,
}

fn default_connections() -> u32 {
    16
}

/// Without the password that the URL may hold.
impl std::fmt::Debug for DatabaseSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DatabaseSettings").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// A service's migrations for both engines. Versions below 100 belong to the messaging tables.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// `sqlx::migrate!("migrations/postgres")`.
    pub postgres: &'static Migrator,
    /// `sqlx::migrate!("migrations/sqlite")`.
    pub sqlite: &'static Migrator,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL begins with neither `postgres:` nor `sqlite:`.
    #[error("the database URL must begin with postgres:// or sqlite:")]
    UnknownEngine,
    /// The engine refused.
    #[error("the database cannot be opened")]
    Connect(#[from] sqlx::Error),
    /// The schema could not be brought up to date; an older program meets a newer schema so.
    #[error("the database's schema cannot be brought up to date")]
    Migrate(#[from] MigrateError),
}

impl OpenError {
    /// Whether trying again will not help.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::UnknownEngine => true,
            Self::Connect(error) => matches!(error, sqlx::Error::Configuration(_)),
            // The database may be away in the middle of it.
            Self::Migrate(error) => !matches!(error, MigrateError::Execute(_) | MigrateError::ExecuteMigration(..)),
        }
    }
}

/// A service's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    engine: Engine,
    watch: Option<Arc<Watch>>,
    outbox_hint: Arc<Notify>,
}

/// The engine behind a [`Db`].
#[derive(Debug, Clone)]
pub enum Engine {
    /// Postgres.
    Postgres(PgPool),
    /// SQLite: a pool to read from and a single connection to write on.
    Sqlite {
        /// Several connections.
        read: SqlitePool,
        /// One connection.
        write: SqlitePool,
    },
}

/// A transaction that may write.
#[derive(Debug)]
pub struct Tx {
    /// The engine's own transaction.
    pub inner: TxInner,
    outbox_hint: Arc<Notify>,
    wakes_outbox: bool,
}

/// The engine behind a [`Tx`].
#[derive(Debug)]
pub enum TxInner {
    /// Postgres.
    Postgres(Transaction<'static, Postgres>),
    /// SQLite.
    Sqlite(Transaction<'static, Sqlite>),
}

/// Runs `$body` with `$pool` bound to the pool to read from; the body is compiled for both engines.
#[macro_export]
macro_rules! on_db {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db.engine() {
            $crate::db::Engine::Postgres($pool) => $body,
            $crate::db::Engine::Sqlite { read: $pool, .. } => $body,
        }
    };
}

/// Runs `$body` with `$connection` bound to the transaction's connection (use it once); compiled for both engines.
#[macro_export]
macro_rules! on_tx {
    ($tx:expr, $connection:ident => $body:expr) => {
        match &mut $tx.inner {
            $crate::db::TxInner::Postgres(transaction) => {
                let $connection = &mut **transaction;
                $body
            }
            $crate::db::TxInner::Sqlite(transaction) => {
                let $connection = &mut **transaction;
                $body
            }
        }
    };
}

impl Db {
    /// Opens the database at `url` and brings its schema up to date. On Postgres everything lives in the schema named
    /// `service`; on SQLite in the file of the URL, which is created where it is missing.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(url: &str, service: &'static str, migrations: Migrations) -> Result<Self, OpenError> {
        let settings = DatabaseSettings { url: url.to_owned(), connections: default_connections() };
        Self::open_with(&settings, service, migrations).await
    }

    /// The same with every setting.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_with(
        settings: &DatabaseSettings,
        service: &'static str,
        migrations: Migrations,
    ) -> Result<Self, OpenError> {
        let url = settings.url.as_str();
        let (engine, watch) = if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let (pool, watch) = postgres::open(settings, service).await?;
            (Engine::Postgres(pool), Some(Arc::new(watch)))
        } else if url.starts_with("sqlite:") {
            (open_sqlite(url).await?, None)
        } else {
            return Err(OpenError::UnknownEngine);
        };
        match &engine {
            Engine::Postgres(pool) => {
                for migrator in [&MESSAGING_POSTGRES, migrations.postgres] {
                    tolerant(migrator).run(pool).await?;
                }
            }
            Engine::Sqlite { write, .. } => {
                for migrator in [&MESSAGING_SQLITE, migrations.sqlite] {
                    tolerant(migrator).run(write).await?;
                }
            }
        }
        Ok(Self { engine, watch, outbox_hint: Arc::new(Notify::new()) })
    }

    /// The engine, for [`on_db!`](crate::on_db).
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether the engine is Postgres.
    pub fn is_postgres(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Begins a transaction that may write. On SQLite it is the only one at its time: make no call and wait for nothing
    /// but the database while it is open.
    ///
    /// # Errors
    /// When no connection is free in time, or the engine refuses.
    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        let inner = match &self.engine {
            Engine::Postgres(pool) => TxInner::Postgres(pool.begin().await?),
            Engine::Sqlite { write, .. } => TxInner::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
        };
        Ok(Tx { inner, outbox_hint: Arc::clone(&self.outbox_hint), wakes_outbox: false })
    }

    /// How many events wait in the outbox; also tells whether the database answers, within a second, however busy the
    /// service's own connections are.
    ///
    /// # Errors
    /// When it does not.
    pub async fn waiting_events(&self) -> Result<u32, sqlx::Error> {
        let asking = async {
            match &self.watch {
                Some(watch) => watch.waiting_events().await,
                None => crate::on_db!(self, pool => sqlx::query_scalar(postgres::WAITING).fetch_one(pool).await),
            }
        };
        let silent = || std::io::Error::new(std::io::ErrorKind::TimedOut, "the database does not answer within 1 s");
        let count = tokio::time::timeout(LOOK_LIMIT, asking).await.map_err(|_| sqlx::Error::Io(silent()))??;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// How many things a service may do at a time on the database, so that the other half of its connections is left to
    /// requests. SQLite writes one after the other.
    pub(crate) fn concurrency(&self) -> usize {
        match &self.engine {
            Engine::Postgres(pool) => usize::try_from(pool.options().get_max_connections() / 2).unwrap_or(1).max(1),
            Engine::Sqlite { .. } => 1,
        }
    }

    /// Open connections.
    pub fn connections(&self) -> u32 {
        crate::on_db!(self, pool => pool.size())
    }

    /// Wakes the outbox's relay: events were enqueued and committed.
    pub fn wake_outbox(&self) {
        self.outbox_hint.notify_one();
    }

    /// Notified when a transaction that enqueued events has committed.
    pub(crate) fn outbox_hint(&self) -> Arc<Notify> {
        Arc::clone(&self.outbox_hint)
    }

    /// Closes every connection, so that SQLite folds its log into the file.
    pub async fn close(&self) {
        if let Some(watch) = &self.watch {
            watch.close().await;
        }
        match &self.engine {
            Engine::Postgres(pool) => pool.close().await,
            Engine::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
        }
    }
}

impl Tx {
    /// Commits, and wakes the outbox's relay where events were enqueued.
    ///
    /// # Errors
    /// When the engine refuses: then nothing of the transaction happened.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        match self.inner {
            TxInner::Postgres(transaction) => transaction.commit().await?,
            TxInner::Sqlite(transaction) => transaction.commit().await?,
        }
        if self.wakes_outbox {
            self.outbox_hint.notify_one();
        }
        Ok(())
    }

    /// Whether the engine is Postgres.
    pub fn is_postgres(&self) -> bool {
        matches!(self.inner, TxInner::Postgres(_))
    }

    /// The commit wakes the outbox's relay: events were enqueued.
    pub fn wake_outbox_on_commit(&mut self) {
        self.wakes_outbox = true;
    }
}

/// The messaging tables' and the service's migrations share one table of applied versions.
fn tolerant(migrator: &'static Migrator) -> Migrator {
    let mut migrator = Migrator { migrations: migrator.migrations.clone(), ..Migrator::DEFAULT };
    migrator.set_ignore_missing(true);
    migrator
}

async fn open_sqlite(url: &str) -> Result<Engine, sqlx::Error> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(ACQUIRE_TIMEOUT)
        .foreign_keys(true);
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A full disk makes SQLite end a transaction by itself; the driver would count it as open for ever.
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_with(options.clone())
        .await?;
    let read = SqlitePoolOptions::new()
        .max_connections(4)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.read_only(true));
    Ok(Engine::Sqlite { read, write })
}
