//! What can be done with resources: making them, asking them, adding and subtracting them.
//!
//! Scalars are added as Mesos does it, as whole thousandths. Two resources are of one kind if they agree in everything
//! but their amount; only those add up. A persistent volume is always an entry of its own.

mod entry;
mod ranges;
mod text;

use crate::v1::{Ranges, Resource, ValueType};
use std::borrow::Cow;

/// A bag of resources, with at most one entry per kind. Unit of `mem` and `disk`: MiB.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    entries: Vec<Resource>,
}

/// Resources that were asked for and are not there.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{missing} is not in {available}")]
pub struct Insufficient {
    missing: String,
    available: String,
}

impl Resources {
    /// No resources.
    #[must_use]
    pub fn new() -> Self {
        Resources::default()
    }

    /// The entries.
    pub fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.entries.iter()
    }

    /// The entries as the protocol carries them.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Resource> {
        self.entries.clone()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds one resource.
    pub fn add(&mut self, resource: &Resource) {
        self.put(resource.in_new_form());
    }

    fn put(&mut self, resource: Cow<'_, Resource>) {
        if resource.is_void() {
            return;
        }
        let mergeable = !resource.is_persistent_volume();
        let mut entries = self.entries.iter_mut();
        match entries.find(|entry| mergeable && entry.same_kind(&resource)) {
            Some(entry) => entry.grow(&resource),
            None => self.entries.push(resource.into_owned()),
        }
    }

    /// Adds several.
    pub fn add_all<'r>(&mut self, resources: impl IntoIterator<Item = &'r Resource>) {
        for resource in resources {
            self.add(resource);
        }
    }

    /// Takes all of `resources` away, or nothing.
    ///
    /// # Errors
    /// [`Insufficient`] names the first that is not there in full.
    pub fn subtract_all<'r>(&mut self, resources: impl IntoIterator<Item = &'r Resource>) -> Result<(), Insufficient> {
        let mut rest = self.clone();
        for resource in resources {
            if !rest.take(resource) {
                return Err(Insufficient { missing: resource.to_string(), available: self.to_string() });
            }
        }
        *self = rest;
        Ok(())
    }

    /// Takes away what there is of `resources`, and ignores what is missing.
    pub fn subtract_present<'r>(&mut self, resources: impl IntoIterator<Item = &'r Resource>) {
        for resource in resources {
            let resource = resource.in_new_form();
            let mut entries = self.entries.iter_mut();
            if let Some(entry) = entries.find(|entry| entry.same_kind(&resource)) {
                entry.shrink(&resource);
            }
        }
        self.entries.retain(|entry| !entry.is_void());
    }

    /// Whether all of `resources` are here at once.
    #[must_use]
    pub fn contains<'r>(&self, resources: impl IntoIterator<Item = &'r Resource>) -> bool {
        self.clone().subtract_all(resources).is_ok()
    }

    fn take(&mut self, resource: &Resource) -> bool {
        let resource = resource.in_new_form();
        if resource.is_void() {
            return true;
        }
        let found = self.entries.iter().position(|entry| entry.covers(&resource));
        if let Some(index) = found {
            self.entries[index].shrink(&resource);
            if self.entries[index].is_void() {
                self.entries.remove(index);
            }
        }
        found.is_some()
    }

    /// The entries that `predicate` holds for.
    #[must_use]
    pub fn filter(&self, predicate: impl Fn(&Resource) -> bool) -> Resources {
        let kept = self.entries.iter().filter(|entry| predicate(entry));
        Resources { entries: kept.cloned().collect() }
    }

    /// What nobody has reserved.
    #[must_use]
    pub fn unreserved(&self) -> Resources {
        self.filter(|entry| entry.reserved_role().is_none())
    }

    /// What is reserved for exactly `role`.
    #[must_use]
    pub fn reserved_for(&self, role: &str) -> Resources {
        self.filter(|entry| entry.reserved_role() == Some(role))
    }

    /// The persistent volumes.
    #[must_use]
    pub fn persistent_volumes(&self) -> Resources {
        self.filter(Resource::is_persistent_volume)
    }

    /// The sum of the scalars named `name`, whoever reserved them.
    #[must_use]
    pub fn scalar(&self, name: &str) -> f64 {
        let named = self.entries.iter().filter(|entry| entry.name == name);
        named.map(Resource::amount).sum()
    }

    /// CPUs, persistent volumes aside.
    #[must_use]
    pub fn cpus(&self) -> f64 {
        self.scalar("cpus")
    }

    /// Memory in MiB.
    #[must_use]
    pub fn mem(&self) -> f64 {
        self.scalar("mem")
    }

    /// Disk in MiB that is not a persistent volume.
    #[must_use]
    pub fn disk(&self) -> f64 {
        self.filter(|entry| !entry.is_persistent_volume()).scalar("disk")
    }

    /// The ports, whoever reserved them.
    #[must_use]
    pub fn ports(&self) -> Ranges {
        let ports = self.entries.iter().filter(|entry| entry.name == "ports" && entry.r#type() == ValueType::Ranges);
        let none = Ranges::default();
        ports.fold(Ranges::default(), |sum, entry| sum.union(entry.ranges.as_ref().unwrap_or(&none)))
    }

    /// The same, allocated to `role`, or (`None`) without a word on whom they are allocated to.
    #[must_use]
    pub fn allocated_to(&self, role: Option<&str>) -> Resources {
        self.iter().map(|entry| entry.clone().allocated_to(role)).collect()
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut sum = Resources::new();
        for resource in resources {
            sum.put(if resource.is_in_new_form() { Cow::Owned(resource) } else { Cow::Owned(resource.refined()) });
        }
        sum
    }
}

impl From<Vec<Resource>> for Resources {
    /// The sum of what an offer carries, which seldom has two entries of a kind: then they stay where they are.
    fn from(resources: Vec<Resource>) -> Self {
        let is_alone = |(index, resource): (usize, &Resource)| {
            let is_sum = || !resources[..index].iter().any(|other| other.same_kind(resource));
            resource.is_in_new_form() && !resource.is_void() && (resource.is_persistent_volume() || is_sum())
        };
        if resources.iter().enumerate().all(is_alone) {
            Resources { entries: resources }
        } else {
            resources.into_iter().collect()
        }
    }
}

impl<'r> FromIterator<&'r Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = &'r Resource>>(resources: I) -> Self {
        let mut sum = Resources::new();
        sum.add_all(resources);
        sum
    }
}

impl From<&[Resource]> for Resources {
    fn from(resources: &[Resource]) -> Self {
        resources.iter().collect()
    }
}

impl<'r> IntoIterator for &'r Resources {
    type Item = &'r Resource;
    type IntoIter = std::slice::Iter<'r, Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests;
