//! Clusters as they are shown: with their health as it is now, not as it was when something last changed.

use crate::cluster::health;
use crate::cluster::record::{Cluster, Observed};
use crate::cluster::view;
use crate::lifecycle::State;
use crate::registry::Registry;
use crate::store;
use bigdata_common::api::cluster::ClusterEntry;

/// Entries of these clusters, which stand in the order of their ids.
pub(super) async fn entries(registry: &Registry, clusters: &[Cluster]) -> Result<Vec<ClusterEntry>, sqlx::Error> {
    let (Some(first), Some(last)) = (clusters.first(), clusters.last()) else { return Ok(Vec::new()) };
    let now = registry.clock.now();
    let ages = store::freshness::ages(&registry.db, &first.id, &last.id, now).await?;
    let mut entries = Vec::with_capacity(clusters.len());
    for cluster in clusters {
        let age = ages.get(&cluster.id.to_string()).filter(|_| matches!(cluster.state, State::Ready { .. }));
        let health = match age {
            Some(age) if age.silent => health::of_ready(&store::nodes::all(&registry.db, &cluster.id).await?, now),
            Some(age) => Observed { at: age.oldest.or(cluster.health.at), ..cluster.health.clone() },
            None => cluster.health.clone(),
        };
        entries.push(view::entry(cluster, &health, now));
    }
    Ok(entries)
}

/// One cluster's entry.
pub(super) async fn entry(registry: &Registry, cluster: Cluster) -> Result<Option<ClusterEntry>, sqlx::Error> {
    Ok(entries(registry, &[cluster]).await?.pop())
}
