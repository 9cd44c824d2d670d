//! How many machines' nodes are given to others at a time, where their data stays behind. One machine that is away may be
//! lost; where many are at once it is rather a network or a power line, and they will be back with what they hold.
//!
//! docs/decisions/0008-machines-away-at-once.md says why.

use super::model::{Cluster, Task};
use super::{Core, replace};
use bigdata_common::{ClusterId, Name, Timestamp};
use std::collections::BTreeSet;

/// The agent whose nodes were given to others last, and since when.
#[derive(Debug, Default)]
pub(crate) struct Brake {
    moved: Option<(String, Timestamp)>,
}

/// A node without an attempt that another agent may take.
pub(super) struct Idle {
    pub cluster: ClusterId,
    pub name: Name,
    /// The agent that has its data.
    pub agent: String,
    pub since: Timestamp,
    /// Whether that agent has not taken it back for too long.
    pub late: bool,
}

impl Core {
    /// Which of these agents' nodes may go to others now; each with the time since when it is away.
    pub(super) fn admit<'a>(
        &mut self,
        mut away: impl Iterator<Item = (Timestamp, &'a str)> + Clone,
        now: Timestamp,
    ) -> Option<String> {
        let (_, longest) = away.clone().min()?;
        if self.too_many_away(now).is_some() {
            return None;
        }
        if let Some((last, _)) = self.paused_for(now) {
            return away.any(|(_, agent)| agent == last).then(|| last.to_owned());
        }
        self.brake.moved = Some((longest.to_owned(), now));
        Some(longest.to_owned())
    }

    /// Why the nodes of an agent that is away stay, though they may go to others by now.
    pub(super) fn why_held(&self, agent: &str, now: Timestamp) -> Option<String> {
        self.too_many_away(now).or_else(|| {
            let (last, until) = self.paused_for(now).filter(|(last, _)| *last != agent)?;
            let host = self.state.agents.get(last).map_or(last, |agent| &agent.host);
            Some(format!(
                "one agent's nodes are moved at a time: after those of {host} others wait until {until} \
                 (framework.replace_pause_ms)"
            ))
        })
    }

    /// The agent whose nodes were moved last, and until when those of others wait for that.
    fn paused_for(&self, now: Timestamp) -> Option<(&str, Timestamp)> {
        let (agent, at) = self.brake.moved.as_ref()?;
        let pause = self.policy.replace_pause_ms;
        let until = at.plus_millis(i64::try_from(pause).unwrap_or(i64::MAX));
        (now.millis_since(*at) < pause).then_some((agent.as_str(), until))
    }

    /// That more agents are away than one by one, in words.
    fn too_many_away(&self, now: Timestamp) -> Option<String> {
        let (mut bearing, mut away): (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
        for task in self.state.tasks.values().filter(|task| task.is_current()) {
            bearing.insert(&task.agent);
            if task.is_away() {
                away.insert(&task.agent);
            }
        }
        // One that has made an offer since is there, and has no room for the node.
        let idle = self.idle_with_data(now);
        let is_away = |node: &&Idle| self.state.agents.get(&node.agent).is_none_or(|agent| agent.seen_at <= node.since);
        away.extend(idle.iter().filter(is_away).map(|node| node.agent.as_str()));
        bearing.extend(&away);
        let percent = usize::from(self.policy.replace_away_percent);
        (away.len() > 1 && away.len() * 100 > percent * bearing.len()).then(|| {
            format!(
                "{} of {} agents with nodes are away at once, more than {percent} %: none's nodes are moved until fewer \
                 are (framework.replace_away_percent), or until somebody replaces a node elsewhere by hand",
                away.len(),
                bearing.len()
            )
        })
    }

    /// Nodes without an attempt that other agents may take in time, where data binds them to their own.
    pub(super) fn idle_with_data(&self, now: Timestamp) -> Vec<Idle> {
        let mut found = Vec::new();
        let seeking = self.seekers.ids().filter_map(|id| self.state.clusters.get(id));
        for cluster in seeking.filter(|cluster| cluster.is_placed()) {
            let idle = cluster.nodes.iter().filter(|(_, node)| node.task.is_none() && !cluster.is_fresh(node));
            for (name, node) in idle {
                let limit = node.idle_since.zip(replace::after_ms(cluster, name));
                let Some(((since, after), agent)) = limit.zip(self.data_of(&cluster.id, name)) else { continue };
                let (late, agent) = (now.millis_since(since) >= after, agent.to_owned());
                found.push(Idle { cluster: cluster.id.clone(), name: name.clone(), agent, since, late });
            }
        }
        found
    }

    /// Whether an attempt's end by its agent's absence is a matter of the brake: it may hold data, and nobody has asked for it.
    pub(super) fn is_braked(&self, cluster: &Cluster, task: &Task) -> bool {
        cluster.nodes.get(&task.node).is_some_and(|node| !node.gives_up && !cluster.is_fresh(node))
    }
}
