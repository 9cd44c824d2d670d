//! What the agent has, and what of it nobody uses. Pure.

use super::effects::Effects;
use super::records::{ResourcesRecord, kind};
use crate::resources::Resources;
use crate::v1::Resource;

/// The agent's resources. None of them says whom it is allocated to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pool {
    total: Resources,
    /// Neither offered nor used.
    free: Resources,
}

/// What an operation takes and gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conversion {
    pub(crate) consumed: Resources,
    pub(crate) produced: Resources,
}

impl Pool {
    /// The pool of a machine with `given`, of which earlier operations have made `converted`.
    ///
    /// Reservations and volumes hold even if the machine has become smaller: their data is there.
    pub(crate) fn new(given: &Resources, converted: &[Resource]) -> Self {
        let mut total = given.clone();
        for resource in converted {
            total.subtract_present([&original(resource)]);
            total.add(resource);
        }
        Pool { free: total.clone(), total }
    }

    pub(crate) fn total(&self) -> &Resources {
        &self.total
    }

    pub(crate) fn free(&self) -> &Resources {
        &self.free
    }

    /// Takes resources out of the free ones; what is missing after a machine became smaller is ignored.
    pub(crate) fn take(&mut self, resources: &Resources) {
        self.free.subtract_present(resources);
    }

    pub(crate) fn give(&mut self, resources: &Resources) {
        self.free.add_all(resources);
    }

    /// Turns resources that are not free (they are offered) into others, durably.
    pub(crate) fn convert(&mut self, conversion: &Conversion, effects: &mut Effects) {
        self.total.subtract_present(&conversion.consumed);
        self.total.add_all(&conversion.produced);
        let converted = self.total.filter(Resource::is_dynamically_reserved);
        let record = ResourcesRecord { converted: converted.to_vec() };
        effects.put(kind::RESOURCES.to_owned(), &record);
    }
}

/// What the resource was before operations changed it.
fn original(resource: &Resource) -> Resource {
    let mut original = resource.clone();
    if original.is_persistent_volume() {
        original = original.not_persistent();
    }
    while original.is_dynamically_reserved() {
        original.reservations.pop();
    }
    original
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::ReservationInfo;

    #[test]
    fn conversions_are_found_again_in_a_machine_as_given() {
        let given: Resources = [Resource::scalar("cpus", 2.0), Resource::scalar("disk", 100.0)].iter().collect();
        let reserved =
            |name, amount| Resource::scalar(name, amount).reserved(ReservationInfo::dynamic("role", None, None));
        let volume = reserved("disk", 60.0).persistent("v", None, "data");
        let pool = Pool::new(&given, &[reserved("cpus", 0.5), volume.clone()]);
        assert_eq!(pool.total().unreserved().cpus(), 1.5);
        assert_eq!(pool.total().unreserved().disk(), 40.0);
        assert!(pool.free().contains(&[volume.clone(), reserved("cpus", 0.5)]));

        let smaller: Resources = [Resource::scalar("disk", 10.0)].iter().collect();
        let pool = Pool::new(&smaller, std::slice::from_ref(&volume));
        assert_eq!(pool.total().to_vec(), [volume]);
    }
}
