//! The agents at one moment, kept from one moment to the next: what has changed is put anew, and the rest stays.

use super::{Candidate, Neighbour, Outcome, Request, Rules, search};
use bigdata_common::{ClusterId, Name};
use bigdata_mesos::resources::Resources;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What an agent has at the most, in thousandths: enough to say no without a closer look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub cpus: i64,
    pub mem: i64,
}

impl Room {
    fn of(free: &Resources) -> Self {
        let mut room = Self::default();
        for entry in free {
            match entry.name.as_str() {
                "cpus" => room.cpus += super::take::thousandths(entry.amount()),
                "mem" => room.mem += super::take::thousandths(entry.amount()),
                _ => {}
            }
        }
        room
    }
}

/// A candidate's place on the board.
#[derive(Debug, Clone)]
struct Seat {
    candidate: Candidate,
    room: Room,
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
    put: BTreeMap<u64, usize>,
}

impl Board {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Finds a place for all of these nodes of one cluster, or for none.
    pub(crate) fn place(
        &mut self,
        cluster: &ClusterId,
        requests: &[Request<'_>],
        neighbours: &[Neighbour<'_>],
    ) -> Outcome {
        search::Search::new(self, cluster, requests, neighbours).run()
    }

    /// Whether a search that found nothing may find something now: an agent that was put here after `version` may be a
    /// place for one of the nodes.
    pub(crate) fn may_place(&self, cluster: &ClusterId, requests: &[Request<'_>], version: u64) -> bool {
        let since = || self.put.range(version + 1..).map(|(_, index)| *index);
        requests.iter().any(|request| {
            let question = super::evaluate::Question { board: self, cluster, request, neighbours: &[] };
            let taken = question.taken();
            since().any(|index| question.glance(index, &taken).is_none())
        })
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
        let seat = Seat { room: Room::of(&candidate.free), candidate, open: None, version: 0 };
        if index < self.seats.len() {
            self.close(index);
            self.seats[index] = seat;
        } else {
            self.seats.push(seat);
        }
        if self.seats[index].candidate.offered {
            self.open(index);
        }
    }

    fn open(&mut self, index: usize) {
        self.version += 1;
        let seat = &mut self.seats[index];
        (seat.open, seat.version) = (Some(self.open.len()), self.version);
        self.open.push(index);
        self.put.insert(self.version, index);
    }

    fn close(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        let Some(position) = seat.open.take() else { return };
        self.put.remove(&seat.version);
        self.open.swap_remove(position);
        if let Some(moved) = self.open.get(position) {
            self.seats[*moved].open = Some(position);
        }
    }

    pub(crate) fn remove(&mut self, agent: &str) {
        let Some(index) = self.by_agent.remove(agent) else { return };
        self.close(index);
        self.seats.swap_remove(index);
        if let Some(moved) = self.seats.get(index) {
            self.by_agent.insert(moved.candidate.agent.clone(), index);
            if let Some(position) = moved.open {
                self.open[position] = index;
                self.put.insert(moved.version, index);
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
        self.seats[index].room
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
    pub(super) fn replace_free(&mut self, index: usize, free: Resources) -> Resources {
        let seat = &mut self.seats[index];
        seat.room = Room::of(&free);
        std::mem::replace(&mut seat.candidate.free, free)
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

    /// What stands here, in words that two boards with the same on them share.
    #[cfg(test)]
    pub(crate) fn picture(&self) -> Vec<String> {
        let seat = |seat: &Seat| format!("{:?} {:?} {}", seat.candidate, seat.room, seat.open.is_some());
        let mut lines: Vec<String> = self.seats.iter().map(seat).collect();
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
