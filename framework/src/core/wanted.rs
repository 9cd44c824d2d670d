//! What the registry wants of clusters.

use super::Core;
use super::model::{Cluster, Node, Phase};
use super::output::Write;
use bigdata_common::event::Event;
use bigdata_common::internal::{ClusterState, Desired, Specification};
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterId, Name, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How long after it was told a release is told again to a registry that still asks for it.
const RELEASED_AGAIN_MS: u64 = 30_000;

impl Core {
    /// Takes in what the registry says of a cluster. What is older than what is known changes nothing.
    pub(super) fn wanted(
        &mut self,
        state: &ClusterState,
        specifications: &[Arc<Specification>],
        hinted: bool,
        now: Timestamp,
    ) {
        let id = &state.cluster;
        if !self.state.clusters.contains_key(id) {
            self.first_seen(state, now);
        }
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        // A change that is taken back leads to the former revision: only an older registry counts up for ever.
        let is_older = state.nodes.is_empty() && state.revision < cluster.revision;
        if state.generation < cluster.generation || is_older {
            return;
        }
        let was = (cluster.status, cluster.desired, cluster.generation, cluster.force, cluster.termination);
        let retried = state.generation > cluster.generation;
        cluster.generation = state.generation;
        cluster.termination = state.termination;
        cluster.placement_deadline = state.placement_deadline;
        cluster.origin.clone_from(&state.origin);
        cluster.force |= state.force;
        if retried {
            cluster.status = state.status;
            cluster.desired = state.desired;
        } else {
            // Two reads may come out of order: a failure, or a release, is not taken back in one generation.
            if rank(state.status) >= rank(cluster.status) {
                cluster.status = state.status;
            }
            if state.desired == Desired::Release {
                cluster.desired = Desired::Release;
            }
        }
        if was != (cluster.status, cluster.desired, cluster.generation, cluster.force, cluster.termination) {
            self.changed = true;
            self.store_cluster(id);
        }
        self.take_wishes(state, specifications, now);
        if retried {
            self.retried(id, now);
        }
        self.resume_after_ready(id, was.0);
        self.release_if_wanted(id, hinted, now);
        self.tell_what_was_missed(state, now);
    }

    fn first_seen(&mut self, state: &ClusterState, now: Timestamp) {
        let id = state.cluster.clone();
        let mut cluster = Cluster::new(state);
        if state.desired == Desired::Run && state.status.is_launching() {
            cluster.waiting_since = Some(now);
        }
        self.state.clusters.insert(id.clone(), cluster);
        self.store_cluster(&id);
        self.changed = true;
        if state.desired == Desired::Run && state.status.is_launching() {
            self.emit(&id, Event::PlacementWaiting { generation: state.generation, reasons: Vec::new() });
        }
    }

    /// A failed cluster is taken up again: nodes that do not run get fresh attempts, and what runs is told anew.
    fn retried(&mut self, id: &ClusterId, now: Timestamp) {
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        if cluster.desired == Desired::Run {
            // What a release has ended already comes back as fresh attempts.
            cluster.phase = Phase::Active;
        }
        cluster.waiting.told.clear();
        let generation = cluster.generation;
        let names: Vec<Name> = cluster.nodes.keys().cloned().collect();
        let mut looks_for_place = false;
        for name in &names {
            let Some(node) = self.state.clusters.get_mut(id).and_then(|cluster| cluster.nodes.get_mut(name)) else {
                continue;
            };
            (node.faults, node.failures, node.gave_up, node.not_before) = (0, 0, false, None);
            if node.task.is_some() {
                self.tell_again(id, name, now);
            } else {
                looks_for_place = true;
                self.store_node(id, name);
            }
        }
        if looks_for_place {
            if let Some(cluster) = self.state.clusters.get_mut(id) {
                cluster.waiting_since = Some(now);
            }
            self.store_cluster(id);
            self.emit(id, Event::PlacementWaiting { generation, reasons: Vec::new() });
        }
    }

    /// Once a cluster is ready its nodes are tried without a limit.
    fn resume_after_ready(&mut self, id: &ClusterId, was: ClusterStatus) {
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        if cluster.status != ClusterStatus::Ready || was == ClusterStatus::Ready {
            return;
        }
        let gave_up: Vec<Name> =
            cluster.nodes.iter().filter(|(_, node)| node.gave_up).map(|(name, _)| name.clone()).collect();
        for name in gave_up {
            if let Some(node) = self.state.clusters.get_mut(id).and_then(|cluster| cluster.nodes.get_mut(&name)) {
                node.gave_up = false;
            }
            self.store_node(id, &name);
        }
    }

    fn release_if_wanted(&mut self, id: &ClusterId, hinted: bool, now: Timestamp) {
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        if cluster.desired != Desired::Release {
            return;
        }
        match &mut cluster.phase {
            Phase::Active => {
                cluster.phase = Phase::Releasing { since: now, volumes_since: None, leftovers: Vec::new() };
                cluster.waiting_since = None;
                self.changed = true;
                self.store_cluster(id);
            }
            Phase::Releasing { .. } => {}
            Phase::Released { leftovers, told_at } => {
                let waits = cluster.status != ClusterStatus::Failed;
                if hinted || (waits && now.millis_since(*told_at) >= RELEASED_AGAIN_MS) {
                    *told_at = now;
                    let (generation, leftovers) = (cluster.generation, leftovers.clone());
                    self.store_cluster(id);
                    self.emit(id, Event::ClusterReleased { generation, leftovers });
                }
            }
        }
    }

    /// Facts that the registry has not seen after a while are told again.
    fn tell_what_was_missed(&mut self, state: &ClusterState, now: Timestamp) {
        let again = self.policy.tell_again_ms;
        let Some(cluster) = self.state.clusters.get(&state.cluster) else { return };
        let missed = |(name, node): &(&Name, &Node)| {
            let seen = state.observed.get(name.as_str()).copied().unwrap_or(0);
            node.sequence > seen && node.told_at.is_none_or(|at| now.millis_since(at) >= again)
        };
        let missed: Vec<Name> = cluster.nodes.iter().filter(missed).map(|(name, _)| name.clone()).collect();
        for name in missed {
            self.tell_again(&state.cluster, &name, now);
        }
    }

    /// Forgets released clusters that the registry no longer lists, once nothing of them is left to be cleaned. Others that it does not list are reported, never
    /// touched: a registry that lost its data must not end what runs.
    pub(super) fn listed(&mut self, clusters: &BTreeSet<ClusterId>) {
        let missing: Vec<ClusterId> =
            self.state.clusters.keys().filter(|id| !clusters.contains(*id)).cloned().collect();
        for id in missing {
            if matches!(self.state.clusters[&id].phase, Phase::Released { .. }) {
                if !self.is_to_be_cleaned(&id) {
                    self.state.clusters.remove(&id);
                    self.persist(Write::DeleteCluster(id));
                }
            } else {
                tracing::warn!(cluster = %id, "the registry does not list a cluster that has nodes here; nothing is done");
            }
        }
    }
}

/// In one generation a status of lower rank does not replace one of a higher.
fn rank(status: ClusterStatus) -> u8 {
    match status {
        ClusterStatus::Registered => 0,
        ClusterStatus::Scheduling => 1,
        ClusterStatus::Scheduled => 2,
        ClusterStatus::Configuring => 3,
        ClusterStatus::Configured => 4,
        ClusterStatus::Ready => 5,
        ClusterStatus::Failed => 6,
        ClusterStatus::Destroying => 7,
        ClusterStatus::Destroyed => 8,
    }
}
