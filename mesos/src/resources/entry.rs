//! One resource: builders, questions, and arithmetic with another one of the same kind.

use std::borrow::Cow;

use crate::v1::{
    AllocationInfo, DiskInfo, DiskRoot, DiskSource, Labels, Persistence, Ranges, ReservationInfo, ReservationType,
    Resource, Scalar, Set, ValueType, Volume, VolumeMode,
};

/// The role of resources that nobody has reserved.
const EVERYBODY: &str = "*";

fn thousandths(value: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "amounts are far below 2^53")]
    let whole = (value * 1000.0).round() as i64;
    whole
}

fn scalar_of(thousandths: i64) -> Scalar {
    #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53")]
    let value = thousandths as f64 / 1000.0;
    Scalar { value }
}

impl ReservationInfo {
    /// A reservation as operations make it.
    #[must_use]
    pub fn dynamic(role: &str, principal: Option<&str>, labels: Option<Labels>) -> Self {
        ReservationInfo {
            r#type: Some(ReservationType::Dynamic as i32),
            role: Some(role.to_owned()),
            principal: principal.map(str::to_owned),
            labels,
        }
    }
}

impl Resource {
    /// `value` of `name`, unreserved.
    #[must_use]
    pub fn scalar(name: &str, value: f64) -> Self {
        Resource {
            name: name.to_owned(),
            r#type: ValueType::Scalar as i32,
            scalar: Some(scalar_of(thousandths(value))),
            ..Resource::default()
        }
    }

    /// Ports, as pairs of first and last.
    #[must_use]
    pub fn ports(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Resource {
            name: "ports".to_owned(),
            r#type: ValueType::Ranges as i32,
            ranges: Some(Ranges::of(ranges)),
            ..Resource::default()
        }
    }

    /// Adds a reservation on top of those that there are.
    #[must_use]
    pub fn reserved(mut self, reservation: ReservationInfo) -> Self {
        self.reservations.push(reservation);
        self
    }

    /// Makes the disk a persistent volume that appears at `container_path` (relative to the sandbox).
    #[must_use]
    pub fn persistent(mut self, id: &str, principal: Option<&str>, container_path: &str) -> Self {
        let disk = self.disk.get_or_insert_default();
        disk.persistence = Some(Persistence { id: id.to_owned(), principal: principal.map(str::to_owned) });
        disk.volume = Some(Volume {
            mode: VolumeMode::ReadWrite as i32,
            container_path: container_path.to_owned(),
            host_path: None,
        });
        self
    }

    /// Says whom the resource is allocated to.
    #[must_use]
    pub fn allocated_to(mut self, role: Option<&str>) -> Self {
        self.allocation_info = role.map(|role| AllocationInfo { role: Some(role.to_owned()) });
        self
    }

    /// Without the innermost reservation; `None` where there is none.
    #[must_use]
    pub fn unreserved_once(mut self) -> Option<Self> {
        self.reservations.pop()?;
        Some(self)
    }

    /// The disk that the volume was made of.
    #[must_use]
    pub fn not_persistent(mut self) -> Self {
        let source = self.disk.take().and_then(|disk| disk.source);
        self.disk = source.map(|source| Box::new(DiskInfo { source: Some(source), ..DiskInfo::default() }));
        self
    }

    /// A whole disk, mounted there: it is offered and taken as one piece.
    #[must_use]
    pub fn mounted_disk(root: &str, mebibytes: f64) -> Self {
        let mount = Some(DiskRoot { root: Some(root.to_owned()) });
        let source = DiskSource { r#type: DiskSource::MOUNT, mount, ..DiskSource::default() };
        let disk = Some(Box::new(DiskInfo { source: Some(source), ..DiskInfo::default() }));
        Self { disk, ..Self::scalar("disk", mebibytes) }
    }

    /// Where the whole disk is mounted that this is.
    #[must_use]
    pub fn mount_root(&self) -> Option<&str> {
        let source = self.disk.as_ref()?.source.as_ref().filter(|source| source.r#type == DiskSource::MOUNT)?;
        source.mount.as_ref()?.root.as_deref()
    }

    /// The role that the resource is reserved for.
    #[must_use]
    pub fn reserved_role(&self) -> Option<&str> {
        match self.reservations.last() {
            Some(reservation) => reservation.role.as_deref(),
            None => self.role.as_deref().filter(|role| *role != EVERYBODY),
        }
    }

    /// Whether an operation has reserved it.
    #[must_use]
    pub fn is_dynamically_reserved(&self) -> bool {
        let last = self.reservations.last();
        last.is_some_and(|reservation| reservation.r#type() == ReservationType::Dynamic)
    }

    /// The id of the persistent volume that this is.
    #[must_use]
    pub fn persistence_id(&self) -> Option<&str> {
        let persistence = self.disk.as_ref()?.persistence.as_ref()?;
        Some(&persistence.id)
    }

    /// Whether this is a persistent volume.
    #[must_use]
    pub fn is_persistent_volume(&self) -> bool {
        self.persistence_id().is_some()
    }

    /// Where the volume appears, relative to the sandbox.
    #[must_use]
    pub fn container_path(&self) -> Option<&str> {
        let volume = self.disk.as_ref()?.volume.as_ref()?;
        Some(&volume.container_path)
    }

    /// The scalar's value; 0 for other types.
    #[must_use]
    pub fn amount(&self) -> f64 {
        match self.r#type() {
            ValueType::Scalar => self.scalar.map_or(0.0, |scalar| scalar.value),
            ValueType::Ranges | ValueType::Set | ValueType::Text => 0.0,
        }
    }

    /// In the form with `reservations`; the older form of a reservation is translated.
    #[must_use]
    pub fn refined(&self) -> Self {
        let mut resource = self.clone();
        let reservation = resource.reservation.take();
        let role = resource.role.take();
        if let Some(role) = role.filter(|role| role != EVERYBODY)
            && resource.reservations.is_empty()
        {
            let r#type = match reservation {
                Some(_) => ReservationType::Dynamic,
                None => ReservationType::Static,
            };
            resource.reservations.push(ReservationInfo {
                r#type: Some(r#type as i32),
                role: Some(role),
                ..reservation.map(|reservation| *reservation).unwrap_or_default()
            });
        }
        resource
    }

    /// The same as [`Resource::refined`], without a copy where it has that form.
    pub(super) fn in_new_form(&self) -> Cow<'_, Self> {
        if self.is_in_new_form() { Cow::Borrowed(self) } else { Cow::Owned(self.refined()) }
    }

