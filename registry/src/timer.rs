//! Limits that have passed, and what is forgotten in time.

use crate::cluster::course::Course;
use crate::lifecycle::{Fact, State};
use crate::registry::Registry;
use crate::store;
use crate::store::nodes::NodeRow;
use bigdata_chassis::Tasks;
use bigdata_chassis::messaging::inbox;
use bigdata_common::ClusterId;
use std::sync::Arc;
use std::time::Duration;

/// Clusters that are looked at in one go.
const BATCH: u32 = 100;
/// Milliseconds between two times of forgetting.
const PRUNE_INTERVAL_MS: u64 = 60 * 60 * 1000;
/// Nodes that are named in a reason.
const NAMED_MAX: usize = 5;

/// Looks for passed limits every `interval_ms` until the tasks end.
pub(crate) fn spawn(registry: Arc<Registry>, interval_ms: u64, tasks: &Tasks) {
    let token = tasks.token();
    tasks.spawn("registry timer", async move {
        let mut pruned_at = None;
        loop {
            if let Err(error) = pass_limits(&registry).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "limits could not be looked at");
            }
            let now = registry.clock.now();
            if pruned_at.is_none_or(|at| now.millis_since(at) >= PRUNE_INTERVAL_MS) {
                match prune(&registry).await {
                    Ok(()) => pruned_at = Some(now),
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "old entries could not be forgotten");
                    }
                }
            }
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(interval_ms.max(10))) => {}
            }
        }
    });
}

async fn pass_limits(registry: &Registry) -> Result<(), sqlx::Error> {
    for id in store::clusters::overdue(&registry.db, registry.clock.now(), BATCH).await? {
        // One that cannot be read or written does not stop the clock of the others.
        if let Err(error) = pass_limit(registry, &id).await {
            tracing::warn!(cluster = %id, error = &error as &dyn std::error::Error, "a limit has passed in vain; it is looked at again");
        }
    }
    Ok(())
}

async fn pass_limit(registry: &Registry, id: &ClusterId) -> Result<(), sqlx::Error> {
    let now = registry.clock.now();
    let mut tx = registry.db.begin().await?;
    let Some(cluster) = store::clusters::lock(&mut tx, id).await? else { return Ok(()) };
    // Something may have happened between the look and the lock.
    if cluster.deadline_at.is_none_or(|deadline| deadline > now) {
        return Ok(());
    }
    let nodes = store::nodes::all_in(&mut tx, id).await?;
    let fact = match cluster.state {
        State::Failed { .. } => Fact::KeepExpired,
        State::Registered
        | State::Scheduling
        | State::Scheduled
        | State::Configuring
        | State::Configured
        | State::Ready { .. }
        | State::Destroying { .. }
        | State::Destroyed { .. } => Fact::DeadlinePassed(missing(&cluster.waiting, &nodes)),
    };
    let mut course = Course::new(&mut tx, cluster, now);
    // Whatever follows, this limit has been looked at.
    course.cluster.deadline_at = None;
    course.apply(fact).await?;
    course.store().await?;
    tx.commit().await?;
    registry.changed(id);
    Ok(())
}

/// What the cluster waited for, in words.
fn missing(waiting: &[String], nodes: &[NodeRow]) -> Option<String> {
    if !waiting.is_empty() {
        return Some(waiting.join("; "));
    }
    let troubled: Vec<&NodeRow> = nodes.iter().filter(|node| !node.serves()).collect();
    if troubled.is_empty() {
        return None;
    }
    let words = |node: &&NodeRow| {
        let reason = node.observation.as_ref().and_then(|observation| observation.reason.as_deref());
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("{} is {}{reason}", node.name, node.status)
    };
    let mut named: Vec<String> = troubled.iter().take(NAMED_MAX).map(words).collect();
    if troubled.len() > NAMED_MAX {
        named.push(format!("and {} nodes more", troubled.len() - NAMED_MAX));
    }
    Some(named.join("; "))
}

async fn prune(registry: &Registry) -> Result<(), sqlx::Error> {
    let now = registry.clock.now();
    let mut tx = registry.db.begin().await?;
    inbox::prune(&mut tx, now).await?;
    store::idempotency::prune(&mut tx, now).await?;
    tx.commit().await
}
