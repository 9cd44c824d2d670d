//! Records by key that know what was changed, and which belong together: a step looks at what it is about, and not at
//! everything that there is. They read as maps; every way to change one notes it.

use super::Held;
use super::model::{Task, Volume};
use bigdata_common::{AttemptId, ClusterId, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::Deref;

/// Keys by the group that their records are of.
#[derive(Debug, Clone)]
struct Groups<G, K>(HashMap<G, BTreeSet<K>>);

impl<G, K> Default for Groups<G, K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<G: Eq + Hash, K: Ord> Groups<G, K> {
    fn insert(&mut self, group: G, key: K) {
        self.0.entry(group).or_default().insert(key);
    }

    fn remove<Q: Eq + Hash + ?Sized>(&mut self, group: &Q, key: &K)
    where
        G: std::borrow::Borrow<Q>,
    {
        if let Some(keys) = self.0.get_mut(group) {
            keys.remove(key);
            if keys.is_empty() {
                self.0.remove(group);
            }
        }
    }

    fn of<Q: Eq + Hash + ?Sized>(&self, group: &Q) -> impl Iterator<Item = &K> + Clone
    where
        G: std::borrow::Borrow<Q>,
    {
        self.0.get(group).into_iter().flatten()
    }
}

/// Records whose key is noted in each of `SETS` sets when one is put in, taken out, or lent to be changed.
#[derive(Debug, Clone)]
pub(crate) struct Noted<K, V, const SETS: usize = 1> {
    records: BTreeMap<K, V>,
    notes: [BTreeSet<K>; SETS],
}

impl<K: Ord, V, const SETS: usize> Default for Noted<K, V, SETS> {
    fn default() -> Self {
        Self { records: BTreeMap::new(), notes: std::array::from_fn(|_| BTreeSet::new()) }
    }
}

impl<K, V, const SETS: usize> Deref for Noted<K, V, SETS> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.records
    }
}

impl<K: Ord + Clone, V, const SETS: usize> Noted<K, V, SETS> {
    fn note<Q: Ord + ?Sized + ToOwned<Owned = K>>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        for set in &mut self.notes {
            if !set.contains(key) {
                set.insert(key.to_owned());
            }
        }
    }

    pub(crate) fn insert(&mut self, key: K, record: V) {
        self.note(&key);
        self.records.insert(key, record);
    }

    pub(crate) fn remove<Q: Ord + ?Sized + ToOwned<Owned = K>>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.note(key);
        self.records.remove(key)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized + ToOwned<Owned = K>>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        if self.records.contains_key(key) {
            self.note(key);
        }
        self.records.get_mut(key)
    }

    /// Lends all; all are noted.
    #[cfg(test)]
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        for set in &mut self.notes {
            set.extend(self.records.keys().cloned());
        }
        self.records.values_mut()
    }

    /// What was noted in a set, in the order of the keys; it may be gone by now.
    pub(crate) fn noted(&self, set: usize) -> impl Iterator<Item = &V> {
        self.notes[set].iter().filter_map(|key| self.records.get(key))
    }

    /// What was noted in a set, which is empty then.
    pub(crate) fn take_noted(&mut self, set: usize) -> BTreeSet<K> {
        std::mem::take(&mut self.notes[set])
    }

    /// Takes those out of a set that are gone or not of interest.
    pub(crate) fn settle(&mut self, set: usize, is_of_interest: impl Fn(&V) -> bool) {
        let records = &self.records;
        self.notes[set].retain(|key| records.get(key).is_some_and(&is_of_interest));
    }
}

impl<K: Ord + Clone, V, const SETS: usize> FromIterator<(K, V)> for Noted<K, V, SETS> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(records: I) -> Self {
        let mut noted = Self::default();
        for (key, record) in records {
            noted.insert(key, record);
        }
        noted
    }
}

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
        Some(task)
    }

    fn note(&mut self, task: &Task, taken: bool) {
        self.agents.insert(task.agent.clone());
        if let Some(pool) = &task.pool {
            self.addresses.insert((pool.clone(), task.address.clone()), taken);
        }
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

/// Volumes. What cluster one is of does not change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Volumes {
    records: Noted<String, Volume>,
    by_cluster: Groups<ClusterId, String>,
}

