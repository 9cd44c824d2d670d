//! A place for every node of a cluster: depth first over ranked agents, with a bounded effort.
//!
//! An agent is looked at closely only where a glance does not refuse it. Of a large fleet a node ranks the first agents
//! that pass the glance, and further ones only where these do not do; before a node is refused every agent was glanced at.

use super::evaluate::{Needs, Peer, Question};
use super::{Board, Miss, Neighbour, Request, Slot, withheld, words};
use bigdata_common::ClusterId;
use bigdata_common::api::explain::NodeExplanation;
use bigdata_mesos::resources::Resources;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Close looks after which the search is given up.
const EFFORT: usize = 4_000;
/// Glances that count as one close look.
const GLANCES: usize = 64;
/// Agents that are ranked at a time.
const RANKED: usize = 32;

/// See the [module](self).
pub(super) struct Search<'a> {
    board: &'a mut Board,
    cluster: &'a ClusterId,
    requests: &'a [Request<'a>],
    /// The cluster's nodes that have their places.
    peers: Vec<Peer<'a>>,
    /// How many neighbours there are on a candidate.
    together: HashMap<usize, usize>,
    /// Indices of requests, the hardest first.
    order: Vec<usize>,
    slots: Vec<Option<Slot>>,
    effort: usize,
}

