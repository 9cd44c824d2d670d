//! What is the matter with a database that refuses, and what a client is told of it.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

/// Why a database refuses, where that is its condition and no fault of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// No connection was free in time.
    Busy,
    /// It does not answer.
    Away,
    /// Its disk is full.
    Full,
    /// It cannot be written to.
    ReadOnly,
    /// Another transaction was faster.
    Overtaken,
}

impl Condition {
    /// Why it refused; None where the fault is ours.
    pub(crate) fn of(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::PoolTimedOut => Some(Self::Busy),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Some(Self::Away)
            }
            sqlx::Error::Database(error) => of_engine(error.as_ref()),
            _ => None,
        }
    }

    /// Whether whatever is tried fails until somebody has mended the database.
    pub(crate) fn lasts(self) -> bool {
        match self {
            Self::Busy | Self::Away | Self::Full | Self::ReadOnly => true,
            Self::Overtaken => false,
        }
    }

    /// What a client is told: what is the matter, and who can do what about it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Busy => "the service's database is busy; try again",
            Self::Away => {
                "the service's database does not answer; nothing was changed. Try again; if it stays, the operator \
                 finds out why it does not answer (the service's log has its words)"
            }
            Self::Full => {
                "the service's database has no room left on its disk; nothing was changed. The operator frees or adds \
                 room there; then try again"
            }
            Self::ReadOnly => {
                "the service's database cannot be written to; nothing was changed. The operator makes it writable \
                 again (a standby, a file's permissions, a file system that is mounted read-only); then try again"
            }
            Self::Overtaken => "another change was faster; nothing was changed. Try again",
        }
    }
}

fn of_engine(error: &dyn DatabaseError) -> Option<Condition> {
    let code = error.code()?;
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return of_postgres(&code);
    }
    code.parse().ok().and_then(of_sqlite)
}

/// By SQLSTATE (PostgreSQL's documentation, appendix A).
fn of_postgres(code: &str) -> Option<Condition> {
    match code {
        "53100" => Some(Condition::Full),
        "25006" => Some(Condition::ReadOnly),
        "40001" | "40P01" | "55P03" => Some(Condition::Overtaken),
        // Connections, resources, an operator's intervention, input or output.
        code if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => Some(Condition::Away),
        _ => None,
    }
}

/// By the primary result code, the low byte of the extended one (sqlite.org/rescode.html).
fn of_sqlite(code: i32) -> Option<Condition> {
    match code & 0xff {
        // SQLITE_FULL
        13 => Some(Condition::Full),
        // SQLITE_READONLY
        8 => Some(Condition::ReadOnly),
        // SQLITE_BUSY, SQLITE_LOCKED
        5 | 6 => Some(Condition::Overtaken),
        // SQLITE_IOERR, SQLITE_CANTOPEN
        10 | 14 => Some(Condition::Away),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Condition::{Away, Full, Overtaken, ReadOnly};
    use super::*;

    #[test]
    fn conditions_of_the_database_and_faults_of_ours() {
        for (code, condition) in
            [("53100", Full), ("25006", ReadOnly), ("57P01", Away), ("53300", Away), ("40P01", Overtaken)]
        {
            assert_eq!(of_postgres(code), Some(condition), "{code}");
        }
        for (code, condition) in [(13, Full), (8, ReadOnly), (1032, ReadOnly), (261, Overtaken), (778, Away)] {
            assert_eq!(of_sqlite(code), Some(condition), "{code}");
        }
        // A broken constraint, a missing table.
        assert_eq!((of_postgres("23505"), of_postgres("42P01")), (None, None));
        assert_eq!((of_sqlite(2067), of_sqlite(1)), (None, None));
        assert!(
            Condition::of(&sqlx::Error::PoolTimedOut).is_some() && Condition::of(&sqlx::Error::RowNotFound).is_none()
        );
    }

    #[tokio::test]
    async fn a_full_database_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}?mode=rwc", folder.path().join("full.db").display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        sqlx::query("CREATE TABLE t (text TEXT)").execute(&mut *connection).await.unwrap();
        sqlx::query("PRAGMA max_page_count = 3").execute(&mut *connection).await.unwrap();
        let insert = "INSERT INTO t VALUES (hex(randomblob(20000)))";
        let error = sqlx::query(insert).execute(&mut *connection).await.unwrap_err();
        assert_eq!(Condition::of(&error), Some(Full), "{error}");
        sqlx::query("PRAGMA query_only = 1").execute(&mut *connection).await.unwrap();
        let error = sqlx::query("DELETE FROM t").execute(&mut *connection).await.unwrap_err();
        assert_eq!(Condition::of(&error), Some(ReadOnly), "{error}");
    }
}
