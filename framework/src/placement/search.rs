//! A place for every node of a cluster: depth first over ranked agents, with a bounded effort.

use super::evaluate::Question;
use super::{Board, Miss, Neighbour, Outcome, Request, Slot, words};
use bigdata_common::ClusterId;
use bigdata_common::api::explain::NodeExplanation;

/// Questions after which the search is given up; the first descent alone asks nodes × agents.
const EFFORT: usize = 4_000;

/// See the [module](self).
pub(super) struct Search<'a> {
    board: &'a mut Board,
    cluster: &'a ClusterId,
    requests: &'a [Request<'a>],
    neighbours: Vec<Neighbour<'a>>,
    /// Indices of requests, the hardest first.
    order: Vec<usize>,
    slots: Vec<Option<Slot>>,
    effort: usize,
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
        Self {
            slots: vec![None; requests.len()],
            neighbours: neighbours.to_vec(),
            board,
            cluster,
            requests,
            order,
            effort: EFFORT.max(requests.len() * 64),
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        if self.descend(0) {
            return Outcome::Placed(self.slots.into_iter().flatten().collect());
        }
        Outcome::Refused(self.explain())
    }

    fn descend(&mut self, depth: usize) -> bool {
        let Some(&index) = self.order.get(depth) else { return true };
        for slot in self.ranked(index) {
            let undo = self.take(index, slot);
            if self.descend(depth + 1) {
                return true;
            }
            self.give_back(index, undo);
            if self.effort == 0 {
                return false;
            }
        }
        false
    }

    /// The slots for a node, the best first: its last agent, then few neighbours, then the least that is left over.
    fn ranked(&mut self, index: usize) -> Vec<Slot> {
        let request = &self.requests[index];
        let mut slots: Vec<(bool, usize, f64, Slot)> = Vec::new();
        for candidate in 0..self.board.candidates.len() {
            if self.effort == 0 || !self.board.candidates[candidate].offered {
                continue;
            }
            self.effort -= 1;
            if let Ok(slot) = self.ask(index, candidate) {
                let agent = self.board.candidates[candidate].agent.as_str();
                let together = self.neighbours.iter().filter(|neighbour| neighbour.agent == agent).count();
                let left = slot.free.cpus() * 1024.0 + slot.free.mem();
                slots.push((request.last_agent != Some(agent), together, left, slot));
            }
        }
        slots.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)).then(one.2.total_cmp(&other.2)));
        slots.into_iter().map(|(_, _, _, slot)| slot).collect()
    }

    fn ask(&self, index: usize, candidate: usize) -> Result<Slot, Miss> {
        let request = &self.requests[index];
        Question { board: self.board, cluster: self.cluster, request, neighbours: &self.neighbours }.ask(candidate)
    }

    /// Takes the slot, and returns what the agent had before.
    fn take(&mut self, index: usize, slot: Slot) -> bigdata_mesos::resources::Resources {
        let candidate = &mut self.board.candidates[slot.candidate];
        let before = std::mem::replace(&mut candidate.free, slot.free.clone());
        self.neighbours.push(Neighbour { node: self.requests[index].node, agent: candidate.agent.clone() });
        if let Some(pool) = &slot.pool {
            self.board.leased.insert((pool.clone(), slot.address.clone()));
        }
        self.slots[index] = Some(slot);
        before
    }

    fn give_back(&mut self, index: usize, before: bigdata_mesos::resources::Resources) {
        let Some(slot) = self.slots[index].take() else { return };
        self.board.candidates[slot.candidate].free = before;
        self.neighbours.pop();
        if let Some(pool) = slot.pool {
            self.board.leased.remove(&(pool, slot.address));
        }
    }

    /// Places what has a place, and counts the refusals of the rest.
    fn explain(&mut self) -> Vec<NodeExplanation> {
        self.effort = EFFORT.max(self.requests.len() * 64);
        let (mut refused, mut undo) = (Vec::new(), Vec::new());
        for index in self.order.clone() {
            match self.ranked(index).into_iter().next() {
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
        let explanations = refused.into_iter().map(|index| self.explain_one(index)).collect();
        for (index, before) in undo.into_iter().rev() {
            self.give_back(index, before);
        }
        explanations
    }

    fn explain_one(&self, index: usize) -> NodeExplanation {
        let request = &self.requests[index];
        let asked = (0..self.board.candidates.len()).filter_map(|candidate| self.ask(index, candidate).err());
        let misses: Vec<Miss> = asked.collect();
        let mut explanation = words::count(request.name, request.node, &misses);
        if misses.is_empty() && !self.board.candidates.is_empty() {
            explanation.refusals =
                vec![words::no_agents("the cluster's nodes find a place one by one, but not all at once")];
        }
        explanation
    }
}