/// How far a node's look over the agents has come.
struct Scan {
    needs: Needs,
    /// The agents that are looked at first, or alone: where its data or its last place is.
    first: Option<usize>,
    alone: bool,
    begin: usize,
    passed: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        board: &'a mut Board,
        cluster: &'a ClusterId,
        requests: &'a [Request<'a>],
        neighbours: &[Neighbour<'a>],
    ) -> Self {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        let hardness = |index: &usize| {
            let request = &requests[*index];
            let bound = request.volumes.iter().any(|volume| volume.seen);
            (!bound, request.node.constraints.is_empty())
        };
        order.sort_by(|left, right| {
            let (one, other) = (&requests[*left].node, &requests[*right].node);
            hardness(left).cmp(&hardness(right)).then(other.mem.cmp(&one.mem)).then(other.cpu.total_cmp(&one.cpu))
        });
        let peer =
            |neighbour: &Neighbour<'a>| Some(Peer { node: neighbour.node, candidate: board.find(neighbour.agent)? });
        let peers: Vec<Peer<'a>> = neighbours.iter().filter_map(peer).collect();
        let mut together = HashMap::new();
        for peer in &peers {
            *together.entry(peer.candidate).or_insert(0) += 1;
        }
        let mut search =
            Self { slots: vec![None; requests.len()], peers, together, board, cluster, requests, order, effort: 0 };
        search.effort = search.whole_effort();
        search
    }

    /// Enough for every node to glance at every agent once, and some more.
    fn whole_effort(&self) -> usize {
        let nodes = self.requests.len();
        EFFORT.max(nodes * 64) + nodes * (self.board.opened().len() / GLANCES + 1)
    }

    pub(super) fn find(mut self) -> Option<Vec<Slot>> {
        self.descend(0).then(|| self.slots.into_iter().flatten().collect())
    }

    fn descend(&mut self, depth: usize) -> bool {
        let Some(&index) = self.order.get(depth) else { return true };
        let mut scan = self.scan(index);
        loop {
            let ranked = self.ranked(index, &mut scan);
            if ranked.is_empty() {
                return false;
            }
            for candidate in ranked {
                self.spend(1);
                let Ok(slot) = self.ask(index, candidate) else { continue };
                let undo = self.take(index, slot);
                if self.descend(depth + 1) {
                    return true;
                }
                self.give_back(index, undo);
                if self.effort == 0 {
                    return false;
                }
            }
        }
    }

    fn spend(&mut self, effort: usize) {
        self.effort = self.effort.saturating_sub(effort);
    }

    fn scan(&self, index: usize) -> Scan {
        let request = &self.requests[index];
        let data = request.volumes.iter().find(|volume| volume.seen).map(|volume| volume.agent.as_str());
        let first = data.or(request.last_agent).and_then(|agent| self.board.find(agent));
        Scan {
            needs: self.question(index).needs(),
            first: first.filter(|index| self.board.candidate(*index).offered),
            alone: data.is_some(),
            begin: self.board.cursor,
            passed: 0,
        }
    }

    /// The next agents that may do for a node, the best first: its last agent, then few neighbours, then the least that is
    /// left over. None: all were looked at, or the effort is spent.
    fn ranked(&mut self, index: usize, scan: &mut Scan) -> Vec<usize> {
        if self.effort == 0 {
            return Vec::new();
        }
        let open = self.board.opened().len();
        let mut glances = 0;
        let mut found: Vec<(bool, usize, i64, usize)> = Vec::new();
        let question = self.question(index);
        let wanted = scan.needs.room;
        let mut look = |candidate: usize, is_first: bool| {
            if question.passes(candidate, &scan.needs) {
                let together = self.together.get(&candidate).copied().unwrap_or(0);
                let room = self.board.room(candidate);
                // A thousandth of a CPU counts as much as 1024 thousandths of a MiB.
                let left = (room.cpus - wanted.cpus) * 1024 + room.mem - wanted.mem;
                found.push((!is_first, together, left, candidate));
            }
            found.len()
        };
        if let Some(first) = scan.first.filter(|_| scan.passed == 0) {
            look(first, true);
        }
        if scan.alone {
            scan.passed = open.max(1);
            scan.first = None;
        }
        while self.effort > 0 && scan.passed < open {
            let candidate = self.board.opened()[(scan.begin + scan.passed) % open];
            scan.passed += 1;
            glances += 1;
            if scan.first != Some(candidate) && look(candidate, false) >= RANKED {
                break;
            }
        }
        self.spend(glances / GLANCES);
        if glances > 0 {
            self.board.cursor = (scan.begin + scan.passed) % open;
        }
        found.sort_unstable();
        found.into_iter().map(|(_, _, _, candidate)| candidate).collect()
    }

    fn question(&self, index: usize) -> Question<'_> {
        let request = &self.requests[index];
        Question { board: self.board, cluster: self.cluster, request, peers: &self.peers }
    }

    fn ask(&self, index: usize, candidate: usize) -> Result<Slot, Miss> {
        self.question(index).ask(candidate)
    }

    /// Takes the slot, and returns what the agent had before.
    fn take(&mut self, index: usize, slot: Slot) -> Arc<Resources> {
        let before = self.board.replace_free(slot.candidate, Arc::clone(&slot.free));
        self.peers.push(Peer { node: self.requests[index].node, candidate: slot.candidate });
        *self.together.entry(slot.candidate).or_insert(0) += 1;
        for (pool, address) in slot.leases() {
            self.board.lease(pool, &address);
        }
        self.slots[index] = Some(slot);
        before
    }

    fn give_back(&mut self, index: usize, before: Arc<Resources>) {
        let Some(slot) = self.slots[index].take() else { return };
        self.board.replace_free(slot.candidate, before);
        self.peers.pop();
        if let Some(together) = self.together.get_mut(&slot.candidate) {
            *together -= 1;
        }
        for (pool, address) in slot.leases() {
            self.board.free(pool, &address);
        }
    }

    fn is_alike(&self, index: usize, other: usize) -> bool {
        self.requests[index].is_alike(&self.requests[other])
    }

    /// Places what has a place, and counts the refusals of the rest.
    pub(super) fn explain(mut self) -> Vec<NodeExplanation> {
        let (mut refused, mut undo): (Vec<usize>, Vec<_>) = (Vec::new(), Vec::new());
        for index in self.order.clone() {
            // Where there was no place for one there is none for its like.
            let slot = if refused.iter().any(|other| self.is_alike(index, *other)) { None } else { self.first(index) };
            match slot {
                Some(slot) => {
                    let before = self.take(index, slot);
                    undo.push((index, before));
                }
                None => refused.push(index),
            }
        }
        if refused.is_empty() {
            // Each has a place while the others are where the search put them first, but not all at once.
            refused.extend(self.order.last());
        }
        refused.sort_unstable();
        let mut explained: Vec<(usize, NodeExplanation)> = Vec::new();
        for index in refused {
            let known = explained.iter().find(|(other, _)| self.is_alike(index, *other));
            let name = self.requests[index].name.clone();
            let explanation = match known {
                Some((_, known)) => NodeExplanation { node: name, ..known.clone() },
                None => self.explain_one(index),
            };
            explained.push((index, explanation));
        }
        for (index, before) in undo.into_iter().rev() {
            self.give_back(index, before);
        }
        explained.into_iter().map(|(_, explanation)| explanation).collect()
    }

    /// The best place of a node that any agent has for it as things are.
    fn first(&mut self, index: usize) -> Option<Slot> {
        let mut scan = self.scan(index);
        loop {
            let ranked = self.ranked(index, &mut scan);
            if ranked.is_empty() {
                return None;
            }
            self.spend(ranked.len());
            if let Some(slot) = ranked.into_iter().find_map(|candidate| self.ask(index, candidate).ok()) {
                return Some(slot);
            }
        }
    }

    fn explain_one(&self, index: usize) -> NodeExplanation {
        let question = self.question(index);
        let needs = question.needs();
        let cluster = self.cluster.to_string();
        let claim = question.claim(&cluster);
        // By reason: agents, the nearest, and how far it is off.
        let mut counts: BTreeMap<&'static str, (u32, usize, f64)> = BTreeMap::new();
        for candidate in 0..self.board.len() {
            // What is reserved for others is room at a glance.
            let is_clear = || !withheld::is_any(&self.board.candidate(candidate).free, claim);
            let seen = question.glance(candidate, &needs).filter(|_| is_clear());
            let missed = seen.or_else(|| self.ask(index, candidate).err().map(|miss| (miss.reason, miss.distance)));
            let Some((reason, distance)) = missed else { continue };
            let count = counts.entry(reason).or_insert((0, candidate, distance));
            count.0 += 1;
            if distance < count.2 {
                (count.1, count.2) = (candidate, distance);
            }
        }
        let words = |(agents, nearest, _): (u32, usize, f64)| Some((agents, self.ask(index, nearest).err()?));
        let misses: Vec<(u32, Miss)> = counts.into_values().filter_map(words).collect();
        let request = &self.requests[index];
        let mut explanation = words::count(request.name, request.node, &misses);
        if misses.is_empty() && self.board.len() > 0 {
            explanation.refusals =
                vec![words::no_agents("the cluster's nodes find a place one by one, but not all at once")];
        }
        explanation
    }
}
