//! What is wanted of every node, and what the script was told of it.

use super::{parsed, signed, unsigned};
use crate::cluster::hooks::{Seen, Stance};
use crate::cluster::record::ToldNodes;
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::blueprint::Blueprint;
use bigdata_common::internal::NodeWish;
use bigdata_common::status::NodeStatus;
use bigdata_common::{ClusterId, Name};
use indexmap::IndexMap;

/// Stores those nodes of a blueprint that are chosen, pending and wanted as it describes them.
///
/// # Errors
/// When the database refuses, above all where there is a node of the same name.
pub async fn add(
    tx: &mut Tx,
    cluster: &ClusterId,
    revision: u32,
    blueprint: &Blueprint,
    chosen: impl Fn(&Name) -> bool,
) -> Result<(), sqlx::Error> {
    let id = cluster.to_string();
    for (position, (name, node)) in (0i64..).zip(&blueprint.nodes).filter(|(_, (name, _))| chosen(name)) {
        on_tx!(tx, connection => sqlx::query(
                "INSERT INTO nodes (cluster_id, name, position, health_declared, generation, sequence, status, gave_up, \
                 wanted_revision, born_revision) VALUES ($1, $2, $3, $4, 0, 0, $5, 0, $6, $6)")
            .bind(&id)
            .bind(name.as_str())
            .bind(position)
            .bind(i64::from(node.health.is_some()))
            .bind(NodeStatus::Pending.as_str())
            .bind(i64::from(revision))
            .execute(connection)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// Wants a node anew: of this revision, which says whether it declares health checks, or of the same as before.
///
/// # Errors
/// When the database refuses.
pub async fn renew(
    tx: &mut Tx,
    cluster: &ClusterId,
    node: &Name,
    revision: Option<(u32, bool)>,
    elsewhere: bool,
) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query(
            "UPDATE nodes SET wanted_incarnation = wanted_incarnation + 1, elsewhere = $3, \
             wanted_revision = COALESCE(CAST($4 AS BIGINT), wanted_revision), \
             health_declared = COALESCE(CAST($5 AS BIGINT), health_declared) WHERE cluster_id = $1 AND name = $2")
        .bind(cluster.to_string())
        .bind(node.as_str())
        .bind(i64::from(elsewhere))
        .bind(revision.map(|(revision, _)| i64::from(revision)))
        .bind(revision.map(|(_, health_declared)| i64::from(health_declared)))
        .execute(connection)
        .await
        .map(drop))
}

/// Describes every node that is wanted by this revision from its next attempt on.
///
/// # Errors
/// When the database refuses.
pub async fn follow(tx: &mut Tx, cluster: &ClusterId, revision: u32) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("UPDATE nodes SET wanted_revision = $2 WHERE cluster_id = $1 AND leaving = 0")
        .bind(cluster.to_string())
        .bind(i64::from(revision))
        .execute(connection)
        .await
        .map(drop))
}

/// Wants a node no more; it stays known until its release was told.
///
/// # Errors
/// When the database refuses.
pub async fn leave(tx: &mut Tx, cluster: &ClusterId, node: &Name) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("UPDATE nodes SET leaving = 1 WHERE cluster_id = $1 AND name = $2")
        .bind(cluster.to_string())
        .bind(node.as_str())
        .execute(connection)
        .await
        .map(drop))
}

/// Forgets a node that was wanted no more; whether there was one. `sequence` is that of its last fact, where it is known: a
/// node that has more of them is another one of the same name.
///
/// # Errors
/// When the database refuses.
pub async fn released(
    tx: &mut Tx,
    cluster: &ClusterId,
    node: &Name,
    sequence: Option<u64>,
) -> Result<bool, sqlx::Error> {
    let gone = on_tx!(tx, connection => sqlx::query(
            "DELETE FROM nodes WHERE cluster_id = $1 AND name = $2 AND leaving = 1 \
             AND sequence <= COALESCE(CAST($3 AS BIGINT), sequence)")
        .bind(cluster.to_string())
        .bind(node.as_str())
        .bind(sequence.map(signed))
        .execute(connection)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(gone > 0)
}

/// Notes what the script is told of a node.
///
/// # Errors
/// When the database refuses.
pub async fn tell(tx: &mut Tx, cluster: &ClusterId, node: &Name, seen: Seen) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query(
            "UPDATE nodes SET told_attempt = $3, told_restarts = $4, told = $5 WHERE cluster_id = $1 AND name = $2")
        .bind(cluster.to_string())
        .bind(node.as_str())
        .bind(i64::from(seen.attempt))
        .bind(i64::from(seen.restarts))
        .bind(seen.stance.as_str())
        .execute(connection)
        .await
        .map(drop))
}

/// Notes that the script is told of every node as it is, by configuring them.
///
/// # Errors
/// When the database refuses.
pub async fn tell_all(tx: &mut Tx, cluster: &ClusterId) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query(
            "UPDATE nodes SET told_attempt = attempt, told_restarts = restarts, told = $2 \
             WHERE cluster_id = $1 AND leaving = 0 AND attempt > 0")
        .bind(cluster.to_string())
        .bind(Stance::Fresh.as_str())
        .execute(connection)
        .await
        .map(drop))
}

/// One node's wish and the sequence of its last fact.
#[derive(sqlx::FromRow)]
struct Row {
    cluster_id: String,
    name: String,
    sequence: i64,
    wanted_revision: i64,
    wanted_incarnation: i64,
    elsewhere: i64,
    leaving: i64,
}

/// What the other services are told of the nodes of every cluster whose id is from `first` to `last`, by the clusters' ids.
///
/// # Errors
/// When the database refuses.
pub async fn told(db: &Db, first: &ClusterId, last: &ClusterId) -> Result<IndexMap<String, ToldNodes>, sqlx::Error> {
    let rows: Vec<Row> = on_db!(db, pool => sqlx::query_as(
            "SELECT cluster_id, name, sequence, wanted_revision, wanted_incarnation, elsewhere, leaving FROM nodes \
             WHERE cluster_id >= $1 AND cluster_id <= $2 ORDER BY cluster_id, position, name")
        .bind(first.to_string())
        .bind(last.to_string())
        .fetch_all(pool)
        .await)?;
    let mut told: IndexMap<String, ToldNodes> = IndexMap::new();
    for row in rows {
        let name: Name = parsed(&row.name)?;
        let nodes = told.entry(row.cluster_id).or_default();
        if row.sequence > 0 {
            nodes.observed.insert(name.clone(), unsigned(row.sequence));
        }
        if row.leaving == 1 {
            nodes.leaving.push(name);
        } else {
            nodes.wishes.insert(name, wish(row.wanted_revision, row.wanted_incarnation, row.elsewhere));
        }
    }
    Ok(told)
}

/// A wish from its columns.
pub(super) fn wish(revision: i64, incarnation: i64, elsewhere: i64) -> NodeWish {
    NodeWish { revision: small(revision), incarnation: small(incarnation), elsewhere: elsewhere == 1 }
}

/// A small number from its column.
pub(super) fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
