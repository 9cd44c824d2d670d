//! A node whose agent is lost, in a cluster that may hold data: by its blueprint it waits, or another agent takes it.

use super::Core;
use super::brake::Idle;
use super::facts::Kind;
use super::model::{Cluster, Fate, Node, Task, Volume};
use bigdata_common::blueprint::Replace;
use bigdata_common::internal::NodeObservation;
use bigdata_common::status::NodeStatus;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use std::collections::BTreeSet;

/// An attempt whose agent has been away for too long.
struct Lost {
    attempt: AttemptId,
    since: Timestamp,
    /// The agent, where the brake decides.
    braked: Option<String>,
}

impl Core {
    /// How long the agent of a node may be away before the node goes on without it; None: it is waited for.
    pub(super) fn patience(&self, cluster: &Cluster, name: &Name) -> Option<u64> {
        let node = cluster.nodes.get(name).filter(|_| cluster.is_placed())?;
        if node.gives_up {
            return Some(0);
        }
        if cluster.is_fresh(node) {
            return Some(self.policy.unreachable_launch_ms);
        }
        after_ms(cluster, name)
    }

    /// The attempts whose agents have been away for too long: of one cluster, or of all. Of those that may hold data only the
    /// ones that the brake lets go.
    pub(super) fn take_lost(&mut self, of: Option<&ClusterId>, now: Timestamp) -> Vec<AttemptId> {
        let lost = match of {
            Some(cluster) => self.lost_of(self.state.tasks.of_cluster(cluster), now),
            None => self.lost_of(self.state.tasks.values(), now),
        };
        let braked = lost.iter().filter_map(|lost| Some((lost.since, lost.braked.as_deref()?)));
        let admitted = self.admit(braked, now);
        let goes = |lost: &Lost| lost.braked.is_none() || lost.braked == admitted;
        lost.into_iter().filter(goes).map(|lost| lost.attempt).collect()
    }

