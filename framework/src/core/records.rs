//! Records by key that know what was changed, and which belong together: a step looks at what it is about, and not at
//! everything that there is. They read as maps; every way to change one notes it.

mod agents;
mod offers;
mod tasks;
mod volumes;

pub(crate) use agents::{AgentNumber, Agents};
pub(crate) use offers::Offers;
pub(crate) use tasks::Tasks;
pub(crate) use volumes::Volumes;

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

fn note<K, Q>(notes: &mut [BTreeSet<K>], key: &Q)
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized + ToOwned<Owned = K>,
{
    for set in notes {
        if !set.contains(key) {
            set.insert(key.to_owned());
        }
    }
}

impl<K: Ord + Clone, V, const SETS: usize> Noted<K, V, SETS> {
    pub(crate) fn insert(&mut self, key: K, record: V) {
        note(&mut self.notes, &key);
        self.records.insert(key, record);
    }

    pub(crate) fn remove<Q: Ord + ?Sized + ToOwned<Owned = K>>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        note(&mut self.notes, key);
        self.records.remove(key)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized + ToOwned<Owned = K>>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let record = self.records.get_mut(key)?;
        note(&mut self.notes, key);
        Some(record)
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
        let records: BTreeMap<K, V> = records.into_iter().collect();
        let keys: BTreeSet<K> = records.keys().cloned().collect();
        Self { notes: std::array::from_fn(|_| keys.clone()), records }
    }
}
