//! What is told to those who ask: agents, why a cluster waits, whether a cluster would fit.

use super::Core;
use super::model::{Cluster, Phase, Task};
use crate::placement::{Request, engine_of, words};
use bigdata_common::api::cluster::Fit;
use bigdata_common::api::explain::{AgentList, AgentView, Explanation, NodeExplanation, Refusal};
use bigdata_common::blueprint::{Blueprint, Node};
use bigdata_common::internal::Engines;
use bigdata_common::{ClusterDn, ClusterId, Name, ProductRef, Timestamp};
use std::collections::BTreeMap;

/// Why a node's executor cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoControl {
    UnknownCluster,
    UnknownNode,
    NotEnrolled,
}

impl Core {
    pub(crate) fn agents(&self) -> AgentList {
        let mut agents: Vec<AgentView> = self
            .state
            .agents
            .values()
            .map(|agent| {
                let nodes = self.state.tasks.of_agent(&agent.id).count();
                AgentView {
                    id: agent.id.clone(),
                    host: agent.host.clone(),
                    attributes: agent.attributes.clone(),
                    total: agent.total,
                    used: self.used_on(&agent.id),
                    nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
                    seen_at: agent.seen_at,
                }
            })
            .collect();
        agents.sort_by(|left, right| (&left.host, &left.id).cmp(&(&right.host, &right.id)));
        AgentList { agents }
    }

    /// How many of the agents that are here have a container engine.
    pub(crate) fn engines(&self) -> Engines {
        let mut engines = Engines::default();
        for agent in self.state.agents.values().filter(|agent| agent.fresh) {
            engines.agents += 1;
            if let Some(kind) = engine_of(&agent.attributes) {
                engines.with_engine += 1;
                engines.kinds.insert(kind.to_owned());
            }
        }
        engines
    }

    /// The task through which a node is controlled.
    ///
    /// # Errors
    /// See [`NoControl`].
    pub(crate) fn controlled(&self, cluster: &ClusterId, node: &Name) -> Result<&Task, NoControl> {
        let cluster = self.state.clusters.get(cluster).ok_or(NoControl::UnknownCluster)?;
        let node = cluster.nodes.get(node).ok_or(NoControl::UnknownNode)?;
        let task = node.task.and_then(|id| self.state.tasks.get(&id));
        task.filter(|task| task.enrolled.is_some()).ok_or(NoControl::NotEnrolled)
    }

    /// Why a cluster waits: which of its nodes wait for a place, for their agents, for their executors or their checks.
    pub(crate) fn explain(&self, id: &ClusterId, now: Timestamp) -> Option<Explanation> {
        let mut explanation = self.explain_search(id, now)?;
        self.explain_held(id, &mut explanation.nodes, now);
        if let Some(words) = self.silence_in_words(now) {
            for node in &mut explanation.nodes {
                node.refusals.insert(0, words::no_agents(&words));
            }
            explanation.summary = format!("{}; {words}", explanation.summary);
        }
        explanation.nodes.extend(self.away_of(id, now));
        explanation.nodes.extend(self.unready_of(id, now));
        Some(explanation)
    }

    /// What each node of a cluster takes, its executor included: CPUs, MiB of memory and MiB of disk.
    pub(crate) fn amounts_of(&self, id: &ClusterId) -> BTreeMap<Name, [f64; 3]> {
        let specification = self.state.clusters.get(id).and_then(|cluster| cluster.specification.as_ref());
        let rules = &self.policy.rules;
        let amounts = |(name, node): (&Name, &Node)| {
            let disk: u64 = node.disks.values().map(|disk| disk.size).sum();
            (name.clone(), [node.cpu + rules.executor_cpus, node.mem as f64 + rules.executor_mem, disk as f64])
        };
        specification.map(|it| it.blueprint.nodes.iter().map(amounts).collect()).unwrap_or_default()
    }

    /// Nodes whose agents are waited for.
    fn away_of(&self, id: &ClusterId, now: Timestamp) -> Vec<NodeExplanation> {
        let Some(cluster) = self.state.clusters.get(id).filter(|cluster| cluster.is_placed()) else {
            return Vec::new();
        };
        let away = |task: &Task| {
            let since = task.unreachable_since.filter(|_| task.is_current())?;
            let node = cluster.specification.as_ref()?.blueprint.nodes.get(&task.node)?;
            let then = match self.patience(cluster, &task.node) {
                None => "it is waited for".to_owned(),
                Some(limit) => {
                    let late = now.millis_since(since) >= limit && self.is_braked(cluster, task);
                    let held = late.then(|| self.why_held(&task.agent, now)).flatten();
                    let held = held.map(|words| format!("; {words}")).unwrap_or_default();
                    format!("another agent takes the node {} s after that{held}", limit / 1000)
                }
            };
            let nearest = format!("agent {} cannot be reached since {since}: {then}", task.host);
            let refusal = Refusal { reason: "agent".to_owned(), agents: 1, nearest };
            Some(NodeExplanation { node: task.node.clone(), needs: words::needs(node), refusals: vec![refusal] })
        };
        self.state.tasks.of_cluster(id).filter_map(away).collect()
    }

