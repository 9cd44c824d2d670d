//! Takes a node's resources out of what an agent offers.

use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{Labels, Range, Ranges, Resource, Scalar, ValueType};
use std::collections::BTreeSet;

/// Labels on tasks, reservations and volumes.
pub(crate) const LABEL_CLUSTER: &str = "bigdata_cluster";
/// See [`LABEL_CLUSTER`].
pub(crate) const LABEL_NODE: &str = "bigdata_node";
/// See [`LABEL_CLUSTER`].
pub(crate) const LABEL_REGISTRY: &str = "bigdata_registry";

/// Whose reservations may be used: nobody's, and our role's without labels or with those of this node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub role: &'a str,
    pub registry: &'a str,
    pub cluster: &'a str,
    pub node: &'a str,
}

impl Claim<'_> {
    pub(super) fn covers(self, resource: &Resource) -> bool {
        if resource.revocable.is_some() || resource.shared.is_some() {
            return false;
        }
        match resource.reservations.last() {
            None => true,
            Some(reservation) => {
                reservation.role.as_deref() == Some(self.role)
                    && reservation.labels.as_ref().is_none_or(|labels| self.is_ours(labels))
            }
        }
    }

    fn is_ours(self, labels: &Labels) -> bool {
        labels.labels.is_empty()
            || (labels.get(LABEL_REGISTRY) == Some(self.registry)
                && labels.get(LABEL_CLUSTER) == Some(self.cluster)
                && labels.get(LABEL_NODE) == Some(self.node))
    }
}

pub(super) fn thousandths(value: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "amounts are far below 2^53")]
    let whole = (value * 1000.0).round() as i64;
    whole
}

fn part_of(entry: &Resource, thousandths: i64) -> Resource {
    #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53")]
    let value = thousandths as f64 / 1000.0;
    Resource { scalar: Some(Scalar { value }), ..entry.clone() }
}

pub(super) fn has_source(resource: &Resource) -> bool {
    resource.disk.as_ref().is_some_and(|disk| disk.source.is_some())
}

/// How much of `amount` of the scalar `name` is missing.
pub(crate) fn lacking(free: &Resources, claim: Claim<'_>, name: &str, amount: f64) -> Option<f64> {
    let entries = free.iter().filter(|entry| is_usable(entry, claim, name));
    let has: i64 = entries.map(|entry| thousandths(entry.amount())).sum();
    #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53")]
    let lacks = (thousandths(amount) - has) as f64 / 1000.0;
    (lacks > 0.0).then_some(lacks)
}

fn is_usable(entry: &Resource, claim: Claim<'_>, name: &str) -> bool {
    is_plain(entry, name) && claim.covers(entry)
}

/// Whether this is an amount of the scalar `name`, which of a disk is neither a volume nor a whole one.
pub(super) fn is_plain(entry: &Resource, name: &str) -> bool {
    entry.name == name && !entry.is_persistent_volume() && !has_source(entry)
}

/// Takes `amount` of the scalar `name`, what is reserved for us first.
///
/// # Errors
/// How much is missing; then nothing was taken.
pub(crate) fn scalar(free: &mut Resources, claim: Claim<'_>, name: &str, amount: f64) -> Result<Vec<Resource>, f64> {
    let mut entries: Vec<&Resource> = free.iter().filter(|entry| is_usable(entry, claim, name)).collect();
    entries.sort_by_key(|entry| entry.reserved_role().is_none());
    let mut wanted = thousandths(amount);
    let mut parts = Vec::new();
    for entry in entries {
        let part = thousandths(entry.amount()).min(wanted);
        if part > 0 {
            parts.push(part_of(entry, part));
            wanted -= part;
        }
    }
    if wanted > 0 {
        return Err(part_of(&Resource::scalar(name, 0.0), wanted).amount());
    }
    free.subtract_present(&parts);
    Ok(parts)
}

