//! What an agent offers that is reserved for others: Mesos offers what is reserved for a role to every framework of that
//! role and of the roles below it, whatever the reservation's labels say.

use super::take::{Claim, LABEL_REGISTRY, is_ports, thousandths};
use super::words::amount;
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{Labels, Resource};
use std::collections::BTreeMap;

/// Why a node is refused that what is reserved for others would have sufficed for.
pub(super) const ROLE: &str = "role";

/// For whom a resource is reserved that the claim does not cover, in words.
fn owner(claim: Claim<'_>, resource: &Resource) -> Option<String> {
    let reservation = resource.reservations.last().filter(|_| !claim.covers(resource))?;
    let role = reservation.role.as_deref().unwrap_or_default();
    if role != claim.role {
        return Some(format!("the role {role}"));
    }
    let labels = reservation.labels.as_ref()?;
    Some(match labels.get(LABEL_REGISTRY) {
        Some(registry) if registry == claim.registry => "another node".to_owned(),
        Some(registry) => format!("the registry {registry}"),
        None => format!("others, with the labels {}", in_words(labels)),
    })
}

fn in_words(labels: &Labels) -> String {
    let word = |label: &bigdata_mesos::v1::Label| match &label.value {
        Some(value) => format!("{}={value}", label.key),
        None => label.key.clone(),
    };
    labels.labels.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Whether anything is.
pub(super) fn is_any(free: &Resources, claim: Claim<'_>) -> bool {
    free.iter().any(|entry| !entry.reservations.is_empty() && owner(claim, entry).is_some())
}

/// How much of the scalars that `is_wanted` holds for is reserved for others, and for whom (`4 for the role batch`), where
/// that is as much as is lacking.
pub(super) fn scalar(
    free: &Resources,
    claim: Claim<'_>,
    lacks: f64,
    is_wanted: impl Fn(&Resource) -> bool,
) -> Option<String> {
    let mut owners: BTreeMap<String, f64> = BTreeMap::new();
    for entry in free.iter().filter(|entry| is_wanted(entry)) {
        if let Some(owner) = owner(claim, entry) {
            *owners.entry(owner).or_default() += entry.amount();
        }
    }
    if owners.is_empty() || thousandths(owners.values().sum()) < thousandths(lacks) {
        return None;
    }
    let words = owners.iter().map(|(owner, has)| format!("{} for {owner}", amount(*has)));
    Some(words.collect::<Vec<_>>().join(" and "))
}

/// For whom a port is reserved, or any: then the lowest, and for whom.
pub(super) fn port(free: &Resources, claim: Claim<'_>, wanted: Option<u16>) -> Option<(u64, String)> {
    let held = |entry: &Resource| {
        let mut ranges = entry.ranges.iter().flat_map(|ranges| &ranges.range);
        let port = match wanted.map(u64::from) {
            Some(port) => ranges.any(|range| (range.begin..=range.end).contains(&port)).then_some(port),
            None => ranges.map(|range| range.begin).min(),
        };
        Some((port?, owner(claim, entry)?))
    };
    free.iter().filter(|entry| is_ports(entry)).filter_map(held).min()
}
