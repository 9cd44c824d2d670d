//! Nodes of which there is no word any more: the cluster's history says so when that begins, and when it ends.

use crate::cluster::course::Course;
use crate::cluster::words;
use crate::lifecycle::State;
use crate::registry::Registry;
use crate::store;
use crate::store::nodes::NodeRow;
use bigdata_common::ClusterId;

/// Clusters that are looked at in one go.
const BATCH: u32 = 100;

/// Looks through every ready cluster.
pub(crate) async fn tell(registry: &Registry) -> Result<(), sqlx::Error> {
    let mut after = String::new();
    loop {
        let turned = store::freshness::turned(&registry.db, registry.clock.now(), &after, BATCH).await?;
        let Some(last) = turned.last() else { return Ok(()) };
        after = last.to_string();
        for id in &turned {
            // One that cannot be read or written does not keep the others from being looked at.
            if let Err(error) = tell_of(registry, id).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(cluster = %id, error, "that there is no word of its nodes could not be noted");
            }
        }
    }
}

async fn tell_of(registry: &Registry, id: &ClusterId) -> Result<(), sqlx::Error> {
    let mut tx = registry.db.begin().await?;
    let Some(cluster) = store::clusters::lock(&mut tx, id).await? else { return Ok(()) };
    let now = registry.clock.now();
    let nodes = store::nodes::all_in(&mut tx, id).await?;
    // Another replica may have been faster.
    let turned: Vec<&NodeRow> =
        nodes.iter().filter(|node| !node.leaving && node.silent != node.silent_seconds(now).is_some()).collect();
    if turned.is_empty() || !matches!(cluster.state, State::Ready { .. }) {
        return Ok(());
    }
    for node in &turned {
        store::freshness::mark(&mut tx, id, &node.name, !node.silent).await?;
    }
    let mut course = Course::new(&mut tx, cluster, now);
    for (silent, said) in [(true, "no word of it for"), (false, "it is heard of again")] {
        let nodes: Vec<&NodeRow> = turned.iter().copied().filter(|node| node.silent != silent).collect();
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let seconds = nodes.iter().filter_map(|node| node.silent_seconds(now)).max();
        let message = match seconds {
            Some(seconds) => format!("{}: {said} {seconds} s", words::listed(&names)),
            None => format!("{}: {said}", words::listed(&names)),
        };
        match nodes.as_slice() {
            [] => {}
            [node] => course.log("node", Some(node.name.clone()), message),
            _ => course.log("node", None, message),
        }
    }
    course.store().await?;
    tx.commit().await?;
    registry.changed(id);
    Ok(())
}
