//! How many scripts run at a time, and as whom.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A fixed number of places for scripts.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    free: Arc<Mutex<BTreeSet<u32>>>,
    /// As many are kept for the clusters' main runs: answers to failures must not wait for the end of backups.
    kept: usize,
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u32,
    slots: Slots,
}

impl Slots {
    /// Places numbered from 0.
    pub(crate) fn new(count: u32) -> Self {
        let free: BTreeSet<u32> = (0..count.max(1)).collect();
        let kept = free.len() / 2;
        Self { free: Arc::new(Mutex::new(free)), kept }
    }

    /// A free place, if there is one; for a run beside the main one half of them are not.
    pub(crate) fn take(&self, is_side: bool) -> Option<Slot> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if is_side && free.len() <= self.kept {
            return None;
        }
        let number = free.pop_first()?;
        Some(Slot { number, slots: self.clone() })
    }

    /// Whether there is no free place.
    pub(crate) fn are_taken(&self) -> bool {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Slot {
    /// Its number: no other script that runs has it.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.free.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_once_and_comes_back() {
        let slots = Slots::new(2);
        let first = slots.take(false).unwrap();
        let second = slots.take(false).unwrap();
        assert_eq!((first.number(), second.number()), (0, 1));
        assert!(slots.take(false).is_none() && slots.are_taken());
        drop(first);
        assert_eq!(slots.take(false).unwrap().number(), 0);
    }

    #[test]
    fn half_of_the_places_are_kept_for_main_runs() {
        let slots = Slots::new(4);
        let held = [slots.take(true), slots.take(true)].map(Option::unwrap);
        assert!(slots.take(true).is_none());
        let main = slots.take(false).unwrap();
        drop(held);
        assert!(slots.take(true).is_some());
        drop(main);
        assert!(Slots::new(1).take(true).is_some(), "one place is for all");
    }
}
