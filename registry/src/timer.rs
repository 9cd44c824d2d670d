//! Limits that have passed, and what is forgotten in time.

use crate::cluster::course::Course;
use crate::cluster::words;
use crate::lifecycle::{Fact, State};
use crate::registry::Registry;
use crate::silence;
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
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Milliseconds between two looks for nodes of which there is no word.
const SILENCE_INTERVAL_MS: u64 = 2000;
/// What a failure's reason says of nodes at most; more is counted.
const REASONS_MAX: usize = 5;

/// Looks for passed limits every `interval_ms` until the tasks end.
pub(crate) fn spawn(registry: Arc<Registry>, interval_ms: u64, tasks: &Tasks) {
    let token = tasks.token();
    tasks.spawn("registry timer", async move {
        let (mut pruned_at, mut silence_at) = (None, None);
        loop {
            if let Err(error) = pass_limits(&registry).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "limits could not be looked at");
            }
            let now = registry.clock.now();
            if silence_at.is_none_or(|at| now.millis_since(at) >= SILENCE_INTERVAL_MS) {
                silence_at = Some(now);
                if let Err(error) = silence::tell(&registry).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "silent nodes could not be looked for");
                }
            }
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
    if cluster.due_at().is_none_or(|due| due > now) {
        return Ok(());
    }
    let is_over = cluster.deadline_at.is_some_and(|deadline| deadline <= now);
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
    if is_over {
        // Whatever follows, this limit has been looked at.
        course.cluster.deadline_at = None;
        course.apply(fact).await?;
    }
    course.tick().await?;
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
    let troubled = nodes.iter().filter(|node| !(node.leaving || (node.runs() && node.serves())));
    let lines = troubled.map(|node| (node.name.as_str(), words::trouble(node.status, node.passing, node.said())));
    let mut named = words::together(lines, " ");
    if named.len() > REASONS_MAX {
        let more = named.len() - REASONS_MAX;
        named.truncate(REASONS_MAX);
        named.push(format!("and {more} reasons more"));
    }
    (!named.is_empty()).then(|| named.join("; "))
}

async fn prune(registry: &Registry) -> Result<(), sqlx::Error> {
    let now = registry.clock.now();
    let mut tx = registry.db.begin().await?;
    inbox::prune(&mut tx, now).await?;
    store::idempotency::prune(&mut tx, now).await?;
    tx.commit().await?;
    let ended_before = now.plus_millis(-i64::from(registry.settings.history_days) * DAY_MS);
    loop {
        let mut tx = registry.db.begin().await?;
        let forgotten = store::events::forget(&mut tx, ended_before, BATCH).await?;
        tx.commit().await?;
        if forgotten == 0 {
            return Ok(());
        }
    }
}
