//! Attempts that are not confirmed to have ended when their cluster's release goes on without them: their agents are away,
//! or it was forced. Each keeps its address, ports and uid, is listed with its reason, and is ended when it is heard of;
//! then its volumes are dealt with.

use super::Core;
use super::model::{Fate, Standing, Task, Volume};
use super::orphans::orphan;
use super::output::Write;
use bigdata_common::api::orphan::Orphan;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};

impl Core {
    /// Whether nobody has been able to reach an attempt's agent for as long as a release waits.
    pub(super) fn is_away_for_long(&self, id: AttemptId, now: Timestamp) -> bool {
        let since = self.state.tasks.get(&id).and_then(|task| task.unreachable_since);
        // Without a subscription nobody would tell that the agent is back.
        self.is_subscribed() && since.is_some_and(|at| now.millis_since(at) >= self.policy.release_limit_ms)
    }

    /// The release goes on without an attempt.
    pub(super) fn forget(&mut self, id: AttemptId) {
        let Some(task) = self.state.tasks.get_mut(&id) else { return };
        task.forgotten = true;
        let (cluster, name) = (task.cluster.clone(), task.node.clone());
        tracing::warn!(task = %id, cluster = %cluster, node = %name, agent = task.host, "a release goes on without an attempt");
        self.store_task(id);
        let node = self.state.clusters.get_mut(&cluster).and_then(|cluster| cluster.nodes.get_mut(&name));
        if let Some(node) = node.filter(|node| node.task == Some(id)) {
            node.task = None;
        }
        self.store_node(&cluster, &name);
    }

    /// Ends attempts that are not to live on, though their clusters may.
    pub(super) fn end_unwanted(&mut self, now: Timestamp) {
        if !self.is_subscribed() {
            return;
        }
        let ends = self.state.tasks.settle(|task| task.forgotten || task.standing != Standing::Kept);
        let is_to_end = |task: &&Task| task.forgotten || ends_now(task.standing);
        let unwanted: Vec<AttemptId> = ends.into_iter().filter(is_to_end).map(|task| task.id).collect();
        for task in unwanted {
            self.kill_again(task, now);
        }
    }

    /// The same for those of one cluster, of which something else is wanted now.
    pub(super) fn end_unwanted_of(&mut self, cluster: &ClusterId, now: Timestamp) {
        if !self.is_subscribed() {
            return;
        }
        let is_to_end = |task: &&Task| task.forgotten || ends_now(task.standing);
        let unwanted: Vec<AttemptId> =
            self.state.tasks.of_cluster(cluster).filter(is_to_end).map(|task| task.id).collect();
        for task in unwanted {
            self.kill_again(task, now);
        }
    }

    fn forgotten_of(&self, id: &ClusterId) -> impl Iterator<Item = &Task> {
        self.state.tasks.of_cluster(id).filter(|task| task.forgotten)
    }

    /// Whether a volume cannot be destroyed before its agent is back, since it is still in use there.
    pub(super) fn is_with_the_away(&self, volume: &Volume) -> bool {
        let holds = |task: &Task| task.is_away() && (&task.node, &task.agent) == (&volume.node, &volume.agent);
        self.forgotten_of(&volume.cluster).any(holds)
    }

    /// The attempts that a released cluster leaves behind, in words.
    pub(super) fn attempts_left(&self, id: &ClusterId) -> Vec<String> {
        self.forgotten_of(id).map(left_in_words).collect()
    }

    /// Those of one node.
    pub(super) fn attempts_left_of(&self, id: &ClusterId, name: &Name) -> Vec<String> {
        self.forgotten_of(id).filter(|task| task.node == *name).map(left_in_words).collect()
    }

    /// Such attempts, and those whose nodes go on without them, as they are told of to operators.
    pub(super) fn outliving(&self) -> impl Iterator<Item = Orphan> {
        let outlives = |task: &Task| {
            let how = if task.is_away() {
                "while its agent was away; it is ended when the agent is back"
            } else {
                "before its end was confirmed; it is being ended"
            };
            let what =
                if task.forgotten { "which was released" } else { "which goes on without this attempt, given up" };
            let reason = format!("node {} of {}, {what} {how}", task.node, task.cluster);
            orphan("task", &task.id.to_string(), Some(&task.agent), reason)
        };
        let is_left = |task: &&Task| task.forgotten || matches!(task.standing, Standing::Superseded { .. });
        self.state.tasks.values().filter(is_left).map(outlives)
    }

    /// A released cluster's uids are free once none of its attempts can use them any more.
    pub(super) fn free_uids(&mut self, id: &ClusterId) {
        if !self.is_released(id) || self.state.tasks.of_cluster(id).next().is_some() {
            return;
        }
        self.state.uids.retain(|_, owner| owner != id);
        self.persist(Write::FreeUids(id.clone()));
    }

    /// Whether anything that is to be ended or destroyed is left of a cluster.
    pub(super) fn is_to_be_cleaned(&self, id: &ClusterId) -> bool {
        self.state.tasks.of_cluster(id).next().is_some()
            || self.state.volumes.of_cluster(id).any(|volume| volume.fate == Fate::Doomed)
    }
}

/// Whether an attempt with this standing is to be ended now.
fn ends_now(standing: Standing) -> bool {
    matches!(standing, Standing::Renewed | Standing::Leaving | Standing::Superseded { alive: true, .. })
}

fn left_in_words(task: &Task) -> String {
    let why = if task.is_away() { ": its agent is away; it is ended when the agent is back" } else { "" };
    format!("node {}: task {} on agent {} is not confirmed to have ended{why}", task.node, task.id, task.host)
}
