//! The state, rebuilt at the start.

use super::StoreError;
use super::leadership::{Claim, fence};
use crate::core::State;
use crate::core::model::{Agent, Cluster, EndedTask, Node, Task, Volume};
use bigdata_chassis::{Db, on_db, on_tx};
use bigdata_common::internal::Specification;
use bigdata_common::{ClusterId, Name};
use serde::de::DeserializeOwned;
use std::sync::Arc;

fn parse<T: DeserializeOwned>(table: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Document { table, source })
}

fn parse_text<T: DeserializeOwned>(table: &'static str, text: String) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|source| StoreError::Document { table, source })
}

macro_rules! rows {
    ($db:expr, $row:ty, $sql:literal) => {
        on_db!($db, pool => sqlx::query_as::<_, $row>($sql).fetch_all(pool).await)?
    };
}

/// Reads everything.
///
/// # Errors
/// When the database refuses, or holds what this program did not write.
pub(crate) async fn load(db: &Db) -> Result<State, StoreError> {
    let mut state = State { framework: setting(db, "framework").await?, ..State::default() };
    for (document,) in rows!(db, (String,), "SELECT document FROM clusters") {
        let cluster: Cluster = parse("clusters", &document)?;
        state.clusters.insert(cluster.id.clone(), cluster);
    }
    for (id, document) in rows!(db, (String, String), "SELECT cluster_id, document FROM specifications") {
        let id: ClusterId = parse_text("specifications", id)?;
        let specification: Specification = parse("specifications", &document)?;
        if let Some(cluster) = state.clusters.get_mut(&id) {
            cluster.specification = Some(Arc::new(specification));
        }
    }
    let nodes = rows!(
        db,
        (String, String, String),
        "SELECT cluster_id, node, document FROM nodes ORDER BY cluster_id, position"
    );
    for (id, name, document) in nodes {
        let (id, name): (ClusterId, Name) = (parse_text("nodes", id)?, parse_text("nodes", name)?);
        let node: Node = parse("nodes", &document)?;
        if let Some(cluster) = state.clusters.get_mut(&id) {
            cluster.nodes.insert(name, node);
        }
    }
    load_tasks(db, &mut state).await?;
    for (document,) in rows!(db, (String,), "SELECT document FROM volumes") {
        let volume: Volume = parse("volumes", &document)?;
        state.volumes.insert(volume.id.clone(), volume);
    }
    for (document,) in rows!(db, (String,), "SELECT document FROM agents") {
        let agent: Agent = parse("agents", &document)?;
        state.agents.insert(agent.id.clone(), agent);
    }
    for (machine, uid, cluster) in rows!(db, (String, i64, String), "SELECT machine, uid, cluster_id FROM uids") {
        let uid = u32::try_from(uid).unwrap_or(u32::MAX);
        state.uids.insert((machine, uid), parse_text("uids", cluster)?);
    }
    Ok(state)
}

async fn load_tasks(db: &Db, state: &mut State) -> Result<(), StoreError> {
    for (ended, document) in rows!(db, (Option<i64>, String), "SELECT ended_at_ms, document FROM tasks") {
        if ended.is_some() {
            let task: EndedTask = parse("tasks", &document)?;
            state.ended.insert(task.id, task);
        } else {
            let task: Task = parse("tasks", &document)?;
            state.tasks.insert(task.id, task);
        }
    }
    Ok(())
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
