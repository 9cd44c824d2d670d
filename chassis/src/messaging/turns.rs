//! What is handled next: several clusters at a time, the events of each one after the other. Pure.

use bigdata_common::ClusterId;
use std::collections::{HashMap, VecDeque};

/// What waits to be handled, and whose turn it is. A cluster has one item under way at a time, in the order in which its
/// items came; clusters take turns, so that one with many items, or a slow one, takes up one place and no more.
#[derive(Debug)]
pub(super) struct Turns<T> {
    places: usize,
    under_way: usize,
    /// What waits, of every cluster that has something waiting or under way.
    waiting: HashMap<ClusterId, VecDeque<T>>,
    /// Clusters with nothing under way and something waiting.
    next: VecDeque<ClusterId>,
    count: usize,
}

impl<T> Turns<T> {
    /// Nothing waits; at most `places` items are under way at a time.
    pub(super) fn new(places: usize) -> Self {
        Self { places, under_way: 0, waiting: HashMap::new(), next: VecDeque::new(), count: 0 }
    }

    /// How many items wait.
    pub(super) fn waiting(&self) -> usize {
        self.count
    }

    /// An item has come.
    pub(super) fn add(&mut self, cluster: ClusterId, item: T) {
        self.count += 1;
        match self.waiting.get_mut(&cluster) {
            Some(items) => items.push_back(item),
            None => {
                self.waiting.insert(cluster.clone(), VecDeque::from([item]));
                self.next.push_back(cluster);
            }
        }
    }

    /// The next item, which is under way from now on; None where nothing may begin.
    pub(super) fn begin(&mut self) -> Option<(ClusterId, T)> {
        if self.under_way >= self.places {
            return None;
        }
        let cluster = self.next.pop_front()?;
        let item = self.waiting.get_mut(&cluster)?.pop_front()?;
        self.under_way += 1;
        self.count -= 1;
        Some((cluster, item))
    }

    /// This cluster's item is done with.
    pub(super) fn end(&mut self, cluster: ClusterId) {
        self.under_way -= 1;
        if self.waiting.get(&cluster).is_some_and(|items| !items.is_empty()) {
            self.next.push_back(cluster);
        } else {
            self.waiting.remove(&cluster);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(number: u32) -> ClusterId {
        ClusterId::parse_any(&format!("clusters/local/reference/1.0.0/{number}")).unwrap()
    }

    fn begun(turns: &mut Turns<u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.begin()).map(|(_, item)| item).collect()
    }

    #[test]
    fn a_cluster_takes_one_place_and_keeps_its_order() {
        let mut turns = Turns::new(2);
        for item in [10, 11, 12] {
            turns.add(cluster(1), item);
        }
        turns.add(cluster(2), 20);
        turns.add(cluster(3), 30);
        assert_eq!(begun(&mut turns), [10, 20], "one of each cluster, and two at a time");
        // The first cluster is slow: the others go on beside it.
        turns.end(cluster(2));
        assert_eq!(begun(&mut turns), [30]);
        turns.end(cluster(3));
        assert!(begun(&mut turns).is_empty(), "what is left belongs to the slow one");
        assert_eq!(turns.waiting(), 2);
        turns.end(cluster(1));
        turns.add(cluster(2), 21);
        assert_eq!(begun(&mut turns), [11, 21]);
        turns.end(cluster(2));
        turns.end(cluster(1));
        assert_eq!(begun(&mut turns), [12]);
        turns.end(cluster(1));
        assert_eq!((turns.waiting(), turns.waiting.len(), turns.next.len()), (0, 0, 0), "nothing is kept of the done");
    }

    #[test]
    fn with_one_place_clusters_take_turns() {
        let mut turns = Turns::new(1);
        for (of, item) in [(1, 10), (1, 11), (2, 20)] {
            turns.add(cluster(of), item);
        }
        let mut order = Vec::new();
        while let Some((cluster, item)) = turns.begin() {
            order.push(item);
            turns.end(cluster);
        }
        assert_eq!(order, [10, 20, 11]);
    }
}
