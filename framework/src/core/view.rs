//! What is told to those who ask: agents, why a cluster waits, whether a cluster would fit.

use super::Core;
use super::model::{Cluster, Phase, Task};
use crate::placement::{Outcome, Request, words};
use bigdata_common::api::cluster::Fit;
use bigdata_common::api::explain::{AgentList, AgentView, Explanation};
use bigdata_common::blueprint::Blueprint;
use bigdata_common::{ClusterDn, ClusterId, Name, ProductRef, Timestamp};

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

    pub(crate) fn explain(&self, id: &ClusterId, now: Timestamp) -> Option<Explanation> {
        let cluster = self.state.clusters.get(id)?;
        let waiting = !cluster.due(now).is_empty();
        Some(Explanation {
            cluster: id.dn().clone(),
            summary: self.summary(cluster, now),
            waiting_since: cluster.waiting_since.filter(|_| waiting),
            deadline: cluster.placement_deadline.filter(|_| waiting),
            nodes: if waiting { cluster.waiting.nodes.clone() } else { Vec::new() },
        })
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
        format!("{live} of {all} nodes have a place")
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
            Outcome::Placed(_) => Fit { fits: true, reasons: Vec::new() },
            Outcome::Refused(nodes) => Fit { fits: false, reasons: words::lines(&nodes) },
        }
    }
}

/// A cluster that does not exist.
fn nobody() -> ClusterId {
    let name = |text: &str| text.parse::<Name>().expect("the text keeps the rule of names");
    let product = ProductRef { name: name("dry-run"), version: name("0") };
    ClusterId::from(ClusterDn { user: name("nobody"), product, number: u64::MAX })
}
