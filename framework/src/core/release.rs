//! The end of a cluster: its nodes are ended, its volumes dealt with, its leases freed.

use super::model::{Fate, Phase, Volume};
use super::output::{Call, Write};
use super::{Core, OPEN};
use crate::placement::take::{LABEL_CLUSTER, LABEL_REGISTRY};
use bigdata_common::event::Event;
use bigdata_common::status::Termination;
use bigdata_common::{AttemptId, ClusterId, Timestamp};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{OfferId, Operation, OperationState, OperationStatus, Resource};

/// A node that has not ended is told again after so long, and then after twice as long each time.
const KILL_EVERY_MS: u64 = 5_000;
/// The longest such wait.
const KILL_EVERY_MAX_MS: u64 = 60_000;
/// A DESTROY that has no effect is sent again so often.
const DESTROY_EVERY_MS: u64 = 5_000;
/// An offer that comes sooner after another was answered may have been made before that.
const IN_FLIGHT_MS: u64 = 300;

impl Core {
    /// Takes every release as far as it goes now.
    /// `urgent`: nodes that have not ended are looked at, too.
    pub(super) fn release_all(&mut self, urgent: bool, now: Timestamp) {
        let releasing: Vec<ClusterId> = self
            .state
            .clusters
            .noted(OPEN)
            .filter(|cluster| matches!(cluster.phase, Phase::Releasing { .. }))
            .map(|cluster| cluster.id.clone())
            .collect();
        for id in &releasing {
            if urgent {
                self.end_nodes(id, now);
            }
            self.doom_volumes(id, now);
        }
        self.check_doomed(now);
        self.destroy_doomed(now);
        for id in &releasing {
            self.finish_release(id, now);
        }
        if urgent {
            self.end_unwanted(now);
        }
    }

    fn has_live_tasks(&self, id: &ClusterId) -> bool {
        self.state.tasks.of_cluster(id).any(|task| !task.forgotten)
    }

    fn live_tasks(&self, id: &ClusterId) -> Vec<AttemptId> {
        let live = self.state.tasks.of_cluster(id).filter(|task| !task.forgotten);
        live.map(|task| task.id).collect()
    }

    fn end_nodes(&mut self, id: &ClusterId, now: Timestamp) {
        let tasks = self.live_tasks(id);
        let Some(cluster) = self.state.clusters.get(id) else { return };
        let Phase::Releasing { since, .. } = cluster.phase else { return };
        let forced = cluster.force && now.millis_since(since) >= self.policy.release_limit_ms;
        for task in tasks {
            if forced || self.is_away_for_long(task, now) {
                self.forget(task);
            } else if self.is_subscribed() {
                self.kill_again(task, now);
            }
        }
    }

    pub(super) fn kill_again(&mut self, id: AttemptId, now: Timestamp) {
        let Some(task) = self.state.tasks.get(&id) else { return };
        let wait = (KILL_EVERY_MS << task.kills.saturating_sub(1).min(8)).min(KILL_EVERY_MAX_MS);
        if task.killed_at.is_none_or(|at| now.millis_since(at) >= wait) {
            self.kill(id, now);
        }
    }

    /// Once all nodes have ended: what becomes of the volumes.
    fn doom_volumes(&mut self, id: &ClusterId, now: Timestamp) {
        if self.has_live_tasks(id) {
            return;
        }
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let wipe = cluster.termination == Termination::Wipe;
        let Phase::Releasing { volumes_since, leftovers, .. } = &mut cluster.phase else { return };
        if volumes_since.is_some() {
            return;
        }
        *volumes_since = Some(now);
        let is_spared = |volume: &Volume| volume.fate != Fate::Doomed;
        let changed = self.state.volumes.change(id, is_spared, |volume| {
            volume.fate = if wipe { Fate::Doomed } else { Fate::Kept };
            volume.doomed_at = wipe.then_some(now);
            if !wipe {
                leftovers.push(format!("{} is kept", in_words(volume)));
            }
        });
        self.look(now);
        for volume in changed {
            self.persist(Write::Volume(Box::new(volume)));
        }
        self.store_cluster(id);
    }

    fn doomed_of(&self, id: &ClusterId) -> Vec<&Volume> {
        self.state.volumes.of_cluster(id).filter(|volume| volume.fate == Fate::Doomed).collect()
    }

