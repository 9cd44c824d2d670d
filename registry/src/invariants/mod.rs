//! What always holds for what the registry stores, checked as it stands now: `GET /internal/v1/invariants`.
//!
//! Clusters are looked at in pages, one transaction each. What seems broken is looked at once more while the cluster is
//! held, so that a change in between is not taken for a fault.

mod cluster;
pub mod history;

use crate::registry::Registry;
use crate::store;
use crate::store::nodes::NodeRow;
use bigdata_common::invariants::Invariants;
use bigdata_common::status::NodeStatus;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use cluster::{HISTORY, IN_TIME, NOTHING_LEFT, ONE_LAUNCH, ONE_OPERATION, Stored, WISHES};
use std::collections::{BTreeSet, HashMap};

/// Clusters of one transaction.
const PAGE: u32 = 50;
const READABLE: &str = "everything that is stored can be read";
const ONE_ATTEMPT: &str = "at most one live attempt per node";
const NUMBERS: &str = "the numbers of a user's clusters are given without gaps";
const KEYS: &str = "every idempotency key has its cluster";

#[derive(Default)]
struct Findings {
    clusters: u64,
    destroyed: u64,
    operations: u64,
    nodes: u64,
    broken: Vec<(&'static str, String, String)>,
    /// The node that each live attempt was seen as.
    attempts: HashMap<AttemptId, String>,
}

/// Checks everything.
pub(crate) async fn check(registry: &Registry) -> Result<Invariants, sqlx::Error> {
    let mut findings = Findings::default();
    let mut after = String::new();
    loop {
        let mut tx = registry.db.begin().await?;
        let ids = store::invariants::ids(&mut tx, &after, PAGE).await?;
        let Some(last) = ids.last() else { break };
        after.clone_from(last);
        for id in &ids {
            look(registry, &mut tx, id, &mut findings).await?;
        }
        tx.commit().await?;
    }
    let mut tx = registry.db.begin().await?;
    let lost = store::invariants::operations_of_nothing(&mut tx).await?;
    findings.broken.extend(lost.into_iter().map(|id| (ONE_LAUNCH, id, "its cluster is not stored".to_owned())));
    let (numbers, gaps) = store::invariants::numbers(&mut tx).await?;
    findings.broken.extend(gaps.into_iter().map(|(subject, detail)| (NUMBERS, subject, detail)));
    let (keys, lost) = store::invariants::keys(&mut tx).await?;
    findings.broken.extend(lost.into_iter().map(|(subject, detail)| (KEYS, subject, detail)));
    tx.commit().await?;
    Ok(findings.told(numbers, keys))
}

async fn look(
    registry: &Registry,
    tx: &mut bigdata_chassis::Tx,
    id: &str,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let now = registry.clock.now();
    let read = match id.parse::<ClusterId>() {
        Ok(cluster) => match load(tx, &cluster, false).await {
            Ok(Some(stored)) if stored.faults(now).is_empty() => Ok(Some(stored)),
            Ok(_) => load(tx, &cluster, true).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(sqlx::Error::Decode(Box::new(error))),
    };
    match read {
        Ok(Some(stored)) => findings.add(&stored, now),
        Ok(None) => {}
        Err(error @ sqlx::Error::Decode(_)) => {
            findings.broken.push((READABLE, id.to_owned(), error.to_string()));
            findings.clusters += 1;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn load(tx: &mut bigdata_chassis::Tx, id: &ClusterId, hold: bool) -> Result<Option<Stored>, sqlx::Error> {
    let cluster = if hold { store::clusters::lock(tx, id).await? } else { store::invariants::cluster(tx, id).await? };
    let Some(cluster) = cluster else { return Ok(None) };
    let nodes = store::nodes::all_in(tx, id).await?;
    Ok(Some(Stored {
        cluster,
        events: store::invariants::events(tx, id).await?,
        operations: store::invariants::operations(tx, id).await?,
        undescribed: undescribed(tx, id, &nodes).await?,
        nodes,
    }))
}

async fn undescribed(
    tx: &mut bigdata_chassis::Tx,
    id: &ClusterId,
    nodes: &[NodeRow],
) -> Result<Vec<Name>, sqlx::Error> {
    let wanted: Vec<&NodeRow> = nodes.iter().filter(|node| !node.leaving).collect();
    let revisions: BTreeSet<u32> = wanted.iter().map(|node| node.wish.revision).collect();
    let mut undescribed = Vec::new();
    for revision in revisions {
        let stored = store::clusters::revision_in(tx, id, revision).await?;
        let of_it = wanted.iter().filter(|node| node.wish.revision == revision);
        let unknown = of_it.filter(|node| {
            stored.as_ref().is_none_or(|(specification, _)| !specification.blueprint.nodes.contains_key(&node.name))
        });
        undescribed.extend(unknown.map(|node| node.name.clone()));
    }
    Ok(undescribed)
}

impl Findings {
    fn add(&mut self, stored: &Stored, now: Timestamp) {
        let id = stored.cluster.id.to_string();
        self.clusters += 1;
        self.destroyed += u64::from(stored.cluster.ended_at().is_some());
        self.operations += u64::try_from(stored.operations.len()).unwrap_or(u64::MAX);
        self.nodes += u64::try_from(stored.nodes.len()).unwrap_or(u64::MAX);
        self.broken.extend(stored.faults(now).into_iter().map(|(name, detail)| (name, id.clone(), detail)));
        for node in &stored.nodes {
            let live = matches!(node.status, NodeStatus::Launching | NodeStatus::Running | NodeStatus::Unreachable);
            let Some(observation) = node.observation.as_ref().filter(|_| live) else { continue };
            let subject = format!("{id}/{}", node.name);
            if let Some(other) = self.attempts.insert(observation.attempt.id, subject.clone()) {
                let detail = format!("its attempt {} is that of {other}, too", observation.attempt.id);
                self.broken.push((ONE_ATTEMPT, subject, detail));
            }
        }
    }

    fn told(self, numbers: u64, keys: u64) -> Invariants {
        let mut invariants = Invariants::default();
        for (name, subjects) in [
            (READABLE, self.clusters),
            (ONE_LAUNCH, self.operations),
            (KEYS, keys),
            (NUMBERS, numbers),
            (HISTORY, self.clusters),
            (ONE_OPERATION, self.clusters),
            (WISHES, self.nodes),
            (IN_TIME, self.operations),
            (ONE_ATTEMPT, self.nodes),
            (NOTHING_LEFT, self.destroyed),
        ] {
            let broken = self.broken.iter().filter(|(broken, ..)| *broken == name);
            invariants.add(name, subjects, broken.map(|(_, subject, detail)| (subject.clone(), detail.clone())));
        }
        invariants
    }
}
