//! What the check of the invariants reads.

use super::{from_text, unsigned};
use crate::cluster::record::Cluster;
use bigdata_chassis::{Tx, on_tx};
use bigdata_common::ClusterId;
use bigdata_common::api::change::OperationAccepted;
use bigdata_common::api::cluster::{EventView, Launched};
use bigdata_common::api::operation::OperationView;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The ids of at most `limit` clusters after this one.
///
/// # Errors
/// When the database refuses.
pub async fn ids(tx: &mut Tx, after: &str, limit: u32) -> Result<Vec<String>, sqlx::Error> {
    on_tx!(tx, connection => sqlx::query_scalar("SELECT id FROM clusters WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await)
}

/// The cluster; other transactions may change it meanwhile.
///
/// # Errors
/// When the database refuses.
pub async fn cluster(tx: &mut Tx, id: &ClusterId) -> Result<Option<Cluster>, sqlx::Error> {
    let record: Option<String> = on_tx!(tx, connection => sqlx::query_scalar("SELECT record FROM clusters WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await)?;
    record.as_deref().map(from_text).transpose()
}

/// A cluster's whole history, numbered as it is stored.
///
/// # Errors
/// When the database refuses.
pub async fn events(tx: &mut Tx, cluster: &ClusterId) -> Result<Vec<EventView>, sqlx::Error> {
    let rows: Vec<(i64, String)> = on_tx!(tx, connection => sqlx::query_as(
            "SELECT sequence, event FROM events WHERE cluster_id = $1 ORDER BY sequence")
        .bind(cluster.to_string())
        .fetch_all(connection)
        .await)?;
    let read = |(sequence, text): &(i64, String)| {
        let event: EventView = from_text(text)?;
        Ok(EventView { sequence: unsigned(*sequence), ..event })
    };
    rows.iter().map(read).collect()
}

/// A cluster's operations.
///
/// # Errors
/// When the database refuses.
pub async fn operations(tx: &mut Tx, cluster: &ClusterId) -> Result<Vec<OperationView>, sqlx::Error> {
    let views: Vec<String> = on_tx!(tx, connection => sqlx::query_scalar(
            "SELECT view FROM operations WHERE cluster_id = $1 ORDER BY id")
        .bind(cluster.to_string())
        .fetch_all(connection)
        .await)?;
    views.iter().map(|view| from_text(view)).collect()
}

/// The ids of operations whose cluster is not stored.
///
/// # Errors
/// When the database refuses.
pub async fn operations_of_nothing(tx: &mut Tx) -> Result<Vec<String>, sqlx::Error> {
    on_tx!(tx, connection => sqlx::query_scalar(
            "SELECT o.id FROM operations o WHERE NOT EXISTS (SELECT 1 FROM clusters c WHERE c.id = o.cluster_id)")
        .fetch_all(connection)
        .await)
}

/// How many sequences of numbers there are, and those whose clusters do not make up 1 to the last number given.
///
/// # Errors
/// When the database refuses.
pub async fn numbers(tx: &mut Tx) -> Result<(u64, Vec<(String, String)>), sqlx::Error> {
    let rows: Vec<(String, String, String, i64, i64, i64)> = on_tx!(tx, connection => sqlx::query_as(
            "SELECT n.user_name, n.product, n.version, n.last, COUNT(c.id), COALESCE(MAX(c.number), 0) FROM numbers n \
             LEFT JOIN clusters c ON c.user_name = n.user_name AND c.product = n.product AND c.version = n.version \
             GROUP BY n.user_name, n.product, n.version, n.last")
        .fetch_all(connection)
        .await)?;
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let gaps = rows.into_iter().filter(|(.., last, count, most)| last != count || last != most);
    let words = |(user, product, version, last, count, most)| {
        let detail = format!("the last number given is {last}; there are {count} clusters, the last of them {most}");
        (format!("{user}/{product}/{version}"), detail)
    };
    Ok((count, gaps.map(words).collect()))
}

/// What was answered to a request with an idempotency key.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reply {
    Launched(Launched),
    Accepted(OperationAccepted),
}

/// How many idempotency keys there are, and those whose reply names no stored operation, or one that another names, too.
///
/// # Errors
/// When the database refuses.
pub async fn keys(tx: &mut Tx) -> Result<(u64, Vec<(String, String)>), sqlx::Error> {
    let rows: Vec<(String, String, String)> = on_tx!(tx, connection => sqlx::query_as(
            "SELECT user_name, idempotency_key, reply FROM idempotency_keys ORDER BY user_name, idempotency_key")
        .fetch_all(connection)
        .await)?;
    let (mut owners, mut broken): (BTreeMap<String, String>, Vec<(String, String)>) = (BTreeMap::new(), Vec::new());
    for (user, key, reply) in &rows {
        let subject = format!("{user}/{key}");
        let (cluster, operation) = match from_text(reply) {
            Ok(Reply::Launched(launched)) => (Some(launched.id.to_string()), launched.operation.to_string()),
            Ok(Reply::Accepted(accepted)) => (None, accepted.operation.to_string()),
            Err(error) => {
                broken.push((subject, format!("its reply cannot be read: {error}")));
                continue;
            }
        };
        let stored: Option<String> = on_tx!(tx, connection => sqlx::query_scalar(
                "SELECT c.id FROM clusters c JOIN operations o ON o.cluster_id = c.id WHERE o.id = $1")
            .bind(&operation)
            .fetch_optional(connection)
            .await)?;
        if stored.is_none() || cluster.is_some_and(|cluster| stored != Some(cluster)) {
            broken.push((subject.clone(), format!("the operation {operation} or its cluster is not stored")));
        }
        if let Some(other) = owners.insert(operation.clone(), subject.clone()) {
            broken.push((subject, format!("the operation {operation} is that of the key {other}, too")));
        }
    }
    Ok((u64::try_from(rows.len()).unwrap_or(u64::MAX), broken))
}
