//! What the nodes of a cluster do that have a place, or have had one, while the cluster waits for them: so that no wait is
//! without a reason.

use super::Core;
use super::model::{Cluster, Node, Standing, Task, TaskStage};
use crate::placement::words;
use bigdata_common::api::explain::{NodeExplanation, Refusal};
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterId, Name, Timestamp};

/// Heartbeats come every 15 s; one may be late. The client gives the stream up after two and a half.
const SILENT_MS: u64 = 20_000;

impl Core {
    /// Nodes that are started, ended, tried again later or not at all, or do not pass their checks.
    pub(super) fn unready_of(&self, id: &ClusterId, now: Timestamp) -> Vec<NodeExplanation> {
        let Some(cluster) = self.state.clusters.get(id).filter(|cluster| cluster.is_placed()) else {
            return Vec::new();
        };
        let explain = |(name, node): (&Name, &Node)| {
            let task = node.task.and_then(|id| self.state.tasks.get(&id));
            let (reason, nearest) = match task {
                Some(task) => self.unready_task(cluster, task)?,
                None => without_task(node, now)?,
            };
            let needs = words::needs(cluster.specification.as_ref()?.blueprint.nodes.get(name)?);
            let refusals = vec![Refusal { reason: reason.to_owned(), agents: 0, nearest }];
            Some(NodeExplanation { node: name.clone(), needs, refusals })
        };
        cluster.nodes.iter().filter_map(explain).collect()
    }

    fn unready_task(&self, cluster: &Cluster, task: &Task) -> Option<(&'static str, String)> {
        if task.is_away() || !task.is_current() {
            return None;
        }
        let (host, number, reason) = (&task.host, task.number, task.report.reason.as_deref());
        if task.standing == Standing::Renewed {
            return Some(("stop", format!("attempt {number} on agent {host} is ended, and the node begun anew")));
        }
        match task.state {
            TaskStage::Launching => {
                let doing = self.starting_in_words(task);
                Some(("start", format!("agent {host} has it since {}: {doing}", task.launched_at)))
            }
            TaskStage::Stopping => Some(("stop", format!("attempt {number} on agent {host} is being ended"))),
            TaskStage::Running => {
                let node = cluster.specification.as_ref()?.blueprint.nodes.get(&task.node)?;
                let words = match task.report.passing {
                    Some(true) => return None,
                    Some(false) => format!("its checks do not pass: {}", reason.unwrap_or("they do not say why")),
                    None if node.health.is_some() && cluster.status.is_launching() => {
                        "its first check has not come back yet".to_owned()
                    }
                    None => return None,
                };
                Some(("health", format!("it runs on agent {host}, and {words}")))
            }
            TaskStage::Unreachable => None,
        }
    }

    fn starting_in_words(&self, task: &Task) -> String {
        match &task.enrolled {
            Some(_) => task.report.reason.clone().unwrap_or_else(|| "its executor prepares its folder".to_owned()),
            None if task.newest > 0.0 => {
                format!("its executor runs, and has not reached the framework at {} yet", self.policy.url)
            }
            None => "its executor is fetched or started, and has not spoken yet (staging); what hinders it stands in \
                     the task's sandbox there"
                .to_owned(),
        }
    }

    /// How far a cluster is whose nodes all have a place.
    pub(super) fn placed_in_words(&self, cluster: &Cluster) -> String {
        let tasks = || self.state.tasks.of_cluster(&cluster.id).filter(|task| task.is_current());
        let (all, live) = (cluster.nodes.len(), tasks().count());
        let running = tasks().filter(|task| task.state == TaskStage::Running).count();
        let (placed, dn) = (format!("{live} of {all} nodes have a place"), cluster.id.dn());
        match cluster.status {
            _ if !cluster.status.is_launching() => placed,
            _ if running < all => {
                let away = self.why_not_placing().map(|words| format!("; {words}")).unwrap_or_default();
                format!("{placed}, {running} of them run (bigdata cluster nodes {dn}){away}")
            }
            ClusterStatus::Configuring => {
                format!("all {all} nodes run; the product's script is at work (bigdata cluster logs {dn})")
            }
            ClusterStatus::Configured => {
                format!("all {all} nodes run and are configured; the cluster is ready when their checks pass")
            }
            _ => format!("all {all} nodes run; the product's script is to begin (bigdata operation list)"),
        }
    }

    /// That the master says nothing, though the stream is open.
    pub(super) fn silence_in_words(&self, now: Timestamp) -> Option<String> {
        let at = self.last_word.filter(|at| self.is_subscribed() && now.millis_since(*at) >= SILENT_MS)?;
        Some(format!(
            "no word from Mesos since {at}, though its heartbeats come every 15 s: the stream is given up soon, and \
             another one begun"
        ))
    }
}

fn without_task(node: &Node, now: Timestamp) -> Option<(&'static str, String)> {
    let seen = node.observation.as_ref()?;
    let why = seen.reason.as_deref().unwrap_or("it was not told why");
    let ended = format!("attempt {} on agent {} has ended ({why})", node.attempts, seen.host);
    if node.gave_up {
        let next =
            "bigdata cluster retry takes a launch up again, bigdata node replace begins a ready cluster's node anew";
        return Some(("retry", format!("{ended}, and it is not tried again by itself: {next}")));
    }
    let at = node.not_before.filter(|at| *at > now)?;
    Some(("retry", format!("{ended}; it is tried again at {at}")))
}