impl Deref for Volumes {
    type Target = Noted<String, Volume>;

    fn deref(&self) -> &Self::Target {
        &self.records
    }
}

impl Volumes {
    pub(crate) fn insert(&mut self, id: String, volume: Volume) {
        self.by_cluster.insert(volume.cluster.clone(), id.clone());
        self.records.insert(id, volume);
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Volume> {
        let volume = self.records.remove(id)?;
        self.by_cluster.remove(&volume.cluster, &volume.id);
        Some(volume)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Volume> {
        self.records.get_mut(id)
    }

    pub(crate) fn of_cluster(&self, cluster: &ClusterId) -> impl Iterator<Item = &Volume> {
        self.by_cluster.of(cluster).filter_map(|id| self.records.get(id))
    }

    /// Changes those of a cluster that `is_meant` holds for, and returns them as they are then.
    pub(crate) fn change(
        &mut self,
        cluster: &ClusterId,
        is_meant: impl Fn(&Volume) -> bool,
        mut change: impl FnMut(&mut Volume),
    ) -> Vec<Volume> {
        let ids: Vec<String> =
            self.of_cluster(cluster).filter(|volume| is_meant(volume)).map(|one| one.id.clone()).collect();
        let mut changed = Vec::new();
        for id in ids {
            if let Some(volume) = self.records.get_mut(&id) {
                change(volume);
                changed.push(volume.clone());
            }
        }
        changed
    }

    /// See [`Noted::settle`].
    pub(crate) fn settle(&mut self, is_of_interest: impl Fn(&Volume) -> bool) {
        self.records.settle(0, is_of_interest);
    }
}

impl FromIterator<(String, Volume)> for Volumes {
    fn from_iter<I: IntoIterator<Item = (String, Volume)>>(records: I) -> Self {
        let mut volumes = Self::default();
        for (id, volume) in records {
            volumes.insert(id, volume);
        }
        volumes
    }
}

/// Offers that have not been answered.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    records: BTreeMap<String, Held>,
    by_agent: Groups<String, String>,
    by_age: BTreeSet<(Timestamp, String)>,
    /// Those that hold reservations.
    reserved: BTreeSet<String>,
    /// Agents whose offers have changed.
    agents: BTreeSet<String>,
}

impl Deref for Offers {
    type Target = BTreeMap<String, Held>;

    fn deref(&self) -> &Self::Target {
        &self.records
    }
}

impl Offers {
    pub(crate) fn insert(&mut self, id: String, held: Held) {
        self.remove(&id);
        let agent = held.offer.agent_id.value.clone();
        self.by_agent.insert(agent.clone(), id.clone());
        self.by_age.insert((held.since, id.clone()));
        if held.offer.resources.iter().any(|entry| entry.is_dynamically_reserved() || entry.is_persistent_volume()) {
            self.reserved.insert(id.clone());
        }
        self.agents.insert(agent);
        self.records.insert(id, held);
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Held> {
        let (id, held) = self.records.remove_entry(id)?;
        self.by_agent.remove(held.offer.agent_id.as_str(), &id);
        self.reserved.remove(&id);
        let aged = (held.since, id);
        self.by_age.remove(&aged);
        self.agents.insert(held.offer.agent_id.value.clone());
        Some(held)
    }

    pub(crate) fn clear(&mut self) {
        let ids: Vec<String> = self.records.keys().cloned().collect();
        for id in ids {
            self.remove(&id);
        }
    }

    pub(crate) fn of_agent(&self, agent: &str) -> impl Iterator<Item = &Held> + Clone {
        self.by_agent.of(agent).filter_map(|id| self.records.get(id))
    }

    /// All, the oldest first.
    pub(crate) fn by_age(&self) -> impl Iterator<Item = &Held> {
        self.by_age.iter().filter_map(|(_, id)| self.records.get(id))
    }

    /// The agents that offer anything that is reserved.
    pub(crate) fn agents_with_reservations(&self) -> BTreeSet<String> {
        let held = self.reserved.iter().filter_map(|id| self.records.get(id));
        held.map(|held| held.offer.agent_id.value.clone()).collect()
    }

    /// Agents whose offers have changed since this was asked last.
    pub(crate) fn take_agents(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.agents)
    }
}
