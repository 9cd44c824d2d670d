//! Operations.

use super::from_text;
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
