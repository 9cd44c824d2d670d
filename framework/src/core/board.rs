//! The board of the agents, brought up to date with what has changed since places were looked for last.

use super::model::{Agent, Cluster, Phase};
use super::{Core, MOVED};
use crate::placement::{Board, Candidate};
use bigdata_common::Name;
use bigdata_mesos::resources::Resources;

impl Core {
    /// What the agents offer now, or have offered last: made anew.
    pub(crate) fn board(&self) -> Board {
        let mut board = Board::new(self.policy.rules.clone());
        for agent in self.state.agents.values() {
            board.put(self.candidate(agent));
        }
        for task in self.state.tasks.values() {
            if let Some(pool) = &task.pool {
                board.lease(pool, &task.address);
            }
        }
        for cluster in self.state.clusters.values() {
            board.remember(&cluster.id, addresses(cluster));
        }
        board
    }

    /// Brings the board that is kept up to the same.
    pub(super) fn refresh_board(&mut self) {
        let mut board = std::mem::take(&mut self.board);
        board.rules.clone_from(&self.policy.rules);
        let mut agents = self.offers.take_agents();
        agents.extend(self.state.tasks.take_agents());
        agents.extend(self.state.agents.take_noted(0));
        for id in agents {
            match self.state.agents.get(&id) {
                Some(agent) => board.put(self.candidate(agent)),
                None => board.remove(&id),
            }
        }
        for ((pool, address), taken) in self.state.tasks.take_addresses() {
            if taken { board.lease(&pool, &address) } else { board.free(&pool, &address) }
        }
        for id in self.state.clusters.take_noted(MOVED) {
            board.remember(&id, self.state.clusters.get(&id).map(addresses).unwrap_or_default());
        }
        self.board = board;
    }

    fn candidate(&self, agent: &Agent) -> Candidate {
        let mut held = self.offers.of_agent(&agent.id).peekable();
        let offered = held.peek().is_some();
        let mut free = Resources::new();
        held.for_each(|held| free.add_all(&held.offer.resources));
        Candidate {
            agent: agent.id.clone(),
            host: agent.host.clone(),
            address: agent.address.clone(),
            attributes: agent.attributes.clone(),
            network: agent.network(),
            fresh: agent.fresh,
            offered,
            free: if offered { free } else { agent.free.clone() },
            leased_ports: self
                .state
                .tasks
                .of_agent(&agent.id)
                .flat_map(|task| task.agent_ports.iter().copied())
                .collect(),
            leaving: agent.leaving.clone(),
        }
    }
}

/// The addresses (pool, address, node) that a cluster's nodes are to have again.
fn addresses(cluster: &Cluster) -> Vec<(String, String, Name)> {
    let nodes = cluster.nodes.iter().filter(|_| cluster.phase == Phase::Active);
    nodes.filter_map(|(name, node)| Some((node.pool.clone()?, node.address.clone()?, name.clone()))).collect()
}
