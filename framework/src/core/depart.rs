//! A node that is wanted no more is released by itself: its attempts are ended, its volumes dealt with by the cluster's
//! termination policy; then it is told, and told again while the registry waits for it.

use super::Core;
use super::model::{Departure, Fate, Phase, Standing, TaskStage, Volume};
use super::output::Write;
use super::release::in_words;
use bigdata_common::event::Event;
use bigdata_common::internal::{ClusterState, NodeWish};
use bigdata_common::invariants::Invariants;
use bigdata_common::status::Termination;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use indexmap::IndexMap;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Core {
    /// Begins the release of every node that is not wanted any more.
    pub(super) fn let_go(&mut self, id: &ClusterId, wanted: &IndexMap<Name, NodeWish>, now: Timestamp) {
        let Some(cluster) = self.state.clusters.get(id).filter(|cluster| cluster.phase == Phase::Active) else {
            return;
        };
        let surplus: Vec<Name> = cluster.nodes.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in surplus {
            self.depart(id, &name, now);
        }
    }

    fn depart(&mut self, id: &ClusterId, name: &Name, now: Timestamp) {
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let Some(node) = cluster.nodes.shift_remove(name) else { return };
        let departure = Departure {
            since: now,
            sequence: node.sequence,
            attempts: node.attempts,
            volumes_since: None,
            leftovers: Vec::new(),
            told_at: None,
        };
        cluster.departures.insert(name.clone(), departure);
        cluster.wishes += 1;
        cluster.waiting.nodes.retain(|waiting| waiting.node != *name);
        let mut specification = None;
        if let Some(known) = &mut cluster.specification {
            Arc::make_mut(known).blueprint.nodes.shift_remove(name);
            specification = Some(Arc::clone(known));
        }
        if let Some(specification) = specification {
            self.persist(Write::Specification(id.clone(), specification));
        }
        self.persist(Write::DeleteNode(id.clone(), name.clone()));
        self.store_cluster(id);
        if let Some(task) = node.task.and_then(|task| self.state.tasks.get_mut(&task)) {
            (task.standing, task.state) = (Standing::Leaving, TaskStage::Stopping);
            let task = task.id;
            self.store_task(task);
        }
        self.changed = true;
        self.look(now);
    }

    /// Takes the releases of single nodes of these clusters as far as they go now. Whether it was decided now what becomes
    /// of the volumes of any.
    pub(super) fn depart_all(&mut self, ids: &BTreeSet<ClusterId>, now: Timestamp) -> bool {
        let clusters = ids.iter().filter_map(|id| self.state.clusters.get(id));
        let departing: Vec<(ClusterId, Name)> = clusters
            .flat_map(|cluster| cluster.departing().map(|(name, _)| (cluster.id.clone(), name.clone())))
            .collect();
        let mut settled = false;
        for (id, name) in &departing {
            let live: Vec<AttemptId> = self.live_tasks_of(id, name);
            let (away, left): (Vec<AttemptId>, Vec<AttemptId>) =
                live.into_iter().partition(|task| self.is_away_for_long(*task, now));
            for task in away {
                self.forget(task);
            }
            if left.is_empty() {
                settled |= self.settle_volumes(id, name, now);
            }
        }
        settled
    }

    /// Tells of the nodes of these clusters of which nothing is left that can be dealt with now.
    pub(super) fn finish_departures(&mut self, ids: &BTreeSet<ClusterId>, now: Timestamp) {
        let clusters = ids.iter().filter_map(|id| self.state.clusters.get(id));
        let settled: Vec<(ClusterId, Name, Timestamp)> = clusters
            .flat_map(|cluster| {
                let settled = cluster.departing().filter_map(|(name, one)| Some((name, one.volumes_since?)));
                settled.map(|(name, since)| (cluster.id.clone(), name.clone(), since))
            })
            .collect();
        for (id, name, since) in settled {
            self.finish_departure(&id, &name, since, now);
        }
    }

    fn live_tasks_of(&self, id: &ClusterId, name: &Name) -> Vec<AttemptId> {
        let live = self.state.tasks.of_cluster(id).filter(|task| task.node == *name && !task.forgotten);
        live.map(|task| task.id).collect()
    }

    fn settle_volumes(&mut self, id: &ClusterId, name: &Name, now: Timestamp) -> bool {
        let departure = self.state.clusters.get(id).and_then(|cluster| cluster.departures.get(name));
        if departure.is_none_or(|departure| departure.volumes_since.is_some()) {
            return false;
        }
        let Some(cluster) = self.state.clusters.get_mut(id) else { return false };
        let Some(departure) = cluster.departures.get_mut(name) else { return false };
        departure.volumes_since = Some(now);
        let kept = self.give_up_disks(id, name, now);
        if let Some(departure) = self.state.clusters.get_mut(id).and_then(|cluster| cluster.departures.get_mut(name)) {
            departure.leftovers = kept;
        }
        self.look(now);
        self.store_cluster(id);
        true
    }

    /// What becomes of the volumes of a node that does without them: by the cluster's termination policy they are destroyed,
    /// or kept; those, in words.
    pub(super) fn give_up_disks(&mut self, id: &ClusterId, name: &Name, now: Timestamp) -> Vec<String> {
        let wipe = self.state.clusters.get(id).is_some_and(|cluster| cluster.termination == Termination::Wipe);
        let is_used = |volume: &Volume| volume.node == *name && volume.fate != Fate::Doomed && !volume.left;
        let changed = self.state.volumes.change(id, is_used, |volume| {
            (volume.fate, volume.left) = (if wipe { Fate::Doomed } else { Fate::Kept }, !wipe);
            volume.doomed_at = wipe.then_some(now);
        });
        for volume in changed {
            self.persist(Write::Volume(Box::new(volume)));
        }
        let of_node = self
            .state
            .volumes
            .of_cluster(id)
            .filter(|volume| volume.node == *name && volume.left && volume.lost_at.is_none());
        of_node.map(|volume| format!("{} is kept", in_words(volume))).collect()
    }

    fn finish_departure(&mut self, id: &ClusterId, name: &Name, since: Timestamp, now: Timestamp) {
        let mut left: Vec<String> = self.attempts_left_of(id, name);
        let mut waits = false;
        for volume in self.doomed_of(id).into_iter().filter(|volume| volume.node == *name) {
            let away = self.is_with_the_away(volume);
            waits |= !away;
            let why = if away { "its agent is away" } else { "its agent has not offered it" };
            left.push(format!(
                "{} could not be destroyed yet: {why}; it is destroyed when the agent offers it",
                in_words(volume)
            ));
        }
        if waits && now.millis_since(since) < self.policy.release_limit_ms {
            return;
        }
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let Some(departure) = cluster.departures.get_mut(name) else { return };
        departure.leftovers.extend(left);
        departure.told_at = Some(now);
        self.tell_departure(id, name);
    }

    fn tell_departure(&mut self, id: &ClusterId, name: &Name) {
        let Some(cluster) = self.state.clusters.get(id) else { return };
        let Some(departure) = cluster.departures.get(name) else { return };
        let (node, leftovers) = (name.clone(), departure.leftovers.clone());
        let sequence = Some(departure.sequence);
        let event = Event::NodeReleased { node, generation: cluster.generation, sequence, leftovers };
        self.store_cluster(id);
        self.emit(id, event);
    }

    /// Nodes that the registry waits for: one that is not known here has nothing that is left.
    pub(super) fn tell_of_departures(&mut self, state: &ClusterState, now: Timestamp) {
        let id = &state.cluster;
        for name in &state.leaving {
            let Some(cluster) = self.state.clusters.get_mut(id) else { return };
            if cluster.phase != Phase::Active || cluster.nodes.contains_key(name) {
                continue;
            }
            let again = self.policy.tell_again_ms;
            let sequence = state.observed.get(name.as_str()).copied().unwrap_or(0);
            match cluster.departures.get_mut(name) {
                None => {
                    let departure = Departure {
                        since: now,
                        sequence,
                        attempts: 0,
                        volumes_since: Some(now),
                        leftovers: Vec::new(),
                        told_at: Some(now),
                    };
                    cluster.departures.insert(name.clone(), departure);
                }
                Some(departure) if departure.told_at.is_some_and(|at| now.millis_since(at) >= again) => {
                    departure.told_at = Some(now);
                    // The registry may have heard of more than this database knows, which was restored then.
                    departure.sequence = departure.sequence.max(sequence);
                }
                Some(_) => continue,
            }
            self.tell_departure(id, name);
        }
    }

    /// Whether a reservation is of a node that the cluster does without.
    pub(super) fn is_of_a_departed(&self, id: &ClusterId, node: Option<&str>) -> bool {
        let Some(name) = node.and_then(|node| node.parse::<Name>().ok()) else { return false };
        let departure = self.state.clusters.get(id).and_then(|cluster| cluster.departures.get(&name));
        departure.is_some_and(|departure| departure.volumes_since.is_some()) && self.live_tasks_of(id, &name).is_empty()
    }

    /// A node that was told to be released has no attempt that is not listed.
    pub(super) fn check_departures(&self, found: &mut Invariants) {
        let released = || {
            self.state.clusters.values().filter(|cluster| cluster.phase == Phase::Active).flat_map(|cluster| {
                let told = cluster.departures.iter().filter(|(_, departure)| departure.told_at.is_some());
                told.map(|(name, _)| (&cluster.id, name))
            })
        };
        let broken = released().filter_map(|(id, name)| {
            let live = self.live_tasks_of(id, name);
            (!live.is_empty()).then(|| (format!("{id}/{name}"), format!("its attempts {live:?} have not ended")))
        });
        let subjects = u64::try_from(released().count()).unwrap_or(u64::MAX);
        found.add("a node that was released has no attempt that is not listed", subjects, broken);
    }
}
