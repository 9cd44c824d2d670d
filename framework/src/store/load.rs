//! The state, rebuilt at the start.

use super::StoreError;
use super::leadership::{Claim, fence};
use crate::core::State;
use crate::core::model::{Agent, Cluster, EndedTask, Node, Task, Volume};
use crate::core::records::{Noted, Tasks};
use bigdata_chassis::{Db, on_db, on_tx};
use bigdata_common::internal::Specification;
use bigdata_common::{AttemptId, ClusterId, Name};
use futures_util::TryStreamExt;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

fn parse<T: DeserializeOwned>(table: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Document { table, source })
}

fn parse_text<T: DeserializeOwned>(table: &'static str, text: String) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|source| StoreError::Document { table, source })
}

/// Hands a table's rows on one by one: each is parsed while the database reads the next ones.
macro_rules! each_row {
    ($db:expr, $row:ty, $sql:literal, $take:expr) => {
        on_db!($db, pool => {
            let mut rows = sqlx::query_as::<_, $row>($sql).fetch(pool);
            while let Some(row) = rows.try_next().await? {
                $take(row)?;
            }
        })
    };
}

/// Reads everything: attempts beside the rest, since there are about as many of them as of all others together.
///
/// # Errors
/// When the database refuses, or holds what this program did not write.
pub(crate) async fn load(db: &Db) -> Result<State, StoreError> {
    let attempts = tokio::spawn(load_tasks(db.clone()));
    let clusters = load_clusters(db).await?;
    let mut state = State { framework: setting(db, "framework").await?, clusters, ..State::default() };
    let mut volumes = Vec::new();
    each_row!(db, (String,), "SELECT document FROM volumes", |(document,): (String,)| {
        let volume: Volume = parse("volumes", &document)?;
        volumes.push((volume.id.clone(), volume));
        Ok::<_, StoreError>(())
    });
    state.volumes = volumes.into_iter().collect();
    let mut agents = Vec::new();
    each_row!(db, (String,), "SELECT document FROM agents", |(document,): (String,)| {
        let agent: Agent = parse("agents", &document)?;
        agents.push((agent.id.clone(), agent));
        Ok::<_, StoreError>(())
    });
    state.agents = agents.into_iter().collect();
    let uids = &mut state.uids;
    each_row!(db, (String, i64, String), "SELECT machine, uid, cluster_id FROM uids", |(machine, uid, cluster)| {
        let uid = u32::try_from(uid).unwrap_or(u32::MAX);
        uids.insert((machine, uid), parse_text("uids", cluster)?);
        Ok::<_, StoreError>(())
    });
    (state.tasks, state.ended) = attempts.await.map_err(|_| sqlx::Error::WorkerCrashed)??;
    Ok(state)
}

/// Clusters with their specifications and their nodes.
async fn load_clusters(db: &Db) -> Result<Noted<ClusterId, Cluster, 3>, StoreError> {
    let mut clusters: BTreeMap<ClusterId, Cluster> = BTreeMap::new();
    each_row!(db, (String,), "SELECT document FROM clusters", |(document,): (String,)| {
        let cluster: Cluster = parse("clusters", &document)?;
        clusters.insert(cluster.id.clone(), cluster);
        Ok::<_, StoreError>(())
    });
    each_row!(db, (String, String), "SELECT cluster_id, document FROM specifications", |(id, document): (
        _,
        String
    )| {
        let id: ClusterId = parse_text("specifications", id)?;
        let specification: Specification = parse("specifications", &document)?;
        if let Some(cluster) = clusters.get_mut(&id) {
            cluster.specification = Some(Arc::new(specification));
        }
        Ok::<_, StoreError>(())
    });
    each_row!(
        db,
        (String, String, String),
        "SELECT cluster_id, node, document FROM nodes ORDER BY cluster_id, position",
        |(id, name, document): (_, _, String)| {
            let (id, name): (ClusterId, Name) = (parse_text("nodes", id)?, parse_text("nodes", name)?);
            let node: Node = parse("nodes", &document)?;
            if let Some(cluster) = clusters.get_mut(&id) {
                cluster.nodes.insert(name, node);
            }
            Ok::<_, StoreError>(())
        }
    );
    Ok(clusters.into_iter().collect())
}

/// Attempts, and those of them that have ended.
async fn load_tasks(db: Db) -> Result<(Tasks, BTreeMap<AttemptId, EndedTask>), StoreError> {
    let (mut tasks, mut ended) = (Tasks::default(), BTreeMap::new());
    each_row!(db, (Option<i64>, String), "SELECT ended_at_ms, document FROM tasks", |(ended_at, document): (
        Option<i64>,
        String
    )| {
        if ended_at.is_some() {
            let task: EndedTask = parse("tasks", &document)?;
            ended.insert(task.id, task);
        } else {
            let task: Task = parse("tasks", &document)?;
            tasks.insert(task.id, task);
        }
        Ok::<_, StoreError>(())
    });
    Ok((tasks, ended))
}

async fn setting(db: &Db, name: &'static str) -> Result<Option<String>, StoreError> {
    let row: Option<(String,)> = on_db!(db, pool =>
        sqlx::query_as("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(pool).await)?;
    Ok(row.map(|(value,)| value))
}

/// The id of the registry that the tasks and volumes of this database belong to.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn registry_id(db: &Db) -> Result<Option<String>, StoreError> {
    setting(db, "registry").await
}

/// Binds this database to a registry.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn set_registry_id(db: &Db, claim: &Claim, id: &str) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    fence(&mut tx, claim).await?;
    on_tx!(tx, connection => sqlx::query("INSERT INTO settings (name, value) VALUES ('registry', $1)")
        .bind(id)
        .execute(connection)
        .await
        .map(drop))?;
    Ok(tx.commit().await?)
}