    pub(super) fn is_in_new_form(&self) -> bool {
        self.role.is_none() && self.reservation.is_none()
    }

    /// In the form that frameworks without `RESERVATION_REFINEMENT` know; `None` if it cannot be said in it.
    #[must_use]
    pub fn older(mut self) -> Option<Self> {
        if self.reservations.len() > 1 {
            return None;
        }
        let Some(mut reservation) = self.reservations.pop() else {
            self.role = Some(EVERYBODY.to_owned());
            return Some(self);
        };
        self.role = reservation.role.take();
        if reservation.r#type.take() == Some(ReservationType::Dynamic as i32) {
            self.reservation = Some(Box::new(reservation));
        }
        Some(self)
    }

    pub(super) fn same_kind(&self, other: &Resource) -> bool {
        self.name == other.name
            && self.r#type == other.r#type
            && self.reservations == other.reservations
            && self.disk == other.disk
            && self.allocation_info == other.allocation_info
            && self.provider_id == other.provider_id
            && self.revocable == other.revocable
            && self.shared == other.shared
    }

    /// Whether `other` can be taken from this: the same kind, and no more than there is (a volume: just as much).
    pub(super) fn covers(&self, other: &Resource) -> bool {
        if !self.same_kind(other) {
            return false;
        }
        match self.r#type() {
            ValueType::Scalar if self.is_persistent_volume() => {
                thousandths(self.amount()) == thousandths(other.amount())
            }
            ValueType::Scalar => thousandths(self.amount()) >= thousandths(other.amount()),
            ValueType::Ranges => self.range_values().includes(&other.range_values()),
            ValueType::Set => other.items().iter().all(|item| self.items().contains(item)),
            ValueType::Text => false,
        }
    }

    pub(super) fn grow(&mut self, other: &Resource) {
        match self.r#type() {
            ValueType::Scalar => {
                let sum = thousandths(self.amount()) + thousandths(other.amount());
                self.scalar = Some(scalar_of(sum));
            }
            ValueType::Ranges => {
                self.ranges = Some(self.range_values().union(&other.range_values()));
            }
            ValueType::Set => {
                let set = self.set.get_or_insert_default();
                for item in other.items() {
                    if !set.item.contains(item) {
                        set.item.push(item.clone());
                    }
                }
            }
            ValueType::Text => {}
        }
    }

    pub(super) fn shrink(&mut self, other: &Resource) {
        match self.r#type() {
            ValueType::Scalar => {
                let rest = thousandths(self.amount()) - thousandths(other.amount());
                self.scalar = Some(scalar_of(rest.max(0)));
            }
            ValueType::Ranges => {
                self.ranges = Some(self.range_values().difference(&other.range_values()));
            }
            ValueType::Set => {
                let set = self.set.get_or_insert_default();
                set.item.retain(|item| !other.items().contains(item));
            }
            ValueType::Text => {}
        }
    }

    /// Whether there is nothing of it. Text is no amount.
    pub(super) fn is_void(&self) -> bool {
        match self.r#type() {
            ValueType::Scalar => thousandths(self.amount()) <= 0,
            ValueType::Ranges => {
                self.ranges.as_ref().is_none_or(|ranges| ranges.range.iter().all(|range| range.begin > range.end))
            }
            ValueType::Set => self.items().is_empty(),
            ValueType::Text => true,
        }
    }

    fn range_values(&self) -> Ranges {
        self.ranges.clone().unwrap_or_default().normalized()
    }

    fn items(&self) -> &[String] {
        let set: Option<&Set> = self.set.as_ref();
        set.map_or(&[], |set| &set.item)
    }
}
