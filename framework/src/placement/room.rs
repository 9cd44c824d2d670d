//! What is to be seen of an agent at the first glance.

use super::take;
use bigdata_mesos::resources::Resources;

/// What an agent has at the most, in thousandths: enough to say no without a closer look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub cpus: i64,
    pub mem: i64,
    /// Of disk that is neither a whole one nor a volume.
    pub disk: i64,
    /// The largest whole disk.
    pub whole: i64,
}

impl Room {
    pub(super) fn holds(self, wanted: Self) -> bool {
        self.cpus >= wanted.cpus && self.mem >= wanted.mem && self.disk >= wanted.disk && self.whole >= wanted.whole
    }

    pub(super) fn of(free: &Resources) -> Self {
        let mut room = Self::default();
        for entry in free.iter() {
            match entry.name.as_str() {
                "cpus" => room.cpus += take::thousandths(entry.amount()),
                "mem" => room.mem += take::thousandths(entry.amount()),
                "disk" if entry.is_persistent_volume() => {}
                "disk" if take::has_source(entry) => {
                    room.whole = room.whole.max(take::thousandths(entry.amount()));
                }
                "disk" => room.disk += take::thousandths(entry.amount()),
                _ => {}
            }
        }
        room
    }
}
