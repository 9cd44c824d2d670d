//! What a client is told of a database that refuses: what is the matter, and who can do what about it.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

/// The words for a refusal that is the database's condition, not a fault of ours; None for any other.
pub(super) fn condition(error: &sqlx::Error) -> Option<&'static str> {
    match error {
        sqlx::Error::PoolTimedOut => Some("the service's database is busy; try again"),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Some(AWAY),
        sqlx::Error::Database(error) => of_engine(error.as_ref()),
        _ => None,
    }
}

const AWAY: &str = "the service's database does not answer; nothing was changed. Try again; if it stays, the operator \
                    finds out why it does not answer (the service's log has its words)";
const FULL: &str = "the service's database has no room left on its disk; nothing was changed. The operator frees or adds \
                    room there; then try again";
const READ_ONLY: &str = "the service's database cannot be written to; nothing was changed. The operator makes it writable \
                         again (a standby, a file's permissions, a file system that is mounted read-only); then try again";
const OVERTAKEN: &str = "another change was faster; nothing was changed. Try again";

fn of_engine(error: &dyn DatabaseError) -> Option<&'static str> {
    let code = error.code()?;
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return of_postgres(&code);
    }
    code.parse().ok().and_then(of_sqlite)
}

/// By SQLSTATE (PostgreSQL's documentation, appendix A).
fn of_postgres(code: &str) -> Option<&'static str> {
    match code {
        "53100" => Some(FULL),
        "25006" => Some(READ_ONLY),
        "40001" | "40P01" | "55P03" => Some(OVERTAKEN),
        // Connections, resources, an operator's intervention, input or output.
        code if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => Some(AWAY),
        _ => None,
    }
}

/// By the primary result code, the low byte of the extended one (sqlite.org/rescode.html).
fn of_sqlite(code: i32) -> Option<&'static str> {
    match code & 0xff {
        // SQLITE_FULL
        13 => Some(FULL),
        // SQLITE_READONLY
        8 => Some(READ_ONLY),
        // SQLITE_BUSY, SQLITE_LOCKED
        5 | 6 => Some(OVERTAKEN),
        // SQLITE_IOERR, SQLITE_CANTOPEN
        10 | 14 => Some(AWAY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_the_database_and_faults_of_ours() {
        for (code, words) in
            [("53100", FULL), ("25006", READ_ONLY), ("57P01", AWAY), ("53300", AWAY), ("40P01", OVERTAKEN)]
        {
            assert_eq!(of_postgres(code), Some(words), "{code}");
        }
        for (code, words) in [(13, FULL), (8, READ_ONLY), (1032, READ_ONLY), (261, OVERTAKEN), (778, AWAY)] {
            assert_eq!(of_sqlite(code), Some(words), "{code}");
        }
        // A broken constraint, a missing table.
        assert_eq!((of_postgres("23505"), of_postgres("42P01")), (None, None));
        assert_eq!((of_sqlite(2067), of_sqlite(1)), (None, None));
        assert!(condition(&sqlx::Error::PoolTimedOut).is_some() && condition(&sqlx::Error::RowNotFound).is_none());
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
        assert_eq!(condition(&error), Some(FULL), "{error}");
        sqlx::query("PRAGMA query_only = 1").execute(&mut *connection).await.unwrap();
        let error = sqlx::query("DELETE FROM t").execute(&mut *connection).await.unwrap_err();
        assert_eq!(condition(&error), Some(READ_ONLY), "{error}");
    }
}
