//! The board of the agents, brought up to date with what has changed since places were looked for last.

use super::model::{Agent, Cluster, Phase};
use super::{Core, MOVED};
use crate::placement::{Board, Candidate};
use bigdata_common::Name;
use bigdata_mesos::resources::Resources;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Core {
    /// What the agents offer now, or have offered last: made anew.
    pub(crate) fn board(&self) -> Board {
        let mut board = Board::new(self.policy.rules.clone());
        for agent in self.state.agents.values() {
            board.put(self.candidate(agent));
        }
        for task in self.state.tasks.values() {
            for (pool, address) in task.leases() {
                board.lease(pool, &address);
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
        let noted = self.state.agents.take_noted();
        let (moved, tasked) = (self.offers.take_agents(), self.state.tasks.take_agents());
        for number in &noted {
            match self.state.agents.at(*number) {
                Some(agent) => board.put(self.candidate(agent)),
                None => board.remove(self.state.agents.id(*number)),
            }
        }
        // Of others it is known who they are.
        for number in moved.into_iter().filter(|number| !noted.contains(number)) {
            let id = self.state.agents.id(number);
            if let Some(free) = self.offers.free_of(number) {
                board.renew(id, free, true);
            } else if let Some(agent) = self.state.agents.at(number) {
                board.renew(id, Arc::clone(&agent.free), false);
            }
        }
        let is_noted = |id: &str| self.state.agents.find(id).is_some_and(|number| noted.contains(&number));
        for id in tasked.iter().filter(|id| !is_noted(id)) {
            board.lease_ports(id, self.leased_ports(id));
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
        let (free, offered) = self.offered_free(agent);
        Candidate {
            agent: agent.id.clone(),
            host: agent.host.clone(),
            address: agent.address.clone(),
            attributes: agent.attributes.clone(),
            network: agent.network(),
            fresh: agent.fresh,
            offered,
            free,
            leased_ports: self.leased_ports(&agent.id),
            leaving: agent.leaving.clone(),
        }
    }

    /// What an agent offers now, or has offered last; whether it is now.
    fn offered_free(&self, agent: &Agent) -> (Arc<Resources>, bool) {
        match self.state.agents.find(&agent.id).and_then(|number| self.offers.free_of(number)) {
            Some(free) => (free, true),
            None => (Arc::clone(&agent.free), false),
        }
    }

    fn leased_ports(&self, agent: &str) -> BTreeSet<u16> {
        self.state.tasks.of_agent(agent).flat_map(|task| task.agent_ports.iter().copied()).collect()
    }
}

/// The addresses (pool, address, node) that a cluster's nodes are to have again.
fn addresses(cluster: &Cluster) -> Vec<(String, String, Name)> {
    let nodes = cluster.nodes.iter().filter(|_| cluster.phase == Phase::Active);
    let lease =
        |(pool, address): (&str, Cow<'_, str>), name: &Name| (pool.to_owned(), address.into_owned(), name.clone());
    nodes.flat_map(|(name, node)| node.leases().map(move |it| lease(it, name))).collect()
}
