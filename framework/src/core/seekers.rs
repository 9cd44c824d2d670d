//! The clusters whose nodes look for a place, or will: kept from step to step, so that a step looks at those that have
//! changed, and at those whose time has come, and not at every cluster that waits.

use super::model::Cluster;
use bigdata_common::{ClusterId, Name, Timestamp};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Waiting is told at most this often.
pub(super) const TELL_EVERY_MS: i64 = 2_000;

/// A search that found no place: while no agent has changed that may be one, there is no need for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Of the board: nothing that was put there up to then is a place.
    pub version: u64,
    /// When it was made.
    pub at: Timestamp,
    /// When its reasons were counted last; None: not yet.
    pub counted_at: Option<Timestamp>,
}

/// A cluster with nodes that look for a place now or later.
#[derive(Debug, Clone)]
pub(super) struct Seeker {
    waiting_since: Option<Timestamp>,
    /// The nodes that look for a place now.
    names: Vec<Name>,
    /// See [`Cluster::asked`].
    wish: (u32, u32),
    pub refused: Option<Refused>,
    /// When the next of its other nodes will.
    later: Option<Timestamp>,
    /// When it is looked at whether there is something to tell.
    tell: Option<Timestamp>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Seekers {
    records: HashMap<ClusterId, Seeker>,
    /// Those with nodes that look for a place now; who waits longest comes first.
    due: BTreeSet<(Option<Timestamp>, ClusterId)>,
    later: BTreeSet<(Timestamp, ClusterId)>,
    tell: BTreeSet<(Timestamp, ClusterId)>,
}

impl Seekers {
    /// Takes a cluster in as it is now; whether it has nodes that look for a place and did not when it was taken in last.
    pub(super) fn put(&mut self, cluster: &Cluster, now: Timestamp) -> bool {
        let former = self.remove(&cluster.id);
        let (names, later) = (cluster.due(now), cluster.due_later(now));
        if names.is_empty() && later.is_none() {
            return false;
        }
        let new = is_any_new(&names, former.as_ref().map_or(&[], |former| &former.names));
        let wish = cluster.asked();
        let told = cluster.waiting.told_at.or(cluster.waiting_since);
        let tell = (!names.is_empty()).then(|| told.map_or(now, |at| at.plus_millis(TELL_EVERY_MS)));
        let same = former.filter(|former| former.wish == wish && former.names == names);
        let refused = same.and_then(|former| former.refused);
        let seeker = Seeker { waiting_since: cluster.waiting_since, names, wish, refused, later, tell };
        let key = |at| (at, cluster.id.clone());
        if !seeker.names.is_empty() {
            self.due.insert((seeker.waiting_since, cluster.id.clone()));
        }
        self.later.extend(seeker.later.map(key));
        self.tell.extend(seeker.tell.map(key));
        self.records.insert(cluster.id.clone(), seeker);
        new
    }

    /// Takes a cluster out.
    pub(super) fn remove(&mut self, id: &ClusterId) -> Option<Seeker> {
        let (id, seeker) = self.records.remove_entry(id)?;
        if let Some(at) = seeker.later {
            self.later.remove(&(at, id.clone()));
        }
        if let Some(at) = seeker.tell {
            self.tell.remove(&(at, id.clone()));
        }
        self.due.remove(&(seeker.waiting_since, id));
        Some(seeker)
    }

    /// Whether no node looks for a place now.
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Those with nodes that look for a place now; who waits longest comes first.
    pub(super) fn due(&self) -> impl Iterator<Item = (&ClusterId, &Seeker)> {
        self.due.iter().filter_map(|(_, id)| Some((id, self.records.get(id)?)))
    }

    /// The nodes of a cluster that look for a place now.
    pub(super) fn names(&self, id: &ClusterId) -> &[Name] {
        self.records.get(id).map_or(&[], |seeker| &seeker.names)
    }

    /// How many clusters have nodes that look for a place now.
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// The last search of a cluster, if it found no place.
    pub(super) fn refused(&self, id: &ClusterId) -> Option<&Refused> {
        self.records.get(id)?.refused.as_ref()
    }

    /// Says that a search of a cluster found no place.
    pub(super) fn refuse(&mut self, id: &ClusterId, refused: Refused) {
        if let Some(seeker) = self.records.get_mut(id) {
            seeker.refused = Some(refused);
        }
    }

    /// The last search of a cluster says nothing any more: its nodes need something else, or their neighbours are others.
    pub(super) fn ask_anew(&mut self, id: &ClusterId) {
        if let Some(seeker) = self.records.get_mut(id) {
            seeker.refused = None;
        }
    }

    /// Clusters with nodes that look for a place now or later.
    pub(super) fn ids(&self) -> impl Iterator<Item = &ClusterId> {
        self.records.keys()
    }

    /// Clusters with a node whose time has come: they are to be put in again.
    pub(super) fn come_due(&self, now: Timestamp) -> Vec<ClusterId> {
        self.later.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect()
    }

    /// Clusters for which it is time to see whether there is something to tell. Each comes once, until it is put in again.
    pub(super) fn take_ripe(&mut self, now: Timestamp) -> Vec<ClusterId> {
        let mut ripe = Vec::new();
        while self.tell.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.tell.pop_first() else { break };
            if let Some(seeker) = self.records.get_mut(&id) {
                seeker.tell = None;
            }
            ripe.push(id);
        }
        ripe
    }
}

fn is_any_new(names: &[Name], former: &[Name]) -> bool {
    if names.len() > former.len() {
        return true;
    }
    let former: HashSet<&Name> = if names == former { return false } else { former.iter().collect() };
    names.iter().any(|name| !former.contains(name))
}
