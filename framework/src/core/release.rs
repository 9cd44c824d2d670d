//! The end of a cluster: its nodes are ended, its volumes dealt with, its leases freed.

use super::model::{Cluster, Fate, Phase, Volume};
use super::output::{Call, Input, Write};
use super::records::AgentNumber;
use super::{Core, RELEASING};
use crate::placement::take::{LABEL_CLUSTER, LABEL_NODE, LABEL_REGISTRY};
use bigdata_common::event::Event;
use bigdata_common::status::Termination;
use bigdata_common::{AttemptId, ClusterId, Timestamp};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{OfferId, Operation, OperationState, OperationStatus, Resource};
use std::collections::BTreeSet;

/// A node that has not ended is told again after so long, and then after twice as long each time.
const KILL_EVERY_MS: u64 = 5_000;
/// The longest such wait.
const KILL_EVERY_MAX_MS: u64 = 60_000;
/// A DESTROY that has no effect is sent again so often.
const DESTROY_EVERY_MS: u64 = 5_000;
/// An offer that comes sooner after another was answered may have been made before that.
const IN_FLIGHT_MS: u64 = 300;

/// What a step has to do with releases.
pub(super) struct Scope {
    /// All of them are looked at: time has passed, or the master is another.
    all: bool,
    /// Offers have come.
    offers: bool,
    /// This cluster's wish may have changed.
    cluster: Option<ClusterId>,
}

impl Scope {
    /// What comes once per node, or per cluster, does not lead to a look at every node of every release.
    pub(super) fn of(input: &Input) -> Self {
        let cluster = match input {
            Input::Wanted { state, .. } => Some(state.cluster.clone()),
            _ => None,
        };
        let all = matches!(
            input,
            Input::Tick
                | Input::Subscribed { .. }
                | Input::Disconnected { .. }
                | Input::Expelled { .. }
                | Input::NotLaunched { .. }
        );
        Self { all, offers: matches!(input, Input::Offers(_)), cluster }
    }
}

impl Core {
    /// Takes releases as far as they go now.
    pub(super) fn release_all(&mut self, scope: &Scope, now: Timestamp) {
        self.note_releases();
        let mut touched = self.state.tasks.take_clusters();
        touched.extend(self.state.volumes.take_clusters());
        touched.extend(scope.cluster.clone());
        let mut departing = if scope.all { self.departing.clone() } else { both(&touched, &self.departing) };
        let mut ids = if scope.all { self.releasing.clone() } else { both(&touched, &self.releasing) };
        let mut changed = scope.all || scope.offers;
        for id in &ids {
            if scope.all || scope.cluster.as_ref() == Some(id) {
                self.end_nodes(id, now);
            }
            changed |= self.doom_volumes(id, now);
        }
        changed |= self.depart_all(&departing, now);
        if changed {
            self.check_doomed(now);
            self.destroy_doomed(now);
        }
        let touched = self.state.volumes.take_clusters();
        departing.extend(both(&touched, &self.departing));
        ids.extend(both(&touched, &self.releasing));
        self.finish_departures(&departing, now);
        for id in &ids {
            self.finish_release(id, now);
        }
        match &scope.cluster {
            _ if scope.all => self.end_unwanted(now),
            Some(id) => self.end_unwanted_of(id, now),
            None => {}
        }
    }

