//! Operations.

use super::{from_text, parsed};
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::api::operation::OperationView;
use bigdata_common::{ClusterId, Name, OperationId};

/// Which operations a list shows.
#[derive(Debug, Clone)]
pub enum Scope {
    /// Those on one cluster.
    Cluster(ClusterId),
    /// Those on one user's clusters.
    User(Name),
    /// All.
    Everything,
}

/// The operation, as the transaction sees it.
///
/// # Errors
/// When the database refuses.
pub async fn find_in(tx: &mut Tx, id: OperationId) -> Result<Option<OperationView>, sqlx::Error> {
    let view: Option<String> = on_tx!(tx, connection => sqlx::query_scalar("SELECT view FROM operations WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await)?;
    view.as_deref().map(from_text).transpose()
}

/// The operation.
///
/// # Errors
/// When the database refuses.
pub async fn find(db: &Db, id: OperationId) -> Result<Option<OperationView>, sqlx::Error> {
    let view: Option<String> = on_db!(db, pool => sqlx::query_scalar("SELECT view FROM operations WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(pool)
        .await)?;
    view.as_deref().map(from_text).transpose()
}

/// Keeps what a user asked for with an operation.
///
/// # Errors
/// When the database refuses.
pub async fn keep_asked(
    tx: &mut Tx,
    operation: OperationId,
    cluster: &ClusterId,
    sealed: &str,
) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("INSERT INTO asked (operation_id, cluster_id, sealed) VALUES ($1, $2, $3)")
        .bind(operation.to_string())
        .bind(cluster.to_string())
        .bind(sealed)
        .execute(connection)
        .await
        .map(drop))
}

/// Forgets what a user asked for with an operation that is not begun again.
///
/// # Errors
/// When the database refuses.
pub async fn forget_asked(tx: &mut Tx, operation: OperationId) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("DELETE FROM asked WHERE operation_id = $1")
        .bind(operation.to_string())
        .execute(connection)
        .await
        .map(drop))
}

/// What a user asked for with an operation, where that is kept.
///
/// # Errors
/// When the database refuses.
pub async fn asked(db: &Db, operation: OperationId) -> Result<Option<String>, sqlx::Error> {
    on_db!(db, pool => sqlx::query_scalar("SELECT sealed FROM asked WHERE operation_id = $1")
        .bind(operation.to_string())
        .fetch_optional(pool)
        .await)
}

/// The operation that asked first for what this one asked for.
///
/// # Errors
/// When the database refuses.
pub async fn first_of(tx: &mut Tx, operation: OperationId) -> Result<OperationId, sqlx::Error> {
    let query = "SELECT first_id FROM retries WHERE operation_id = $1";
    let first: Option<String> = on_tx!(tx, connection => sqlx::query_scalar(query)
        .bind(operation.to_string())
        .fetch_optional(connection)
        .await)?;
    first.map_or(Ok(operation), |first| parsed(&first))
}

/// The operations that asked for the same as `first` once more.
///
/// # Errors
/// When the database refuses.
pub async fn retries_of(tx: &mut Tx, first: OperationId) -> Result<Vec<OperationId>, sqlx::Error> {
    let query = "SELECT operation_id FROM retries WHERE first_id = $1 ORDER BY operation_id";
    let ids: Vec<String> = on_tx!(tx, connection => sqlx::query_scalar(query)
        .bind(first.to_string())
        .fetch_all(connection)
        .await)?;
    ids.iter().map(|id| parsed(id)).collect()
}

/// Notes that an operation asks for the same as `first` once more.
///
/// # Errors
/// When the database refuses.
pub async fn keep_retry(
    tx: &mut Tx,
    operation: OperationId,
    cluster: &ClusterId,
    first: OperationId,
) -> Result<(), sqlx::Error> {
    let query = "INSERT INTO retries (operation_id, cluster_id, first_id) VALUES ($1, $2, $3)";
    on_tx!(tx, connection => sqlx::query(query)
        .bind(operation.to_string())
        .bind(cluster.to_string())
        .bind(first.to_string())
        .execute(connection)
        .await
        .map(drop))
}

/// At most `limit` operations, the newest first; `before` is the id that the page before ended with.
///
/// # Errors
/// When the database refuses.
pub async fn page(
    db: &Db,
    scope: &Scope,
    before: Option<OperationId>,
    limit: u32,
) -> Result<Vec<OperationView>, sqlx::Error> {
    // Ids are UUIDv7: their order is that of time, and `g` comes after every one of them.
    let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
    let (query, subject) = match scope {
        Scope::Cluster(cluster) => (
            "SELECT view FROM operations WHERE cluster_id = $2 AND id < $1 ORDER BY id DESC LIMIT $3",
            cluster.to_string(),
        ),
        Scope::User(user) => {
            ("SELECT view FROM operations WHERE user_name = $2 AND id < $1 ORDER BY id DESC LIMIT $3", user.to_string())
        }
        Scope::Everything => {
            ("SELECT view FROM operations WHERE id < $1 AND $2 = '' ORDER BY id DESC LIMIT $3", String::new())
        }
    };
    let views: Vec<String> = on_db!(db, pool => sqlx::query_scalar(query)
        .bind(before)
        .bind(subject)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?;
    views.iter().map(|view| from_text(view)).collect()
}
