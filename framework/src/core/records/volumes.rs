//! Volumes: which are of a cluster, and what of them has changed.

use super::{Groups, Noted};
use crate::core::model::{Fate, Volume};
use bigdata_common::{ClusterId, Timestamp};
use std::collections::BTreeSet;
use std::ops::Deref;

/// Volumes. What cluster one is of does not change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Volumes {
    records: Noted<String, Volume>,
    by_cluster: Groups<ClusterId, String>,
    /// Clusters that have one less than before: lost with its agent, or gone.
    clusters: BTreeSet<ClusterId>,
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
        self.clusters.insert(volume.cluster.clone());
        Some(volume)
    }

    /// A volume that is lost with its agent: nobody waits for it any more, and it is nobody's data. As it is then.
    pub(crate) fn lose(&mut self, id: &str, now: Timestamp) -> Option<Volume> {
        let volume = self.records.get_mut(id)?;
        (volume.fate, volume.left, volume.lost_at, volume.doomed_at) = (Fate::Kept, true, Some(now), None);
        let volume = volume.clone();
        self.clusters.insert(volume.cluster.clone());
        Some(volume)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Volume> {
        self.records.get_mut(id)
    }

    pub(crate) fn of_cluster(&self, cluster: &ClusterId) -> impl Iterator<Item = &Volume> {
        self.by_cluster.of(cluster).filter_map(|id| self.records.get(id))
    }

    /// Clusters that have lost one, or wait for one less, since this was asked last.
    pub(crate) fn take_clusters(&mut self) -> BTreeSet<ClusterId> {
        std::mem::take(&mut self.clusters)
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
