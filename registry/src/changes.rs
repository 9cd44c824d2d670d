//! Who waits for a cluster to change: told at once of what this process changes, and within [`INTERVAL`] of what other
//! replicas change. The database tells them (a cluster's newest event), not the bus: what is told is committed by then.

use crate::registry::Registry;
use crate::store;
use bigdata_chassis::Tasks;
use bigdata_common::ClusterId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// How often the database is asked for others' changes, while somebody waits: streams promise a second.
const INTERVAL: Duration = Duration::from_millis(250);
/// The longest wait for a change, where a word of it was lost.
const LOOK_ANEW: Duration = Duration::from_secs(5);
/// Changes that may wait for a listener; one that falls behind looks anew.
const KEPT: usize = 1024;

/// What changes, and who waits for it.
pub(crate) struct Changes {
    told: broadcast::Sender<ClusterId>,
    waited_for: Mutex<HashMap<ClusterId, WaitedFor>>,
}

#[derive(Default)]
struct WaitedFor {
    listeners: u32,
    /// The newest event that the database was seen to hold; None: it has not been looked at.
    sequence: Option<u64>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self { told: broadcast::channel(KEPT).0, waited_for: Mutex::default() }
    }

    /// Tells whoever waits in this process that a cluster has changed; call it after the commit.
    pub(crate) fn tell(&self, cluster: &ClusterId) {
        // Nobody waits: nobody is told.
        let _ = self.told.send(cluster.clone());
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<ClusterId, WaitedFor>) -> T) -> T {
        work(&mut self.waited_for.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what the database holds; the clusters that have changed since it was last looked at.
    fn take_in(&self, newest: Vec<(ClusterId, u64)>) -> Vec<ClusterId> {
        self.with(|waited_for| {
            let changed = newest.into_iter().filter(|(cluster, sequence)| {
                let Some(known) = waited_for.get_mut(cluster) else { return false };
                // What happened between a listener's own look and the first one here is not known: look anew.
                known.sequence.replace(*sequence).is_none_or(|before| before != *sequence)
            });
            changed.map(|(cluster, _)| cluster).collect()
        })
    }
}

/// Hears of one cluster's changes until it is dropped.
pub(crate) struct Listener {
    registry: Arc<Registry>,
    cluster: ClusterId,
    told: broadcast::Receiver<ClusterId>,
}

impl Listener {
    /// Hears of changes from now on: listen first, and then look.
    pub(crate) fn new(registry: Arc<Registry>, cluster: ClusterId) -> Self {
        let told = registry.changes.told.subscribe();
        registry.changes.with(|waited_for| waited_for.entry(cluster.clone()).or_default().listeners += 1);
        Self { registry, cluster, told }
    }

    /// Waits for a change, at most [`LOOK_ANEW`].
    pub(crate) async fn next(&mut self) {
        let heard = async {
            loop {
                match self.told.recv().await {
                    Ok(changed) if changed == self.cluster => return,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => return,
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        // Running out of time is one of the two ways to go on.
        let _ = tokio::time::timeout(LOOK_ANEW, heard).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.registry.changes.with(|waited_for| {
            if let Entry::Occupied(mut entry) = waited_for.entry(self.cluster.clone()) {
                entry.get_mut().listeners -= 1;
                if entry.get().listeners == 0 {
                    entry.remove();
                }
            }
        });
    }
}

/// Looks for others' changes until the tasks end.
pub(crate) fn spawn(registry: Arc<Registry>, tasks: &Tasks) {
    let token = tasks.token();
    tasks.spawn("registry changes", async move {
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let clusters: Vec<ClusterId> = registry.changes.with(|waited_for| waited_for.keys().cloned().collect());
            match store::events::newest(&registry.db, &clusters).await {
                Ok(newest) => {
                    for cluster in &registry.changes.take_in(newest) {
                        registry.changes.tell(cluster);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "changes could not be looked for");
                }
            }
        }
    });
}
