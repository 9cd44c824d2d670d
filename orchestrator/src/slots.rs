//! How many scripts run at a time, and as whom.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A fixed number of places for scripts.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Mutex<BTreeSet<u32>>>);

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u32,
    slots: Slots,
}

impl Slots {
    /// Places numbered from 0.
    pub(crate) fn new(count: u32) -> Self {
        Self(Arc::new(Mutex::new((0..count.max(1)).collect())))
    }

    /// A free place, if there is one.
    pub(crate) fn take(&self) -> Option<Slot> {
        let number = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_first()?;
        Some(Slot { number, slots: self.clone() })
    }

    /// Whether there is no free place.
    pub(crate) fn are_taken(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
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
        self.slots.0.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_once_and_comes_back() {
        let slots = Slots::new(2);
        let first = slots.take().unwrap();
        let second = slots.take().unwrap();
        assert_eq!((first.number(), second.number()), (0, 1));
        assert!(slots.take().is_none() && slots.are_taken());
        drop(first);
        assert_eq!(slots.take().unwrap().number(), 0);
    }
}
