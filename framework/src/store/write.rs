//! One step's writes and events in one transaction.

use super::StoreError;
use super::leadership::{Claim, fence};
use crate::core::output::{Output, Write};
use bigdata_chassis::messaging::outbox;
use bigdata_chassis::trace::{self, Cause};
use bigdata_chassis::{Db, Tx, on_tx};
use bigdata_common::{ClusterId, Timestamp};
use serde::Serialize;

/// Stores what a step of the leader has written, and enqueues its events; calls are left out.
///
/// # Errors
/// Then nothing of the step is stored.
pub(crate) async fn commit(db: &Db, claim: &Claim, outputs: &[Output], now: Timestamp) -> Result<(), StoreError> {
    if outputs.iter().all(|output| matches!(output, Output::Call(_))) {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    fence(&mut tx, claim).await?;
    for output in outputs {
        match output {
            Output::Persist(write) => apply(&mut tx, write).await?,
            Output::Emit { cluster, revision, origin, event } => {
                let cause = origin.clone().map(Cause::from).unwrap_or_default();
                trace::within(cause, outbox::enqueue(&mut tx, cluster, *revision, now, event.clone())).await?;
            }
            Output::Call(_) => {}
        }
    }
    Ok(tx.commit().await?)
}

/// Whether trying again is of no use: the database contradicts the state in memory.
pub(crate) fn is_lasting(error: &StoreError) -> bool {
    match error {
        StoreError::Database(sqlx::Error::Database(error)) => {
            error.is_unique_violation() || error.is_foreign_key_violation() || error.is_check_violation()
        }
        StoreError::Database(_) => false,
        StoreError::Document { .. } | StoreError::LostLeadership => true,
    }
}

fn text(table: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Document { table, source })
}

macro_rules! execute {
    ($tx:expr, $sql:literal $(, $value:expr)* $(,)?) => {
        on_tx!($tx, connection => sqlx::query($sql)$(.bind($value))*.execute(connection).await.map(drop))?
    };
}

async fn apply(tx: &mut Tx, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::Framework(Some(id)) => execute!(
            tx,
            "INSERT INTO settings (name, value) VALUES ('framework', $1) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            id,
        ),
        Write::Framework(None) => execute!(tx, "DELETE FROM settings WHERE name = 'framework'"),
        Write::Cluster(cluster) => execute!(
            tx,
            "INSERT INTO clusters (cluster_id, document) VALUES ($1, $2) \
             ON CONFLICT (cluster_id) DO UPDATE SET document = excluded.document",
            cluster.id.to_string(),
            text("clusters", cluster)?,
        ),
        Write::Specification(id, specification) => execute!(
            tx,
            "INSERT INTO specifications (cluster_id, document) VALUES ($1, $2) \
             ON CONFLICT (cluster_id) DO UPDATE SET document = excluded.document",
            id.to_string(),
            text("specifications", specification.as_ref())?,
        ),
        Write::DeleteCluster(id) => delete_cluster(tx, id).await?,
        Write::Node { cluster, name, position, node } => execute!(
            tx,
            "INSERT INTO nodes (cluster_id, node, position, document) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (cluster_id, node) DO UPDATE SET document = excluded.document",
            cluster.to_string(),
            name.as_str(),
            i64::try_from(*position).unwrap_or(i64::MAX),
            text("nodes", node)?,
        ),
        Write::DeleteNode(id, name) => {
            execute!(tx, "DELETE FROM nodes WHERE cluster_id = $1 AND node = $2", id.to_string(), name.as_str());
        }
        Write::Agent(agent) => execute!(
            tx,
            "INSERT INTO agents (agent_id, document) VALUES ($1, $2) \
             ON CONFLICT (agent_id) DO UPDATE SET document = excluded.document",
            &agent.id,
            text("agents", agent)?,
        ),
        Write::DeleteAgent(id) => execute!(tx, "DELETE FROM agents WHERE agent_id = $1", id),
        Write::Volume(volume) => execute!(
            tx,
            "INSERT INTO volumes (volume_id, cluster_id, document) VALUES ($1, $2, $3) \
             ON CONFLICT (volume_id) DO UPDATE SET document = excluded.document",
            &volume.id,
            volume.cluster.to_string(),
            text("volumes", volume)?,
        ),
        Write::DeleteVolume(id) => execute!(tx, "DELETE FROM volumes WHERE volume_id = $1", id),
        other => apply_task(tx, other).await?,
    }
    Ok(())
}

/// The writes about tasks and what is leased to them.
async fn apply_task(tx: &mut Tx, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::Task(task) => execute!(
            tx,
            "INSERT INTO tasks (task_id, cluster_id, node, ended_at_ms, document) VALUES ($1, $2, $3, NULL, $4) \
             ON CONFLICT (task_id) DO UPDATE SET node = excluded.node, document = excluded.document",
            task.id.to_string(),
            task.cluster.to_string(),
            // A task of which only the end is awaited does not stand in the way of the node's next one.
            if !task.is_current() { format!("{} {}", task.node, task.id) } else { task.node.to_string() },
            text("tasks", task)?,
        ),
        Write::TaskEnded(ended) => execute!(
            tx,
            "UPDATE tasks SET ended_at_ms = $1, document = $2 WHERE task_id = $3",
            ended.at.as_millis(),
            text("tasks", ended)?,
            ended.id.to_string(),
        ),
        Write::DeleteTask(id) => execute!(tx, "DELETE FROM tasks WHERE task_id = $1", id.to_string()),
        Write::Lease { kind, scope, value, task } => execute!(
            tx,
            "INSERT INTO leases (kind, scope, value, task_id) VALUES ($1, $2, $3, $4)",
            kind.as_str(),
            scope,
            value,
            task.to_string(),
        ),
        Write::FreeLeases(task) => execute!(tx, "DELETE FROM leases WHERE task_id = $1", task.to_string()),
        Write::Uid { machine, uid, cluster } => execute!(
            tx,
            "INSERT INTO uids (machine, uid, cluster_id) VALUES ($1, $2, $3)",
            machine,
            i64::from(*uid),
            cluster.to_string(),
        ),
        Write::FreeUids(cluster) => {
            execute!(tx, "DELETE FROM uids WHERE cluster_id = $1", cluster.to_string());
        }
        Write::Framework(_)
        | Write::Cluster(_)
        | Write::Specification(..)
        | Write::DeleteCluster(_)
        | Write::Node { .. }
        | Write::DeleteNode(..)
        | Write::Agent(_)
        | Write::DeleteAgent(_)
        | Write::Volume(_)
        | Write::DeleteVolume(_) => {}
    }
    Ok(())
}

async fn delete_cluster(tx: &mut Tx, id: &ClusterId) -> Result<(), StoreError> {
    let id = id.to_string();
    execute!(tx, "DELETE FROM clusters WHERE cluster_id = $1", &id);
    execute!(tx, "DELETE FROM specifications WHERE cluster_id = $1", &id);
    execute!(tx, "DELETE FROM nodes WHERE cluster_id = $1", &id);
    Ok(())
}
