//! When actions are called by the clock. Pure.

use super::calls::Clocked;
use super::record::{Cluster, Timer};
use crate::lifecycle::State;
use bigdata_common::{Name, Timestamp};

/// The action of which nothing stays where it succeeds.
pub(super) const CHECK: &str = "check";
/// A call that found the cluster busy, and does not wait, is tried again after so many milliseconds at the latest.
const AGAIN_MS: u64 = 10_000;

fn after(now: Timestamp, millis: u64) -> Timestamp {
    now.plus_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// Sets the timers that the cluster's declared actions need, and drops others. Only a ready cluster has any.
pub(super) fn set(cluster: &mut Cluster, now: Timestamp) {
    let every = &cluster.calls.every;
    if !matches!(cluster.state, State::Ready { .. }) || !cluster.life.has_script {
        cluster.timers.clear();
        return;
    }
    cluster.timers.retain(|name, timer| every.contains_key(name) || timer.open.is_some());
    for (name, clocked) in every {
        let due_at = after(now, clocked.every_ms);
        let timer = cluster.timers.entry(name.clone()).or_insert(Timer { due_at, open: None, failed: None });
        // Where the time between two calls has become shorter.
        timer.due_at = timer.due_at.min(due_at);
    }
}

/// The actions that are due, each put off until its next time. One whose last call is still open is left out.
pub(super) fn due(cluster: &mut Cluster, now: Timestamp) -> Vec<(Name, Clocked)> {
    let mut due = Vec::new();
    for (name, timer) in cluster.timers.iter_mut().filter(|(_, timer)| timer.due_at <= now) {
        let Some(clocked) = cluster.calls.every.get(name) else {
            timer.due_at = after(now, AGAIN_MS);
            continue;
        };
        timer.due_at = after(now, clocked.every_ms);
        if timer.open.is_none() {
            due.push((name.clone(), *clocked));
        }
    }
    due
}

/// A call that the cluster was too busy for.
pub(super) fn put_off(cluster: &mut Cluster, name: &Name, clocked: &Clocked, now: Timestamp) {
    if let Some(timer) = cluster.timers.get_mut(name) {
        timer.due_at = after(now, clocked.every_ms.min(AGAIN_MS));
    }
}
