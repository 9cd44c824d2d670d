//! Offers: which an agent has made, which are old, and which hold what is reserved.

use super::AgentNumber;
use crate::core::Held;
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::OfferId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

/// Offers that have not been answered. They come and go by tens of thousands: they are numbered as they come.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    records: BTreeMap<NonZeroU64, Held>,
    newest: u64,
    by_id: HashMap<String, NonZeroU64>,
    /// By the agent's number.
    by_agent: Vec<Few>,
    /// Those that hold reservations.
    reserved: BTreeSet<NonZeroU64>,
    /// Agents whose offers have changed, some of them more than once.
    agents: Vec<AgentNumber>,
}

/// The numbers of an agent's offers: mostly one, which lies here.
#[derive(Debug, Clone, Default)]
struct Few {
    first: Option<NonZeroU64>,
    more: Vec<NonZeroU64>,
}

impl Few {
    fn push(&mut self, number: NonZeroU64) {
        match self.first {
            None => self.first = Some(number),
            Some(_) => self.more.push(number),
        }
    }

    fn remove(&mut self, number: NonZeroU64) {
        if self.first == Some(number) {
            self.first = (!self.more.is_empty()).then(|| self.more.remove(0));
        } else {
            self.more.retain(|other| *other != number);
        }
    }

    fn iter(&self) -> impl Iterator<Item = NonZeroU64> + Clone {
        self.first.into_iter().chain(self.more.iter().copied())
    }
}

impl Offers {
    pub(crate) fn insert(&mut self, held: Held) {
        self.newest += 1;
        let Some(number) = NonZeroU64::new(self.newest) else { return };
        let agent = held.agent;
        if let Some(former) = self.by_id.insert(held.id.value.clone(), number) {
            self.take(former);
        }
        if self.by_agent.len() <= agent.index() {
            self.by_agent.resize_with(agent.index() + 1, Few::default);
        }
        self.by_agent[agent.index()].push(number);
        if held.free.iter().any(|entry| entry.is_dynamically_reserved() || entry.is_persistent_volume()) {
            self.reserved.insert(number);
        }
        self.agents.push(agent);
        self.records.insert(number, held);
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Held> {
        let number = self.by_id.remove(id)?;
        self.take(number)
    }

    /// Takes one out that has no id any more.
    fn take(&mut self, number: NonZeroU64) -> Option<Held> {
        let held = self.records.remove(&number)?;
        self.by_agent[held.agent.index()].remove(number);
        self.reserved.remove(&number);
        self.agents.push(held.agent);
        Some(held)
    }

    /// Takes out all that an agent has made.
    pub(crate) fn remove_of(&mut self, agent: AgentNumber) -> Vec<OfferId> {
        let numbers = self.by_agent.get_mut(agent.index()).map(std::mem::take).unwrap_or_default();
        let held = numbers.iter().filter_map(|number| self.records.remove(&number));
        let ids: Vec<OfferId> = held.map(|held| held.id).collect();
        for (id, number) in ids.iter().zip(numbers.iter()) {
            self.by_id.remove(&id.value);
            self.reserved.remove(&number);
        }
        self.agents.push(agent);
        ids
    }

    /// Takes the oldest out for as long as that holds.
    pub(crate) fn remove_oldest_while(&mut self, holds: impl Fn(&Held) -> bool) -> Vec<Held> {
        let mut removed = Vec::new();
        while let Some((number, _)) = self.records.first_key_value().filter(|(_, held)| holds(held)) {
            let number = *number;
            let Some(held) = self.take(number) else { break };
            self.by_id.remove(&held.id.value);
            removed.push(held);
        }
        removed
    }

    pub(crate) fn clear(&mut self) {
        self.agents.extend(self.records.values().map(|held| held.agent));
        self.records.clear();
        self.by_id.clear();
        self.by_agent.clear();
        self.reserved.clear();
    }

    pub(crate) fn of_agent(&self, agent: AgentNumber) -> impl Iterator<Item = &Held> + Clone {
        let numbers = self.by_agent.get(agent.index()).into_iter().flat_map(Few::iter);
        numbers.filter_map(|number| self.records.get(&number))
    }

    /// What an agent offers in all; None: nothing.
    pub(crate) fn free_of(&self, agent: AgentNumber) -> Option<Arc<Resources>> {
        let mut held = self.of_agent(agent);
        let first = Arc::clone(&held.next()?.free);
        Some(held.fold(first, |mut sum, more| {
            Arc::make_mut(&mut sum).add_all(more.free.iter());
            sum
        }))
    }

    /// All, the oldest first.
    pub(crate) fn by_age(&self) -> impl Iterator<Item = &Held> {
        self.records.values()
    }

    /// The agents that offer anything that is reserved.
    pub(crate) fn agents_with_reservations(&self) -> BTreeSet<AgentNumber> {
        self.reserved.iter().filter_map(|number| self.records.get(number)).map(|held| held.agent).collect()
    }

    /// Agents whose offers have changed since this was asked last.
    pub(crate) fn take_agents(&mut self) -> Vec<AgentNumber> {
        std::mem::take(&mut self.agents)
    }
}