/// Takes `amount` of the scalar `name` from one entry, as a volume needs it: what is reserved for us first.
///
/// # Errors
/// How much the largest entry lacks; then nothing was taken.
pub(crate) fn piece(free: &mut Resources, claim: Claim<'_>, name: &str, amount: f64) -> Result<Resource, f64> {
    let mut entries: Vec<&Resource> = free.iter().filter(|entry| is_usable(entry, claim, name)).collect();
    entries.sort_by_key(|entry| entry.reserved_role().is_none());
    let wanted = thousandths(amount);
    match entries.iter().find(|entry| thousandths(entry.amount()) >= wanted) {
        Some(entry) => {
            let piece = part_of(entry, wanted);
            free.subtract_present([&piece]);
            Ok(piece)
        }
        None => {
            let most = entries.iter().map(|entry| thousandths(entry.amount())).max().unwrap_or(0);
            Err(part_of(&Resource::scalar(name, 0.0), wanted - most).amount())
        }
    }
}

/// Takes a whole disk of at least `size` MiB, the smallest that suffices.
pub(crate) fn whole_disk(free: &mut Resources, claim: Claim<'_>, size: f64) -> Option<Resource> {
    let disks = free.iter().filter(|entry| is_whole(entry, size) && claim.covers(entry));
    let disk = disks.min_by(|left, right| left.amount().total_cmp(&right.amount()))?.clone();
    free.subtract_present([&disk]);
    Some(disk)
}

/// Whether this is a whole disk of at least `size` MiB that is no volume.
pub(super) fn is_whole(entry: &Resource, size: f64) -> bool {
    const MOUNT: i32 = 2;
    let source = entry.disk.as_ref().and_then(|disk| disk.source.as_ref());
    entry.name == "disk"
        && !entry.is_persistent_volume()
        && source.is_some_and(|source| source.r#type == MOUNT)
        && entry.amount() >= size
}

/// Takes the persistent volume with this id.
pub(crate) fn volume(free: &mut Resources, id: &str) -> Option<Resource> {
    let volume = free.iter().find(|entry| entry.persistence_id() == Some(id))?.clone();
    free.subtract_present([&volume]);
    Some(volume)
}

/// The ports of an offer that may be used, less those that were taken.
#[derive(Debug)]
pub(crate) struct Ports<'a> {
    ranges: Vec<&'a Range>,
    taken: BTreeSet<u16>,
}

impl<'a> Ports<'a> {
    /// Those of `free` that are not in `taken`.
    pub(crate) fn new(free: &'a Resources, claim: Claim<'_>, taken: BTreeSet<u16>) -> Self {
        let entries = free.iter().filter(|entry| is_ports(entry) && claim.covers(entry));
        Self {
            ranges: entries.filter_map(|entry| entry.ranges.as_ref()).flat_map(|ranges| &ranges.range).collect(),
            taken,
        }
    }

    pub(crate) fn has(&self, port: u16) -> bool {
        let number = u64::from(port);
        !self.taken.contains(&port) && self.ranges.iter().any(|range| (range.begin..=range.end).contains(&number))
    }

    /// The lowest that `is_wanted` holds for.
    pub(crate) fn first(&self, is_wanted: impl Fn(u16) -> bool) -> Option<u16> {
        let lowest = |range: &&Range| {
            let mut numbers = (range.begin..=range.end).map_while(|number| u16::try_from(number).ok());
            numbers.find(|port| !self.taken.contains(port) && is_wanted(*port))
        };
        self.ranges.iter().filter_map(lowest).min()
    }

    /// Takes one out; false where it is not there.
    pub(crate) fn remove(&mut self, port: u16) -> bool {
        self.has(port) && self.taken.insert(port)
    }
}

pub(super) fn is_ports(entry: &Resource) -> bool {
    entry.name == "ports" && entry.r#type() == ValueType::Ranges
}

/// Takes these ports, which were offered: an entry of its own for each, in their order.
pub(crate) fn ports(free: &mut Resources, claim: Claim<'_>, wanted: &[u16]) -> Vec<Resource> {
    let mut taken = Vec::new();
    for port in wanted {
        let single = Ranges { range: vec![Range { begin: u64::from(*port), end: u64::from(*port) }] };
        let holds = |entry: &&Resource| entry.ranges.as_ref().is_some_and(|ranges| ranges.includes(&single));
        let entry = free.iter().filter(|entry| is_ports(entry) && claim.covers(entry)).find(holds);
        if let Some(entry) = entry {
            let part = Resource { ranges: Some(single.clone()), ..entry.clone() };
            free.subtract_present([&part]);
            taken.push(part);
        }
    }
    taken
}