    /// Whether the release of a cluster waits for its volumes' agents to make an offer.
    pub(super) fn waits_for_volumes(&self) -> bool {
        let waits = |cluster: &super::model::Cluster| {
            matches!(cluster.phase, Phase::Releasing { volumes_since: Some(_), .. })
                && !self.doomed_of(&cluster.id).is_empty()
        };
        self.state.clusters.noted(OPEN).any(waits)
    }

    /// A doomed volume that its agent's newest offer does not hold is gone, or was never made.
    fn check_doomed(&mut self, now: Timestamp) {
        let mut gone = Vec::new();
        let mut unsure = false;
        self.state.volumes.settle(|volume| volume.fate == Fate::Doomed);
        for volume in self.state.volumes.noted(0) {
            if self.is_held_by_the_unwanted(volume) {
                continue;
            }
            let answered = self.state.agents.get(&volume.agent).and_then(|agent| agent.answered_at);
            let mut offers = self.held_of(&volume.agent).peekable();
            if offers.peek().is_none() {
                continue;
            }
            let offered = |held: &super::Held| {
                held.offer.resources.iter().any(|entry| entry.persistence_id() == Some(&volume.id))
            };
            if offers.any(offered) {
                continue;
            }
            // An offer that was made before the volume's task had ended, or before another was answered, says nothing.
            let certain_from = answered.max(volume.doomed_at);
            let certain = self
                .held_of(&volume.agent)
                .map(|held| held.since)
                .max()
                .is_some_and(|latest| certain_from.is_none_or(|from| latest.millis_since(from) >= IN_FLIGHT_MS));
            if certain {
                gone.push(volume.id.clone());
            } else {
                unsure = true;
            }
        }
        for id in gone {
            self.state.volumes.remove(&id);
            self.persist(Write::DeleteVolume(id));
        }
        if unsure {
            self.answer_unsure(now);
        }
    }

    /// Whether an attempt of which only the end is awaited may still use the volume: then no offer holds it.
    fn is_held_by_the_unwanted(&self, volume: &Volume) -> bool {
        self.state
            .tasks
            .of_cluster(&volume.cluster)
            .any(|task| !task.is_current() && (&task.node, &task.agent) == (&volume.node, &volume.agent))
    }

    /// Offers that may be older than the last answer are given back, so that newer ones come.
    fn answer_unsure(&mut self, now: Timestamp) {
        let agents: Vec<String> = self
            .state
            .volumes
            .noted(0)
            .filter(|volume| volume.fate == Fate::Doomed)
            .map(|volume| volume.agent.clone())
            .collect();
        let old = |held: &&super::Held| {
            agents.contains(&held.offer.agent_id.value) && now.millis_since(held.since) >= IN_FLIGHT_MS
        };
        let offers: Vec<OfferId> = self.offers.values().filter(old).map(|held| held.offer.id.clone()).collect();
        if offers.is_empty() {
            return;
        }
        for offer in &offers {
            self.offers.remove(offer.as_str());
        }
        self.call(Call::Decline { offers, refuse_seconds: 0.0 });
    }

    /// What came of a DESTROY.
    pub(super) fn operated(&mut self, status: OperationStatus) {
        let id = status.operation_id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
        if status.state() == OperationState::Finished {
            for volume in self.destroying.remove(&id).unwrap_or_default() {
                if self.state.volumes.get(&volume).is_some_and(|volume| volume.fate == Fate::Doomed) {
                    self.state.volumes.remove(&volume);
                    self.persist(Write::DeleteVolume(volume));
                }
            }
        } else if status.state() != OperationState::Pending {
            self.destroying.remove(&id);
            tracing::warn!(operation = id, state = %status.state(), message = status.message, "a volume was not destroyed");
        }
        self.call(Call::AcknowledgeOperation(status));
    }