    /// Adds why nodes without an attempt stay with the agents that have their data, though others may take them by now.
    fn explain_held(&self, id: &ClusterId, nodes: &mut [NodeExplanation], now: Timestamp) {
        for idle in self.idle_with_data(now).iter().filter(|idle| idle.late && idle.cluster == *id) {
            let words = self.why_held(&idle.agent, now);
            let node = nodes.iter_mut().find(|node| node.node == idle.name);
            if let Some((nearest, node)) = words.zip(node) {
                node.refusals.push(Refusal { reason: "agent".to_owned(), agents: 1, nearest });
            }
        }
    }

    fn explain_search(&self, id: &ClusterId, now: Timestamp) -> Option<Explanation> {
        let cluster = self.state.clusters.get(id)?;
        let waiting = !cluster.due(now).is_empty();
        Some(Explanation {
            cluster: id.dn().clone(),
            summary: self.summary(cluster, now),
            waiting_since: cluster.waiting_since.filter(|_| waiting),
            deadline: cluster.placement_deadline.filter(|_| waiting),
            nodes: if waiting { self.refusals_of(cluster, now) } else { Vec::new() },
        })
    }

    /// Why a cluster's nodes wait: as it was counted last, or counted now where that is long ago.
    fn refusals_of(&self, cluster: &Cluster, now: Timestamp) -> Vec<NodeExplanation> {
        let counted = || self.look_for(&mut self.board(), &cluster.id, &cluster.due(now), true)?.err()?;
        let known = || cluster.waiting.nodes.clone();
        if self.why_not_placing().is_none() && self.is_to_be_counted_for_a_reader(&cluster.id, now) {
            counted().unwrap_or_else(known)
        } else {
            known()
        }
    }

    fn summary(&self, cluster: &Cluster, now: Timestamp) -> String {
        let of_cluster = || self.state.tasks.of_cluster(&cluster.id).filter(|task| !task.forgotten);
        let (live, left) = (of_cluster().filter(|task| task.is_current()).count(), of_cluster().count());
        let all = cluster.nodes.len();
        match &cluster.phase {
            Phase::Released { .. } => return "its nodes have been released".to_owned(),
            Phase::Releasing { .. } if left > 0 => return format!("{left} of {all} nodes are being ended"),
            Phase::Releasing { .. } => return "its nodes have ended; its volumes are being dealt with".to_owned(),
            Phase::Active => {}
        }
        if cluster.specification.is_none() {
            return "its specification has not been read from the registry yet".to_owned();
        }
        let away = self.away_of(&cluster.id, now).len();
        if away > 0 && !cluster.status.is_launching() {
            return format!("{away} of {all} nodes are on agents that cannot be reached");
        }
        let due = cluster.due(now).len();
        if due > 0 {
            if let Some(words) = self.why_not_placing() {
                return format!("{due} of {all} nodes wait; {words}");
            }
            let agents = self.state.agents.len();
            return format!("{due} of {all} nodes wait for a place; agents known: {agents}");
        }
        let later = cluster.nodes.values().filter(|node| node.task.is_none() && !node.gave_up).count();
        if cluster.is_placed() && later > 0 {
            return format!("{later} of {all} nodes have ended and are tried again after a wait");
        }
        let leaving = cluster.departing().count();
        if leaving > 0 {
            return format!(
                "{live} of {all} nodes have a place; {leaving} that are not wanted any more are being released"
            );
        }
        self.placed_in_words(cluster)
    }

    /// Whether these nodes would find a place with what the agents have offered last.
    pub(crate) fn fit(&self, blueprint: &Blueprint) -> Fit {
        if let Some(words) = self.why_not_placing() {
            return Fit { fits: false, reasons: vec![words] };
        }
        let mut board = self.board();
        board.open_all();
        let requests: Vec<Request<'_>> = blueprint
            .nodes
            .iter()
            .map(|(name, node)| Request {
                name,
                node,
                attempt: 1,
                volumes: Vec::new(),
                last_agent: None,
                last_address: None,
            })
            .collect();
        match board.place(&nobody(), &requests, &[]) {
            Ok(_) => Fit { fits: true, reasons: Vec::new() },
            Err(nodes) => Fit { fits: false, reasons: words::lines(&nodes) },
        }
    }
}

/// A cluster that does not exist.
fn nobody() -> ClusterId {
    let name = |text: &str| text.parse::<Name>().expect("the text keeps the rule of names");
    let product = ProductRef { name: name("dry-run"), version: name("0") };
    ClusterId::from(ClusterDn { user: name("nobody"), product, number: u64::MAX })
}
