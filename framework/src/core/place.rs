//! Which clusters look for places in a step, and what they are told while they wait.
//!
//! A search that found nothing is made again only once an agent has come that may be a place, and now and then: in a large
//! fleet it is the counting of the reasons that costs, and not the decision.

use super::apart::Waiting;
use super::launch::Bundle;
use super::seekers::Refused;
use super::{Core, SEEKING};
use crate::placement::{Board, Candidate, Slot, words};
use bigdata_common::api::explain::NodeExplanation;
use bigdata_common::event::Event;
use bigdata_common::{ClusterId, Name, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Waiting clusters times agents: with so few every search is made, with its reasons, whenever anything has changed.
const FEW: usize = 512;
/// With more, the reasons are counted for the first time after so long; most clusters have found a place by then.
const COUNT_AFTER_MS: u64 = 1_000;
/// And again after so long.
const COUNT_EVERY_MS: u64 = 2_000;
/// Whoever asks is not told what was counted longer ago.
const READERS_MS: u64 = 10_000;
/// Between two such counts, for every thousand agents: of the time of one decision after another they take a twentieth.
const COUNT_PAUSE_MS: usize = 200;

impl Core {
    /// Looks for places for the nodes that are due, if anything has changed since.
    pub(super) fn place(&mut self, now: Timestamp) {
        let mut new = self.note_seekers(now);
        for id in self.seekers.come_due(now) {
            new |= self.state.clusters.get(&id).is_some_and(|cluster| self.seekers.put(cluster, now));
        }
        // After a subscription all are new.
        new |= !std::mem::replace(&mut self.demand.seen, true) && !self.seekers.is_empty();
        if new {
            self.demand.revive = true;
            // A launch does not wait for the time between two revivals: it is asked for by somebody who waits.
            self.demand.revived_at = None;
        }
        let counted = self.to_be_counted(now);
        if new || counted.is_some() || (self.changed && !self.seekers.is_empty()) {
            match self.why_not_placing() {
                None => self.place_all(counted, now),
                Some(words) => self.wait_for_all(&words),
            }
        }
        self.changed = false;
        self.note_seekers(now);
        for id in self.seekers.take_ripe(now) {
            self.tell_waiting(&id, now);
        }
    }

    /// Takes in what has changed of the clusters; whether a node looks for a place that did not before.
    pub(super) fn note_seekers(&mut self, now: Timestamp) -> bool {
        let mut new = false;
        for id in self.state.clusters.take_noted(SEEKING) {
            match self.state.clusters.get(&id) {
                Some(cluster) => new |= self.seekers.put(cluster, now),
                None => drop(self.seekers.remove(&id)),
            }
        }
        new
    }

    fn is_large(&self) -> bool {
        self.state.agents.len().saturating_mul(self.seekers.len()) > FEW
    }

    /// The cluster whose reasons are to be counted now, though its search would find no more than the last one did.
    fn to_be_counted(&self, now: Timestamp) -> Option<ClusterId> {
        let pause = u64::try_from(self.state.agents.len() * COUNT_PAUSE_MS / 1_000).unwrap_or(u64::MAX);
        if !self.is_subscribed()
            || !self.is_large()
            || self.demand.counted_at.is_some_and(|at| now.millis_since(at) < pause)
        {
            return None;
        }
        let is_old = |refused: &Refused| match refused.counted_at {
            None => now.millis_since(refused.at) >= COUNT_AFTER_MS,
            Some(at) => now.millis_since(at) >= COUNT_EVERY_MS,
        };
        let refused = self.seekers.due().filter_map(|(id, seeker)| Some((id, seeker.refused.as_ref()?)));
        let old = refused.filter(|(_, refused)| is_old(refused));
        let longest = old.min_by_key(|(_, refused)| (refused.counted_at, refused.at));
        longest.map(|(id, _)| id.clone())
    }

    /// Whether the reasons of a cluster's refusal were not counted lately.
    pub(super) fn is_to_be_counted_for_a_reader(&self, id: &ClusterId, now: Timestamp) -> bool {
        let is_old = |refused: &Refused| refused.counted_at.is_none_or(|at| now.millis_since(at) >= READERS_MS);
        self.is_large() && self.seekers.refused(id).is_some_and(is_old)
    }

    fn wait_for_all(&mut self, words: &str) {
        let is_told = |id: &ClusterId| {
            let known = self.state.clusters.get(id).map(|cluster| &cluster.waiting.nodes);
            let says_it = |node: &NodeExplanation| node.refusals.iter().all(|refusal| refusal.nearest == words);
            known.is_some_and(|nodes| nodes.len() == self.seekers.names(id).len() && nodes.iter().all(says_it))
        };
        let others = self.seekers.due().map(|(id, _)| id).filter(|id| !is_told(id));
        for id in others.cloned().collect::<Vec<_>>() {
            self.explain_with(&id, words);
        }
    }

    /// The same words for every node of a cluster that looks for a place.
    fn explain_with(&mut self, id: &ClusterId, words: &str) {
        let names = self.seekers.names(id);
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let Some(specification) = cluster.specification.clone() else { return };
        let explain = |name: &Name| {
            let node = specification.blueprint.nodes.get(name)?;
            Some(NodeExplanation {
                node: name.clone(),
                needs: words::needs(node),
                refusals: vec![words::no_agents(words)],
            })
        };
        cluster.waiting.nodes = names.iter().filter_map(explain).collect();
    }

    fn place_all(&mut self, counted: Option<ClusterId>, now: Timestamp) {
        self.refresh_board();
        let mut board = std::mem::take(&mut self.board);
        let (large, version) = (self.is_large(), board.version());
        let looks = |(id, seeker): &(&ClusterId, &super::seekers::Seeker)| {
            let refused = seeker.refused.as_ref();
            !large || counted.as_ref() == Some(*id) || refused.is_none_or(|refused| refused.version < version)
        };
        let looking: Vec<ClusterId> = self.seekers.due().filter(looks).map(|(id, _)| id.clone()).collect();
        let mut bundles: BTreeMap<usize, Bundle> = BTreeMap::new();
        for id in looking {
            let counts = !large || counted.as_ref() == Some(&id);
            if counts || !self.is_refused_still(&board, &id) {
                self.place_one(&mut board, &id, counts, &mut bundles, now);
            }
        }
        for (candidate, bundle) in bundles {
            let Candidate { agent, free, .. } = board.candidate(candidate);
            self.accept(agent, Arc::clone(free), bundle, now);
        }
        self.board = board;
    }

    /// Whether none of the agents that have come since the last search of a cluster may be a place for any of its nodes.
    fn is_refused_still(&mut self, board: &Board, id: &ClusterId) -> bool {
        let Some(refused) = self.seekers.refused(id) else { return false };
        let Some(cluster) = self.state.clusters.get(id) else { return false };
        let Some(specification) = &cluster.specification else { return false };
        let requests = self.requests(cluster, &specification.blueprint, self.seekers.names(id));
        let still = requests.is_some_and(|requests| !board.may_place(id, &requests, refused.version));
        if still {
            self.seekers.refuse(id, Refused { version: board.version(), ..refused.clone() });
        }
        still
    }

    /// Looks for a place for all of a cluster's nodes that are due. `counts`: where there is none, the reasons are counted.
    fn place_one(
        &mut self,
        board: &mut Board,
        id: &ClusterId,
        counts: bool,
        bundles: &mut BTreeMap<usize, Bundle>,
        now: Timestamp,
    ) {
        let names = self.seekers.names(id).to_vec();
        let Some(found) = self.look_for(board, id, &names, counts) else { return };
        let left = match found {
            Ok(slots) => {
                for (name, slot) in names.iter().zip(slots) {
                    self.launch_at(board, id, name, slot, bundles, now);
                }
                Waiting::default()
            }
            Err(explained) => self.place_apart(board, id, Waiting { names, explained }, bundles, now),
        };
        if !left.names.is_empty() {
            return self.refused(id, left.explained, board.version(), now);
        }
        if let Some(cluster) = self.state.clusters.get_mut(id) {
            cluster.waiting_since = None;
            cluster.waiting.nodes.clear();
            cluster.waiting.told.clear();
        }
        self.store_cluster(id);
    }

    pub(super) fn launch_at(
        &mut self,
        board: &Board,
        id: &ClusterId,
        name: &Name,
        slot: Slot,
        bundles: &mut BTreeMap<usize, Bundle>,
        now: Timestamp,
    ) {
        let agent = board.candidate(slot.candidate).agent.clone();
        let bundle = bundles.entry(slot.candidate).or_default();
        self.launch(id, name, &agent, slot, bundle, now);
    }

    fn refused(&mut self, id: &ClusterId, explained: Option<Vec<NodeExplanation>>, version: u64, now: Timestamp) {
        let former = self.seekers.refused(id);
        let mut refused = Refused { version, at: now, counted_at: None };
        if let Some(former) = former {
            (refused.at, refused.counted_at) = (former.at, former.counted_at);
        }
        let is_first = former.is_none();
        if explained.is_some() {
            refused.counted_at = Some(now);
        }
        if self.is_large() && explained.is_some() {
            self.demand.counted_at = Some(now);
        }
        self.seekers.refuse(id, refused);
        match explained {
            Some(nodes) => {
                if let Some(cluster) = self.state.clusters.get_mut(id) {
                    cluster.waiting.nodes = nodes;
                }
            }
            None if is_first => self.explain_with(id, "no agent has room for it now; the reasons are being counted"),
            None => {}
        }
        if self.state.clusters.get(id).is_some_and(|cluster| cluster.waiting_since.is_none())
            && let Some(cluster) = self.state.clusters.get_mut(id)
        {
            cluster.waiting_since = Some(now);
        }
    }

    /// Tells why a cluster waits, when the words have changed, and not too often.
    fn tell_waiting(&mut self, id: &ClusterId, now: Timestamp) {
        let Some(cluster) = self.state.clusters.get(id) else { return };
        let reasons = words::lines(&cluster.waiting.nodes);
        if reasons.is_empty() || reasons == cluster.waiting.told {
            return;
        }
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        cluster.waiting.told.clone_from(&reasons);
        cluster.waiting.told_at = Some(now);
        let generation = cluster.generation;
        self.emit(id, Event::PlacementWaiting { generation, reasons });
    }
}
