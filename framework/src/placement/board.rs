//! The agents at one moment, kept from one moment to the next: what has changed is put anew, and the rest stays.

use super::room::Room;
use super::{Candidate, Neighbour, Request, Rules, Slot, search};
use bigdata_common::api::explain::NodeExplanation;
use bigdata_common::{ClusterId, Name};
use bigdata_mesos::resources::Resources;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Openings that are kept at least.
const OPENINGS: usize = 1_024;

/// A candidate's place on the board.
#[derive(Debug, Clone)]
struct Seat {
    candidate: Candidate,
    /// Its index among those whose offers are held.
    open: Option<usize>,
    /// When it was put here, where its offers are held.
    version: u64,
}

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    pub rules: Rules,
    seats: Vec<Seat>,
    /// Of each seat: close together, as most looks go no further.
    rooms: Vec<Room>,
    by_agent: HashMap<String, usize>,
    /// Those whose offers are held.
    open: Vec<usize>,
    /// Where among them the next look begins, so that not all begin with the same.
    pub(super) cursor: usize,
    /// Addresses by pool of tasks that are not confirmed to have ended.
    leased: HashMap<String, HashSet<String>>,
    /// Addresses by pool that nodes had before, and are to have again: seldom more than one of an address.
    remembered: HashMap<String, HashMap<String, BTreeSet<(ClusterId, Name)>>>,
    remembers: HashMap<ClusterId, Vec<(String, String)>>,
    version: u64,
    /// Which seat was opened as which version, in their order: one that was closed or opened anew since does not count.
    openings: Vec<(u64, usize)>,
}

