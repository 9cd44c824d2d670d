//! What a bus waits for.

use crate::Readiness;
use crate::bus::BusState;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The name under which a process's readiness tells of the bus.
const BUS: &str = "bus";

/// The parts of a bus that cannot work now, each with its reason; tells the process's readiness of them.
pub(super) struct Waits {
    parts: Mutex<BTreeMap<String, String>>,
    readiness: Readiness,
}

impl Waits {
    pub(super) fn new(readiness: Readiness) -> Self {
        Self { parts: Mutex::default(), readiness }
    }

    /// `part` waits, because of `reason`.
    pub(super) fn for_part(&self, part: &str, reason: String) {
        self.change(|parts| drop(parts.insert(part.to_owned(), reason)));
    }

    /// `part` works.
    pub(super) fn has_part(&self, part: &str) {
        self.change(|parts| drop(parts.remove(part)));
    }

    pub(super) fn state(&self) -> BusState {
        state(&self.parts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        // Held while the readiness is told, so that it hears the changes in their order.
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut parts);
        match state(&parts) {
            BusState::Connected => self.readiness.has(BUS),
            BusState::Waiting { reason } => self.readiness.is_held_up_by(BUS, reason),
        }
    }
}

fn state(parts: &BTreeMap<String, String>) -> BusState {
    if parts.is_empty() {
        return BusState::Connected;
    }
    let reasons: Vec<String> = parts.iter().map(|(part, reason)| format!("{part}: {reason}")).collect();
    BusState::Waiting { reason: reasons.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_works_when_all_of_its_parts_do() {
        let readiness = Readiness::default();
        let waits = Waits::new(readiness.clone());
        assert_eq!(waits.state(), BusState::Connected);
        waits.for_part("publisher", "refused".to_owned());
        waits.for_part("consumer", "refused".to_owned());
        waits.has_part("publisher");
        assert_eq!(waits.state(), BusState::Waiting { reason: "consumer: refused".to_owned() });
        assert_eq!(readiness.awaited()["bus"], "consumer: refused");
        waits.has_part("consumer");
        assert_eq!((waits.state(), readiness.awaited().len()), (BusState::Connected, 0));
    }
}
