//! What holds for one cluster and all that is stored of it. Pure.

use super::history;
use crate::cluster::record::Cluster;
use crate::lifecycle::State;
use crate::store::nodes::NodeRow;
use bigdata_common::api::cluster::EventView;
use bigdata_common::api::operation::OperationView;
use bigdata_common::internal::Desired;
use bigdata_common::status::{NodeStatus, OperationKind};
use bigdata_common::{Name, Timestamp};

pub(super) const ONE_LAUNCH: &str = "every accepted launch has exactly one cluster";
pub(super) const HISTORY: &str = "a cluster's history is a way through the status machine without gaps";
pub(super) const ONE_OPERATION: &str = "at most one operation changes a cluster at a time";
pub(super) const WISHES: &str = "every node that is wanted is described by its revision";
pub(super) const IN_TIME: &str = "every operation ends within its deadline";
pub(super) const NOTHING_LEFT: &str = "of a destroyed cluster nothing is left but what is listed";

/// What the timer and the last fact of a limit may take.
const GRACE_MS: i64 = 60_000;

/// A cluster, and all that is stored of it at the same instant.
pub(super) struct Stored {
    pub(super) cluster: Cluster,
    pub(super) events: Vec<EventView>,
    pub(super) operations: Vec<OperationView>,
    pub(super) nodes: Vec<NodeRow>,
    /// Nodes whose wishes name a revision that does not describe them.
    pub(super) undescribed: Vec<Name>,
}

impl Stored {
    /// What does not hold: the invariant, and what was found.
    pub(super) fn faults(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let cluster = &self.cluster;
        let status = cluster.state.status();
        let mut faults = Vec::new();
        let launches = self.operations.iter().filter(|operation| operation.kind == OperationKind::Launch).count();
        if launches != 1 {
            faults.push((ONE_LAUNCH, format!("it has {launches} launches")));
        }
        faults.extend(history::fault(&self.events, cluster.sequence, status).map(|fault| (HISTORY, fault)));
        for operation in self.operations.iter().filter(|operation| !operation.status.is_final()) {
            if !cluster.open_operations().any(|open| open == operation.id) {
                faults.push((ONE_OPERATION, format!("operation {} is open, and not the cluster's", operation.id)));
            }
            let over = operation.deadline.filter(|deadline| deadline.plus_millis(GRACE_MS) < now);
            if let Some(deadline) = over {
                faults.push((IN_TIME, format!("operation {} is open since its deadline {deadline}", operation.id)));
            }
        }
        let is_open = |id| self.operations.iter().any(|operation| operation.id == id && !operation.status.is_final());
        for id in cluster.open_operations().filter(|id| !is_open(*id)) {
            faults.push((ONE_OPERATION, format!("its operation {id} is not open")));
        }
        if cluster.work().map(|work| work.operation) != cluster.operation
            && matches!(cluster.state, State::Ready { .. })
        {
            faults.push((ONE_OPERATION, "its operation is not that of its work".to_owned()));
        }
        for node in &self.undescribed {
            faults.push((WISHES, format!("its revision does not describe the node {node}")));
        }
        faults.extend(self.left(now).map(|fault| (NOTHING_LEFT, fault)));
        faults
    }

    fn left(&self, now: Timestamp) -> Option<String> {
        let State::Destroyed { leftovers } = &self.cluster.state else { return None };
        if self.cluster.desired != Desired::Release || self.cluster.run.is_some() {
            return Some("its nodes or its script are still wanted to run".to_owned());
        }
        // The last facts about its nodes may come after the word that it is released.
        let ended_at = self.cluster.ended_at()?;
        if ended_at.plus_millis(GRACE_MS) >= now {
            return None;
        }
        let lives = |node: &&NodeRow| {
            let gone = matches!(node.status, NodeStatus::Pending | NodeStatus::Queued);
            let ended = matches!(node.status, NodeStatus::Stopped | NodeStatus::Failed);
            !gone && !ended && !leftovers.iter().any(|leftover| leftover.contains(node.name.as_str()))
        };
        let living: Vec<&str> = self.nodes.iter().filter(lives).map(|node| node.name.as_str()).collect();
        (!living.is_empty()).then(|| format!("not known to have ended, and not listed: {}", living.join(", ")))
    }
}