impl Board {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Finds a place for all of these nodes of one cluster, or for none: a slot per request, in their order.
    ///
    /// # Errors
    /// The nodes that have no place, each with its refusals.
    pub(crate) fn place(
        &mut self,
        cluster: &ClusterId,
        requests: &[Request<'_>],
        neighbours: &[Neighbour<'_>],
    ) -> Result<Vec<Slot>, Vec<NodeExplanation>> {
        let found = self.find_places(cluster, requests, neighbours);
        found.ok_or_else(|| self.count_refusals(cluster, requests, neighbours))
    }

    /// A slot per request, in their order; None: there is no place for all of them.
    pub(crate) fn find_places(
        &mut self,
        cluster: &ClusterId,
        requests: &[Request<'_>],
        neighbours: &[Neighbour<'_>],
    ) -> Option<Vec<Slot>> {
        search::Search::new(self, cluster, requests, neighbours).find()
    }

    /// The nodes that have no place, each with its refusals by every agent: in a large fleet far dearer than the search.
    pub(crate) fn count_refusals(
        &mut self,
        cluster: &ClusterId,
        requests: &[Request<'_>],
        neighbours: &[Neighbour<'_>],
    ) -> Vec<NodeExplanation> {
        search::Search::new(self, cluster, requests, neighbours).explain()
    }

    /// Whether a search that found nothing may find something now: an agent that was put here after `version` may be a
    /// place for one of the nodes.
    pub(crate) fn may_place(&self, cluster: &ClusterId, requests: &[Request<'_>], version: u64) -> bool {
        let begin = self.openings.partition_point(|(opened, _)| *opened <= version);
        let mut since =
            self.openings[begin..].iter().filter(|opening| self.is_current(opening)).map(|(_, index)| *index);
        let mut kinds: Vec<&Request<'_>> = Vec::new();
        for request in requests {
            if !kinds.iter().any(|other| other.is_alike(request)) {
                kinds.push(request);
            }
        }
        let question = |request| super::evaluate::Question { board: self, cluster, request, peers: &[] };
        let questions = kinds.into_iter().map(question).map(|question| (question.needs(), question));
        let questions: Vec<_> = questions.collect();
        since.any(|index| questions.iter().any(|(needs, question)| question.passes(index, needs)))
    }

    /// Grows with every agent that is put here.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Puts an agent here, in the place of what was known of it before.
    pub(crate) fn put(&mut self, candidate: Candidate) {
        let index = match self.by_agent.get(&candidate.agent) {
            Some(index) => *index,
            None => {
                self.by_agent.insert(candidate.agent.clone(), self.seats.len());
                self.seats.len()
            }
        };
        let room = Room::of(&candidate.free);
        let seat = Seat { candidate, open: None, version: 0 };
        if index < self.seats.len() {
            self.close(index);
            (self.seats[index], self.rooms[index]) = (seat, room);
        } else {
            self.seats.push(seat);
            self.rooms.push(room);
        }
        if self.seats[index].candidate.offered {
            self.open(index);
        }
    }

    /// Says what an agent that stands here has now, and whether it is offered.
    pub(crate) fn renew(&mut self, agent: &str, free: Arc<Resources>, offered: bool) {
        let Some(index) = self.find(agent) else { return };
        self.close(index);
        let seat = &mut self.seats[index];
        seat.candidate.offered = offered;
        if !Arc::ptr_eq(&seat.candidate.free, &free) {
            self.replace_free(index, free);
        }
        if offered {
            self.open(index);
        }
    }

    /// Says which ports of an agent that stands here are leased.
    pub(crate) fn lease_ports(&mut self, agent: &str, ports: BTreeSet<u16>) {
        let Some(index) = self.find(agent) else { return };
        self.seats[index].candidate.leased_ports = ports;
        if self.seats[index].open.is_some() {
            // Ports that were freed may make it a place.
            self.close(index);
            self.open(index);
        }
    }

    fn open(&mut self, index: usize) {
        self.version += 1;
        let seat = &mut self.seats[index];
        (seat.open, seat.version) = (Some(self.open.len()), self.version);
        self.open.push(index);
        if self.openings.len() > 2 * self.open.len() + OPENINGS {
            let mut openings = std::mem::take(&mut self.openings);
            openings.retain(|opening| self.is_current(opening));
            self.openings = openings;
        }
        self.openings.push((self.version, index));
    }

    fn is_current(&self, (version, index): &(u64, usize)) -> bool {
        self.seats.get(*index).is_some_and(|seat| seat.version == *version && seat.open.is_some())
    }

    fn close(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        let Some(position) = seat.open.take() else { return };
        self.open.swap_remove(position);
        if let Some(moved) = self.open.get(position) {
            self.seats[*moved].open = Some(position);
        }
    }

    pub(crate) fn remove(&mut self, agent: &str) {
        let Some(index) = self.by_agent.remove(agent) else { return };
        self.close(index);
        self.seats.swap_remove(index);
        self.rooms.swap_remove(index);
        if let Some(moved) = self.seats.get(index) {
            self.by_agent.insert(moved.candidate.agent.clone(), index);
            if let Some(position) = moved.open {
                self.open[position] = index;
                if let Ok(opening) = self.openings.binary_search_by_key(&moved.version, |(version, _)| *version) {
                    self.openings[opening].1 = index;
                }
            }
        }
    }

    /// Takes every agent's last offer as one that is held.
    pub(crate) fn open_all(&mut self) {
        for index in 0..self.seats.len() {
            if !std::mem::replace(&mut self.seats[index].candidate.offered, true) {
                self.open(index);
            }
        }
    }

    pub(crate) fn candidate(&self, index: usize) -> &Candidate {
        &self.seats[index].candidate
    }

    pub(super) fn room(&self, index: usize) -> Room {
        self.rooms[index]
    }

    pub(super) fn find(&self, agent: &str) -> Option<usize> {
        self.by_agent.get(agent).copied()
    }

    /// How many agents there are.
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Those whose offers are held.
    pub(super) fn opened(&self) -> &[usize] {
        &self.open
    }

    /// Says what an agent has now, and returns what it had.
    pub(super) fn replace_free(&mut self, index: usize, free: Arc<Resources>) -> Arc<Resources> {
        self.rooms[index] = Room::of(&free);
        std::mem::replace(&mut self.seats[index].candidate.free, free)
    }

    pub(crate) fn lease(&mut self, pool: &str, address: &str) {
        match self.leased.get_mut(pool) {
            Some(addresses) => drop(addresses.insert(address.to_owned())),
            None => drop(self.leased.insert(pool.to_owned(), HashSet::from([address.to_owned()]))),
        }
    }

    pub(crate) fn free(&mut self, pool: &str, address: &str) {
        if let Some(addresses) = self.leased.get_mut(pool) {
            addresses.remove(address);
            if addresses.is_empty() {
                self.leased.remove(pool);
            }
        }
    }

    /// Says which addresses (pool, address, node) a cluster's nodes are to have again.
    pub(crate) fn remember(&mut self, cluster: &ClusterId, addresses: Vec<(String, String, Name)>) {
        for (pool, address) in self.remembers.remove(cluster).unwrap_or_default() {
            if let Some(of_pool) = self.remembered.get_mut(&pool) {
                if let Some(owners) = of_pool.get_mut(&address) {
                    owners.retain(|(owner, _)| owner != cluster);
                    if owners.is_empty() {
                        of_pool.remove(&address);
                    }
                }
                if of_pool.is_empty() {
                    self.remembered.remove(&pool);
                }
            }
        }
        let mut keys = Vec::with_capacity(addresses.len());
        for (pool, address, node) in addresses {
            keys.push((pool.clone(), address.clone()));
            let of_pool = self.remembered.entry(pool).or_default();
            of_pool.entry(address).or_default().insert((cluster.clone(), node));
        }
        if !keys.is_empty() {
            self.remembers.insert(cluster.clone(), keys);
        }
    }

    /// Whether a node may have an address: it is nobody's, and no other node is to have it again.
    pub(super) fn is_free(&self, pool: &str, address: &str, cluster: &ClusterId, node: &Name) -> bool {
        let remembered = self.remembered.get(pool).and_then(|addresses| addresses.get(address));
        !self.leased.get(pool).is_some_and(|addresses| addresses.contains(address))
            && remembered.is_none_or(|owners| owners.iter().any(|(owner, name)| owner == cluster && name == node))
    }

    /// The address of a pool that a node had before.
    pub(super) fn last_address(&self, pool: &str, cluster: &ClusterId, node: &Name) -> Option<&str> {
        let (addresses, known) = (self.remembered.get(pool)?, self.remembers.get(cluster)?);
        let is_own = |(owner, name): &(ClusterId, Name)| owner == cluster && name == node;
        let of_node = |address: &String| addresses.get(address).is_some_and(|owners| owners.iter().any(is_own));
        known.iter().find(|(of, address)| of == pool && of_node(address)).map(|(_, address)| address.as_str())
    }

    /// What stands here, in words that two boards with the same on them share.
    #[cfg(test)]
    pub(crate) fn picture(&self) -> Vec<String> {
        let seat = |(seat, room): (&Seat, &Room)| format!("{:?} {room:?} {}", seat.candidate, seat.open.is_some());
        let mut lines: Vec<String> = self.seats.iter().zip(&self.rooms).map(seat).collect();
        for (pool, addresses) in &self.leased {
            lines.extend(addresses.iter().map(|address| format!("{pool} {address} leased")));
        }
        for (pool, addresses) in &self.remembered {
            lines.extend(addresses.iter().map(|(address, owners)| format!("{pool} {address} {owners:?}")));
        }
        lines.sort();
        lines
    }
}