    fn destroy_doomed(&mut self, now: Timestamp) {
        for agent in self.offers.agents_with_reservations() {
            let (volumes, disks) = self.offered_waste(&agent, now);
            if volumes.is_empty() && disks.is_empty() {
                continue;
            }
            let offers: Vec<OfferId> = self.held_of(&agent).map(|held| held.offer.id.clone()).collect();
            for offer in &offers {
                self.offers.remove(offer.as_str());
            }
            let mut destroyed = Vec::new();
            for id in volumes.iter().filter_map(Resource::persistence_id) {
                if let Some(volume) = self.state.volumes.get_mut(id) {
                    volume.destroy_sent = Some(now);
                    destroyed.push(volume.id.clone());
                }
            }
            self.answered(&agent, now);
            let mut operations = Vec::new();
            let unreserved: Resources = volumes.iter().cloned().map(Resource::not_persistent).chain(disks).collect();
            if !volumes.is_empty() {
                let id = format!("destroy-{}", self.random_attempt());
                operations.push(Operation::destroy(volumes).with_id(id.as_str()));
                self.destroying.insert(id, destroyed);
            }
            operations.push(Operation::unreserve(unreserved.to_vec()));
            self.call(Call::Accept { offers, operations, refuse_seconds: 0.0, tasks: Vec::new() });
            self.demand.revive = true;
        }
    }

    /// Doomed volumes that an agent offers, and disk that was reserved for a cluster that is gone and is no volume.
    fn offered_waste(&self, agent: &str, now: Timestamp) -> (Vec<Resource>, Vec<Resource>) {
        let (mut volumes, mut disks) = (Vec::new(), Vec::new());
        for entry in self.held_of(agent).flat_map(|held| &held.offer.resources) {
            match entry.persistence_id() {
                Some(id) => {
                    let doomed = self.state.volumes.get(id).is_some_and(|volume| {
                        volume.fate == Fate::Doomed
                            && volume.agent == agent
                            && volume.destroy_sent.is_none_or(|at| now.millis_since(at) >= DESTROY_EVERY_MS)
                    });
                    if doomed {
                        volumes.push(entry.clone());
                    }
                }
                None if self.is_waste(entry) => disks.push(entry.clone()),
                None => {}
            }
        }
        (volumes, disks)
    }

    /// Whether this is disk that we reserved for a cluster that is being, or was, released.
    fn is_waste(&self, entry: &Resource) -> bool {
        let Some(labels) = entry.reservations.last().and_then(|reservation| reservation.labels.as_ref()) else {
            return false;
        };
        if labels.get(LABEL_REGISTRY) != Some(self.policy.rules.registry.as_str()) || !entry.is_dynamically_reserved() {
            return false;
        }
        let cluster = labels.get(LABEL_CLUSTER).and_then(|text| text.parse::<ClusterId>().ok());
        let cluster = cluster.and_then(|id| self.state.clusters.get(&id));
        cluster.is_some_and(|cluster| match cluster.phase {
            Phase::Active => false,
            Phase::Releasing { .. } => !self.has_live_tasks(&cluster.id),
            Phase::Released { .. } => true,
        })
    }

    fn finish_release(&mut self, id: &ClusterId, now: Timestamp) {
        if self.has_live_tasks(id) {
            return;
        }
        let (away, remaining): (Vec<&Volume>, Vec<&Volume>) =
            self.doomed_of(id).into_iter().partition(|volume| self.is_with_the_away(volume));
        let away = away.into_iter().map(|volume| {
            format!(
                "{} could not be destroyed: its agent is away; it is destroyed when the agent is back",
                in_words(volume)
            )
        });
        let mut left: Vec<String> = self.attempts_left(id).into_iter().chain(away).collect();
        let remaining: Vec<String> = remaining.into_iter().map(in_words).collect();
        let limit = self.policy.release_limit_ms;
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let Phase::Releasing { volumes_since: Some(since), leftovers, .. } = &cluster.phase else { return };
        if !remaining.is_empty() && now.millis_since(*since) < limit {
            return;
        }
        left.extend_from_slice(leftovers);
        left.extend(remaining.into_iter().map(|words| {
            format!("{words} could not be destroyed yet: its agent has not offered it; it is destroyed when it does")
        }));
        let generation = cluster.generation;
        cluster.phase = Phase::Released { leftovers: left.clone(), told_at: now };
        self.free_uids(id);
        self.store_cluster(id);
        self.emit(id, Event::ClusterReleased { generation, leftovers: left });
    }
}

fn in_words(volume: &Volume) -> String {
    format!(
        "volume {} (disk {} of node {}, {} MiB) on agent {}",
        volume.id, volume.disk, volume.node, volume.size, volume.host
    )
}
