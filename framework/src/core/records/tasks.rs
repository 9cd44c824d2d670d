//! Attempts: which lie on an agent, which are of a cluster, and what of them has changed.

use super::Groups;
use crate::core::model::Task;
use bigdata_common::{AttemptId, ClusterId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;

/// Attempts that are not confirmed to have ended. What they lie on does not change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    records: BTreeMap<AttemptId, Task>,
    by_agent: Groups<String, AttemptId>,
    by_cluster: Groups<ClusterId, AttemptId>,
    /// Those that were put in, or lent one by one.
    lent: BTreeSet<AttemptId>,
    /// Agents that have got or lost one.
    agents: BTreeSet<String>,
    /// Clusters that have lost one.
    clusters: BTreeSet<ClusterId>,
    /// Addresses (pool, address) that were taken (true) or freed.
    addresses: HashMap<(String, String), bool>,
}

impl Deref for Tasks {
    type Target = BTreeMap<AttemptId, Task>;

    fn deref(&self) -> &Self::Target {
        &self.records
    }
}

impl Tasks {
    pub(crate) fn insert(&mut self, id: AttemptId, task: Task) {
        self.by_agent.insert(task.agent.clone(), id);
        self.by_cluster.insert(task.cluster.clone(), id);
        self.note(&task, true);
        self.lent.insert(id);
        self.records.insert(id, task);
    }

    pub(crate) fn remove(&mut self, id: &AttemptId) -> Option<Task> {
        let task = self.records.remove(id)?;
        self.by_agent.remove(task.agent.as_str(), id);
        self.by_cluster.remove(&task.cluster, id);
        self.note(&task, false);
        self.clusters.insert(task.cluster.clone());
        Some(task)
    }

    fn note(&mut self, task: &Task, taken: bool) {
        self.agents.insert(task.agent.clone());
        let leases = task.leases().map(|(pool, address)| ((pool.to_owned(), address.into_owned()), taken));
        self.addresses.extend(leases);
    }

    pub(crate) fn get_mut(&mut self, id: &AttemptId) -> Option<&mut Task> {
        let task = self.records.get_mut(id)?;
        self.lent.insert(*id);
        Some(task)
    }

    /// Takes those that are gone or not of interest out of those that were lent, and returns the rest.
    pub(crate) fn settle(&mut self, is_of_interest: impl Fn(&Task) -> bool) -> Vec<&Task> {
        let records = &self.records;
        self.lent.retain(|id| records.get(id).is_some_and(&is_of_interest));
        self.lent.iter().filter_map(|id| records.get(id)).collect()
    }

    /// Lends all to change what is only remembered: no note is taken, so nothing may change what is to become of one.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Task> {
        self.records.values_mut()
    }

    pub(crate) fn of_agent(&self, agent: &str) -> impl Iterator<Item = &Task> {
        self.by_agent.of(agent).filter_map(|id| self.records.get(id))
    }

    pub(crate) fn of_cluster(&self, cluster: &ClusterId) -> impl Iterator<Item = &Task> {
        self.by_cluster.of(cluster).filter_map(|id| self.records.get(id))
    }

    /// Agents that have got or lost one since this was asked last.
    pub(crate) fn take_agents(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.agents)
    }

    /// Clusters that have lost one since this was asked last.
    pub(crate) fn take_clusters(&mut self) -> BTreeSet<ClusterId> {
        std::mem::take(&mut self.clusters)
    }

    /// Addresses that were taken (true) or freed since this was asked last.
    pub(crate) fn take_addresses(&mut self) -> HashMap<(String, String), bool> {
        std::mem::take(&mut self.addresses)
    }
}

impl FromIterator<(AttemptId, Task)> for Tasks {
    fn from_iter<I: IntoIterator<Item = (AttemptId, Task)>>(records: I) -> Self {
        let mut tasks = Self::default();
        for (id, task) in records {
            tasks.insert(id, task);
        }
        tasks
    }
}
