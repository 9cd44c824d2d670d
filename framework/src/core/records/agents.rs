//! Agents, numbered as they are heard of: of a large fleet tens of thousands make offers at a time, and what is looked up by
//! a text is looked up once.

use crate::core::model::Agent;
use std::collections::{BTreeSet, HashMap};
use std::ops::Index;
use std::sync::Arc;

/// Stands for an agent that was heard of, for as long as the service lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AgentNumber(usize);

impl AgentNumber {
    /// Counts from 0 without gaps.
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// What is known of one that was heard of; None: nothing, or nothing any more.
#[derive(Debug)]
struct Slot {
    id: Arc<str>,
    agent: Option<Agent>,
}

/// Agents by number and id. Each is noted when it is put in, taken out, or lent to be changed.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    numbers: HashMap<Arc<str>, AgentNumber>,
    slots: Vec<Slot>,
    known: usize,
    noted: BTreeSet<AgentNumber>,
}

impl Agents {
    /// The number of an agent, given to it where it has none.
    pub(crate) fn number(&mut self, id: &str) -> AgentNumber {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let (number, id) = (AgentNumber(self.slots.len()), Arc::<str>::from(id));
        self.slots.push(Slot { id: Arc::clone(&id), agent: None });
        self.numbers.insert(id, number);
        number
    }

    /// The number of an agent that has one.
    pub(crate) fn find(&self, id: &str) -> Option<AgentNumber> {
        self.numbers.get(id).copied()
    }

    /// The id of an agent.
    pub(crate) fn id(&self, number: AgentNumber) -> &Arc<str> {
        &self.slots[number.0].id
    }

    pub(crate) fn at(&self, number: AgentNumber) -> Option<&Agent> {
        self.slots.get(number.0)?.agent.as_ref()
    }

    /// Lends one to change what nobody who reads the notes looks at.
    pub(crate) fn lend(&mut self, number: AgentNumber) -> Option<&mut Agent> {
        self.slots.get_mut(number.0)?.agent.as_mut()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Agent> {
        self.at(self.find(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Agent> {
        let number = self.find(id)?;
        self.noted.insert(number);
        self.lend(number)
    }

    pub(crate) fn insert(&mut self, agent: Agent) {
        let number = self.number(&agent.id);
        self.noted.insert(number);
        self.known += usize::from(self.slots[number.0].agent.replace(agent).is_none());
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Agent> {
        let number = self.find(id)?;
        self.noted.insert(number);
        let agent = self.slots[number.0].agent.take()?;
        self.known -= 1;
        Some(agent)
    }

    /// In the order in which they were heard of.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Agent> {
        self.slots.iter().filter_map(|slot| slot.agent.as_ref())
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.known
    }

    /// What was noted since this was asked last.
    pub(crate) fn take_noted(&mut self) -> BTreeSet<AgentNumber> {
        std::mem::take(&mut self.noted)
    }
}

impl Index<&str> for Agents {
    type Output = Agent;

    fn index(&self, id: &str) -> &Agent {
        self.get(id).unwrap_or_else(|| panic!("the agent {id} is not known"))
    }
}

impl FromIterator<(String, Agent)> for Agents {
    fn from_iter<I: IntoIterator<Item = (String, Agent)>>(records: I) -> Self {
        let mut agents = Self::default();
        for (_, agent) in records {
            agents.insert(agent);
        }
        agents
    }
}