    /// Takes in which clusters, and which clusters' nodes, are being released.
    fn note_releases(&mut self) {
        for id in self.state.clusters.take_noted(RELEASING) {
            let cluster = self.state.clusters.get(&id);
            keep(&mut self.departing, &id, cluster.is_some_and(|cluster| cluster.departing().next().is_some()));
            keep(&mut self.releasing, &id, cluster.is_some_and(Cluster::is_releasing));
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

    /// Once all nodes have ended: what becomes of the volumes. Whether that was decided now.
    fn doom_volumes(&mut self, id: &ClusterId, now: Timestamp) -> bool {
        let decides = |cluster: &Cluster| matches!(cluster.phase, Phase::Releasing { volumes_since: None, .. });
        if self.has_live_tasks(id) || !self.state.clusters.get(id).is_some_and(decides) {
            return false;
        }
        let Some(cluster) = self.state.clusters.get_mut(id) else { return false };
        let wipe = cluster.termination == Termination::Wipe;
        let Phase::Releasing { volumes_since, leftovers, .. } = &mut cluster.phase else { return false };
        *volumes_since = Some(now);
        let is_decided_now = |volume: &Volume| volume.fate != Fate::Doomed && volume.lost_at.is_none();
        let changed = self.state.volumes.change(id, is_decided_now, |volume| {
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
        true
    }

    pub(super) fn doomed_of(&self, id: &ClusterId) -> Vec<&Volume> {
        self.state.volumes.of_cluster(id).filter(|volume| volume.fate == Fate::Doomed).collect()
    }

    /// Whether the release of a cluster, or of a node, waits for its volumes' agents to make an offer.
    pub(super) fn waits_for_volumes(&self) -> bool {
        let is_waited_for = |volume: &Volume| {
            let Some(cluster) = self.state.clusters.get(&volume.cluster) else { return false };
            let waits = match cluster.phase {
                Phase::Active => cluster
                    .departing()
                    .any(|(name, departure)| *name == volume.node && departure.volumes_since.is_some()),
                Phase::Releasing { volumes_since, .. } => volumes_since.is_some(),
                Phase::Released { .. } => false,
            };
            waits && volume.fate == Fate::Doomed
        };
        self.state.volumes.noted(0).any(is_waited_for)
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
            let offered = |held: &super::Held| held.free.iter().any(|entry| entry.persistence_id() == Some(&volume.id));
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
        let doomed = self.state.volumes.noted(0).filter(|volume| volume.fate == Fate::Doomed);
        let agents: BTreeSet<_> = doomed.filter_map(|volume| self.state.agents.find(&volume.agent)).collect();
        let old = |held: &&super::Held| agents.contains(&held.agent) && now.millis_since(held.since) >= IN_FLIGHT_MS;
        let offers: Vec<OfferId> = self.offers.by_age().filter(old).map(|held| held.id.clone()).collect();
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
                if self.state.volumes.get(&volume).is_some_and(|volume| volume.fate == Fate::Doomed)
                    && let Some(destroyed) = self.state.volumes.remove(&volume)
                {
                    self.no_longer_offered(&destroyed);
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
            let (volumes, disks) = self.offered_waste(agent, now);
            if volumes.is_empty() && disks.is_empty() {
                continue;
            }
            let offers = self.offers.remove_of(agent);
            let mut destroyed = Vec::new();
            for id in volumes.iter().filter_map(Resource::persistence_id) {
                if let Some(volume) = self.state.volumes.get_mut(id) {
                    volume.destroy_sent = Some(now);
                    destroyed.push(volume.id.clone());
                }
            }
            self.answered(agent, now);
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
    fn offered_waste(&self, agent: AgentNumber, now: Timestamp) -> (Vec<Resource>, Vec<Resource>) {
        let (mut volumes, mut disks) = (Vec::new(), Vec::new());
        for entry in self.offers.of_agent(agent).flat_map(|held| held.free.iter()) {
            match entry.persistence_id() {
                Some(id) => {
                    let doomed = self.state.volumes.get(id).is_some_and(|volume| {
                        volume.fate == Fate::Doomed
                            && volume.agent == **self.state.agents.id(agent)
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
        let node = labels.get(LABEL_NODE);
        let cluster = labels.get(LABEL_CLUSTER).and_then(|text| text.parse::<ClusterId>().ok());
        let cluster = cluster.and_then(|id| self.state.clusters.get(&id));
        cluster.is_some_and(|cluster| match cluster.phase {
            Phase::Active => self.is_of_a_departed(&cluster.id, node),
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

fn keep(kept: &mut BTreeSet<ClusterId>, id: &ClusterId, is_of_interest: bool) {
    if !is_of_interest {
        kept.remove(id);
    } else if !kept.contains(id) {
        kept.insert(id.clone());
    }
}

fn both(left: &BTreeSet<ClusterId>, right: &BTreeSet<ClusterId>) -> BTreeSet<ClusterId> {
    left.intersection(right).cloned().collect()
}

pub(super) fn in_words(volume: &Volume) -> String {
    format!(
        "volume {} (disk {} of node {}, {} MiB) on agent {}",
        volume.id, volume.disk, volume.node, volume.size, volume.host
    )
}