    fn lost_of<'a>(&self, tasks: impl Iterator<Item = &'a Task>, now: Timestamp) -> Vec<Lost> {
        let lost = |task: &Task| {
            let since = task.unreachable_since.filter(|_| task.is_current())?;
            let cluster = self.state.clusters.get(&task.cluster)?;
            let limit = self.patience(cluster, &task.node)?;
            let braked = self.is_braked(cluster, task).then(|| task.agent.clone());
            (now.millis_since(since) >= limit).then_some(Lost { attempt: task.id, since, braked })
        };
        tasks.filter_map(lost).collect()
    }

    /// Nodes without an attempt whose agent has not taken them back for too long, be it gone or without room, where their
    /// blueprint allows another one.
    pub(super) fn replace_idle(&mut self, now: Timestamp) {
        if !self.is_subscribed() {
            return;
        }
        let mut late = self.idle_with_data(now);
        late.retain(|node| node.late);
        let admitted = self.admit(late.iter().map(|node| (node.since, node.agent.as_str())), now);
        late.retain(|node| Some(&node.agent) == admitted.as_ref());
        late.sort_by(|left, right| (&left.cluster, &left.name).cmp(&(&right.cluster, &right.name)));
        for Idle { cluster: id, name, since, .. } in late {
            let why = format!("has had no place for it for {} s", now.millis_since(since) / 1000);
            self.give_up_idle(&id, &name, &why, now);
        }
    }

    /// An agent was marked as gone at Mesos: somebody has decided that it does not come back with what it holds. So neither the
    /// time nor the brake counts for its nodes that another agent may take, and its volumes are lost.
    pub(super) fn give_up_gone(&mut self, agent: &str, now: Timestamp) {
        let bound = self.state.volumes.values().filter(|volume| volume.agent == agent && volume.seen && !volume.left);
        let bound: BTreeSet<(ClusterId, Name)> =
            bound.map(|volume| (volume.cluster.clone(), volume.node.clone())).collect();
        for (id, name) in bound {
            let may_move = self.state.clusters.get(&id).filter(|cluster| cluster.is_placed()).is_some_and(|cluster| {
                let idle = |node: &Node| node.task.is_none() && !cluster.is_fresh(node);
                cluster.nodes.get(&name).is_some_and(idle) && after_ms(cluster, &name).is_some()
            });
            if may_move && self.data_of(&id, &name) == Some(agent) {
                self.give_up_idle(&id, &name, "was marked as gone, with the disks that it has", now);
            }
        }
    }

    /// A node without an attempt looks for another place, and leaves what it has.
    fn give_up_idle(&mut self, id: &ClusterId, name: &Name, why: &str, now: Timestamp) {
        let Some(node) = self.state.clusters.get_mut(id).and_then(|cluster| cluster.nodes.get_mut(name)) else {
            return;
        };
        node.gives_up = true;
        self.seekers.ask_anew(id);
        let before = node.observation.clone();
        self.give_up_place(id, name, now);
        let is_over = |seen: &NodeObservation| matches!(seen.status, NodeStatus::Stopped | NodeStatus::Failed);
        if let Some(mut observation) = before.filter(is_over) {
            let lost = self.loss_in_words(id, name);
            observation.observed_at = now;
            observation.reason = Some(format!("its agent {} {why}: another one takes it; {lost}", observation.host));
            self.observe(id, name, Kind::Ended, observation, now);
        }
        self.changed = true;
        self.look(now);
    }

    /// The agent that a node's data binds it to.
    pub(super) fn data_of(&self, id: &ClusterId, name: &Name) -> Option<&str> {
        let binds =
            |volume: &&Volume| volume.node == *name && volume.seen && !volume.left && volume.fate != Fate::Doomed;
        self.state.volumes.of_cluster(id).find(binds).map(|volume| volume.agent.as_str())
    }

    /// A node that is to give its place up does, unless its attempt has not ended.
    pub(super) fn give_up_place(&mut self, id: &ClusterId, name: &Name, now: Timestamp) {
        let node = self.state.clusters.get(id).and_then(|cluster| cluster.nodes.get(name));
        if !node.is_some_and(|node| node.gives_up && node.task.is_none()) {
            return;
        }
        self.give_up_disks(id, name, now);
        let lost = self.loss_in_words(id, name);
        if let Some(node) = self.state.clusters.get_mut(id).and_then(|cluster| cluster.nodes.get_mut(name)) {
            (node.gives_up, node.ran, node.agent) = (false, false, None);
            node.loss = Some(format!("it takes another place: {lost}"));
        }
        self.store_node(id, name);
    }

    /// What a node leaves behind that gives its place up.
    pub(super) fn loss_in_words(&self, id: &ClusterId, name: &Name) -> String {
        let of_node = self.state.volumes.of_cluster(id).filter(|volume| volume.node == *name);
        let words = of_node.filter_map(|volume| {
            let words = super::release::in_words(volume);
            match volume.fate {
                Fate::Doomed => Some(format!("{words} is given up, and destroyed should its agent offer it")),
                Fate::Kept if volume.left && volume.lost_at.is_none() => Some(format!("{words} is given up, and kept")),
                Fate::Used | Fate::Kept => None,
            }
        });
        let words: Vec<String> = words.collect();
        if words.is_empty() { "it had no persistent disk".to_owned() } else { words.join("; ") }
    }

    /// After a subscription: agents may have come back while nobody was told, so nothing has waited for them yet.
    pub(super) fn wait_anew(&mut self, now: Timestamp) {
        let idle = |node: &Node| node.task.is_none() && node.ran;
        let waiting: Vec<ClusterId> = self
            .state
            .clusters
            .values()
            .filter(|cluster| cluster.nodes.values().any(idle))
            .map(|cluster| cluster.id.clone())
            .collect();
        for id in waiting {
            let Some(cluster) = self.state.clusters.get_mut(&id) else { continue };
            for node in cluster.nodes.values_mut().filter(|node| idle(node)) {
                node.idle_since = Some(now);
            }
        }
    }

    /// Why a node goes on without an attempt, and what it loses by that.
    pub(super) fn superseded_in_words(&self, task: &Task, held_data: bool, now: Timestamp) -> String {
        let seconds = task.unreachable_since.map_or(0, |since| now.millis_since(since) / 1000);
        let (host, number) = (&task.host, task.number);
        if held_data {
            let lost = self.loss_in_words(&task.cluster, &task.node);
            return format!(
                "its agent {host} could not be reached for {seconds} s: attempt {number} was given up, is ended as soon \
                 as it is heard of, and another agent takes the node; {lost}"
            );
        }
        format!(
            "its agent {host} could not be reached for {seconds} s during the launch: attempt {number} was given up, \
             and another place is looked for"
        )
    }
}

/// After how long without its agent another one takes a node, where its blueprint says so.
pub(super) fn after_ms(cluster: &Cluster, name: &Name) -> Option<u64> {
    match cluster.specification.as_ref()?.blueprint.nodes.get(name)?.replace {
        Replace::Wait => None,
        Replace::Elsewhere { after_ms } => Some(after_ms),
    }
}
