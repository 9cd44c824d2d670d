//! A launch goes on without an agent that is away: its node gets another attempt elsewhere.
//!
//! Unreachable is not dead, and a node that may hold data waits for its agent, unless its blueprint says otherwise
//! ([`super::replace`]). During a launch, before all nodes of the cluster, or a new one, have run, nothing is configured and
//! no data is lost: after a short while the attempt is superseded. Its address, ports and resources stay leased until its
//! end is confirmed; it enrols no more, and is ended as soon as it is heard of.

use super::Core;
use super::facts::Kind;
use super::model::{Cluster, Fate, Standing, Task, TaskStage, Volume};
use super::output::Write;
use bigdata_common::status::NodeStatus;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use bigdata_mesos::v1::TaskState;

impl Core {
    /// Supersedes the attempts of launches whose agents have been away for too long.
    pub(super) fn supersede_lost(&mut self, now: Timestamp) {
        if !self.is_subscribed() {
            return;
        }
        for id in self.take_lost(None, now) {
            self.supersede(id, now);
        }
    }

    /// The same for one cluster, of which something else is wanted now.
    pub(super) fn supersede_lost_of(&mut self, cluster: &ClusterId, now: Timestamp) {
        if !self.is_subscribed() {
            return;
        }
        for id in self.take_lost(Some(cluster), now) {
            self.supersede(id, now);
        }
    }

    fn supersede(&mut self, id: AttemptId, now: Timestamp) {
        let Some(task) = self.state.tasks.get_mut(&id) else { return };
        task.standing = Standing::Superseded { since: now, alive: false };
        task.report.passing = None;
        let (cluster, name) = (task.cluster.clone(), task.node.clone());
        tracing::warn!(task = %id, cluster = %cluster, node = %name, "an attempt is superseded: its agent is away");
        let mut holds_data = false;
        if let Some(cluster) = self.state.clusters.get_mut(&cluster) {
            cluster.waiting_since.get_or_insert(now);
            cluster.waiting.told_at = Some(now);
            let is_unconfigured = cluster.is_unconfigured();
            if let Some(node) = cluster.nodes.get_mut(&name) {
                holds_data = node.gives_up || (node.ran && !is_unconfigured);
                node.gives_up = holds_data;
                (node.task, node.agent, node.not_before) = (None, None, None);
            }
        }
        if holds_data {
            self.give_up_place(&cluster, &name, now);
        } else {
            self.doom_volumes_of(&cluster, &name, now);
        }
        let Some(task) = self.state.tasks.get(&id) else { return };
        let reason = self.superseded_in_words(task, holds_data, now);
        let Some(task) = self.state.tasks.get_mut(&id) else { return };
        task.report.reason = Some(reason);
        let observation = task.observation(NodeStatus::Unreachable, now);
        self.store_task(id);
        self.observe(&cluster, &name, Kind::Unreachable, observation, now);
        self.store_cluster(&cluster);
        self.changed = true;
        self.look(now);
    }

    /// What a node without data has made on an agent that it leaves.
    pub(super) fn doom_volumes_of(&mut self, cluster: &ClusterId, node: &Name, now: Timestamp) {
        let of_node = |volume: &Volume| volume.node == *node && volume.fate == Fate::Used;
        let doomed = self.state.volumes.change(cluster, of_node, |volume| {
            (volume.fate, volume.doomed_at) = (Fate::Doomed, Some(now));
        });
        for volume in doomed {
            self.persist(Write::Volume(Box::new(volume)));
        }
    }

    /// A task has ended: until now no offer could hold its volumes.
    pub(super) fn volumes_outlive(&mut self, task: &Task, now: Timestamp) {
        let of_task =
            |volume: &Volume| volume.fate == Fate::Doomed && (&volume.node, &volume.agent) == (&task.node, &task.agent);
        let later = self.state.volumes.change(&task.cluster, of_task, |volume| volume.doomed_at = Some(now));
        for volume in later {
            self.persist(Write::Volume(Box::new(volume)));
        }
    }

    /// Mesos tells of an attempt that is not to live on.
    pub(super) fn heard_of_unwanted(&mut self, id: AttemptId, state: TaskState, now: Timestamp) {
        let Some(task) = self.state.tasks.get_mut(&id) else { return };
        let unreachable = matches!(state, TaskState::Unreachable | TaskState::Unknown);
        let before = (task.unreachable_since, task.standing);
        task.note_reach(unreachable, now);
        if let Standing::Superseded { alive, .. } = &mut task.standing {
            *alive = !unreachable;
        }
        let renewed = task.standing == Standing::Renewed && before.0.is_some() != unreachable;
        let changed = before != (task.unreachable_since, task.standing);
        if renewed {
            let (stage, status, kind) = match unreachable {
                true => (TaskStage::Unreachable, NodeStatus::Unreachable, Kind::Unreachable),
                false => (TaskStage::Stopping, NodeStatus::Stopping, Kind::Health),
            };
            task.state = stage;
            let (cluster, name, observation) = (task.cluster.clone(), task.node.clone(), task.observation(status, now));
            self.observe(&cluster, &name, kind, observation, now);
        }
        if changed {
            self.store_task(id);
        }
        if !unreachable && self.is_subscribed() {
            self.kill_again(id, now);
        }
    }

    /// A node of a launch has another address than its peers were told at their enrolment: they get fresh attempts.
    pub(super) fn renew_peers(&mut self, id: &ClusterId, now: Timestamp) {
        if !self.state.clusters.get(id).is_some_and(Cluster::is_unconfigured) {
            return;
        }
        let mut renewed = Vec::new();
        let ids: Vec<AttemptId> = self.state.tasks.of_cluster(id).map(|task| task.id).collect();
        for task in ids {
            let Some(task) = self.state.tasks.get_mut(&task) else { continue };
            if !task.is_current() || task.enrolled.is_none() || task.standing == Standing::Renewed {
                continue;
            }
            (task.standing, task.state) = (Standing::Renewed, TaskStage::Stopping);
            task.report.reason =
                Some("a node of its cluster was moved during the launch: it is started again".to_owned());
            renewed.push((task.id, task.node.clone(), task.observation(NodeStatus::Stopping, now)));
        }
        for (task, node, observation) in renewed {
            self.store_task(task);
            self.observe(id, &node, Kind::Health, observation, now);
        }
    }

    /// Notes that all nodes of a cluster run: from now on the registry may have it configured.
    pub(super) fn note_whole(&mut self, id: &ClusterId) {
        let runs = |node: &super::model::Node| {
            node.observation.as_ref().is_some_and(|observation| observation.status == NodeStatus::Running)
        };
        let is_news = |cluster: &Cluster| !cluster.was_whole && cluster.nodes.values().all(runs);
        if self.state.clusters.get(id).is_some_and(is_news)
            && let Some(cluster) = self.state.clusters.get_mut(id)
        {
            cluster.was_whole = true;
            self.store_cluster(id);
        }
    }
}
