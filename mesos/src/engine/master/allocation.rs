//! Offers: who gets to see which free resources.
//!
//! All that is free goes out at once, whenever something becomes free or somebody begins to want it; there is no
//! interval to wait for, as there is in Mesos.

use std::collections::BTreeMap;
use std::time::Duration;

use super::framework::Framework;
use super::{Master, events};
use crate::engine::agent::Agent;
use crate::engine::agent::executor::Executor;
use crate::engine::effects::Effects;
use crate::engine::records::IdentityRecord;
use crate::resources::Resources;
use crate::v1::offer::Url;
use crate::v1::scheduler::Decline;
use crate::v1::{AllocationInfo, CapabilityType, FrameworkId, MachineAddress, Offer, OfferId, Resource};

/// Mesos's `--min_allocatable_resources`: less than both is not worth an offer.
const LEAST_CPUS: f64 = 0.01;
const LEAST_MEM: f64 = 32.0;

/// An offer that is neither used nor declined.
#[derive(Clone, Debug)]
pub(super) struct Outstanding {
    pub(super) framework_id: FrameworkId,
    pub(super) role: String,
    pub(super) resources: Resources,
    rescind_at: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct OfferBook {
    outstanding: BTreeMap<OfferId, Outstanding>,
    prefix: String,
    made: u64,
    /// Whether something has happened that may lead to offers.
    due: bool,
}

impl OfferBook {
    /// Offers' ids are unique over restarts, too.
    pub(super) fn new(identity: &IdentityRecord) -> Self {
        OfferBook {
            outstanding: BTreeMap::new(),
            prefix: format!("{}-{}-O", identity.master_id, identity.starts),
            made: 0,
            due: false,
        }
    }

    pub(super) fn wanted(&mut self) {
        self.due = true;
    }

    pub(super) fn get(&self, id: &OfferId) -> Option<&Outstanding> {
        self.outstanding.get(id)
    }

    /// Takes an offer out; what was offered is the caller's now.
    pub(super) fn take(&mut self, id: &OfferId) -> Option<Outstanding> {
        self.due = true;
        self.outstanding.remove(id)
    }

    /// Takes a framework's offers out and frees what was offered.
    pub(super) fn take_all_of(&mut self, framework_id: &FrameworkId, agent: &mut Agent) {
        self.outstanding.retain(|_, offer| {
            let keep = offer.framework_id != *framework_id;
            if !keep {
                agent.pool.give(&offer.resources);
            }
            keep
        });
        self.due = true;
    }

    fn offered_to(&self, framework_id: &FrameworkId) -> Resources {
        let own = self.outstanding.values().filter(|offer| offer.framework_id == *framework_id);
        let mut sum = Resources::new();
        own.for_each(|offer| sum.add_all(&offer.resources));
        sum
    }

    fn record(&mut self, offer: Outstanding) -> OfferId {
        let id = OfferId::from(format!("{}{}", self.prefix, self.made));
        self.made += 1;
        self.outstanding.insert(id.clone(), offer);
        id
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.outstanding.values().filter_map(|offer| offer.rescind_at).min()
    }
}

impl Master {
    /// Offers what is free to those who want it; who uses least comes first.
    pub(crate) fn allocate(&mut self, agent: &mut Agent, effects: &mut Effects) {
        if !std::mem::take(&mut self.offers.due) {
            return;
        }
        for id in self.by_share(agent) {
            let Some(framework) = self.frameworks.get(&id) else { continue };
            let Some(connection) = framework.connection() else { continue };
            let mut made = Vec::new();
            for role in framework.wanting_roles() {
                let share = share_for(framework, &role, agent.pool.free());
                if !is_worth_an_offer(&share) || framework.refuses(&role, &share) {
                    continue;
                }
                agent.pool.take(&share);
                let timeout = self.config.timing.offer_timeout;
                let offer_id = self.offers.record(Outstanding {
                    framework_id: id.clone(),
                    role: role.clone(),
                    resources: share.clone(),
                    rescind_at: timeout.map(|timeout| effects.after(timeout)),
                });
                made.push((offer_id, role, share));
            }
            if !made.is_empty() {
                let offers = made.into_iter();
                let offers = offers.map(|(offer, role, share)| self.offer(offer, &id, &role, &share, agent));
                let event = events::offers(offers.collect());
                effects.tell_scheduler(connection, event);
            }
        }
    }

    /// The frameworks, from the one with the smallest dominant share to the one with the largest.
    fn by_share(&self, agent: &Agent) -> Vec<FrameworkId> {
        let connected = || self.frameworks.iter().filter(|(_, one)| one.connection().is_some());
        if connected().count() < 2 {
            return connected().map(|(id, _)| id.clone()).collect();
        }
        let total = agent.pool.total();
        let share = |id: &FrameworkId| {
            let mut own = agent.used_by(id);
            own.add_all(&self.offers.offered_to(id));
            let part = |name: &str| match total.scalar(name) {
                0.0 => 0.0,
                whole => own.scalar(name) / whole,
            };
            ["cpus", "mem", "disk"].map(part).into_iter().fold(0.0, f64::max)
        };
        let mut ids: Vec<(f64, FrameworkId)> = connected().map(|(id, _)| (share(id), id.clone())).collect();
        ids.sort_by(|a, b| a.0.total_cmp(&b.0));
        ids.into_iter().map(|(_, id)| id).collect()
    }

    fn offer(&self, id: OfferId, framework_id: &FrameworkId, role: &str, share: &Resources, agent: &Agent) -> Offer {
        let refined = self
            .frameworks
            .get(framework_id)
            .is_some_and(|framework| framework.has(CapabilityType::ReservationRefinement));
        let allocated = share.allocated_to(Some(role)).to_vec().into_iter();
        let resources = allocated.filter_map(|one| if refined { Some(one) } else { one.older() });
        let address = self.config.address;
        let own = |executor: &&Executor| executor.record.framework_id == *framework_id;
        let executors = agent.executors().filter(own);
        Offer {
            id,
            framework_id: framework_id.clone(),
            agent_id: self.config.agent_id.clone(),
            hostname: self.config.hostname.clone(),
            url: Some(Url {
                scheme: "http".to_owned(),
                address: MachineAddress {
                    hostname: Some(self.config.hostname.clone()),
                    ip: Some(address.ip().to_string()),
                    port: i32::from(address.port()),
                },
                path: None,
            }),
            resources: resources.collect(),
            attributes: self.config.attributes.clone(),
            executor_ids: executors.map(|one| one.record.info.executor_id.clone()).collect(),
            unavailability: None,
            allocation_info: Some(AllocationInfo { role: Some(role.to_owned()) }),
        }
    }

    pub(super) fn decline(&mut self, id: &FrameworkId, decline: &Decline, agent: &mut Agent, effects: &mut Effects) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        for offer_id in &decline.offer_ids {
            if self.offers.get(offer_id).is_none_or(|offer| offer.framework_id != *id) {
                continue;
            }
            if let Some(offer) = self.offers.take(offer_id) {
                agent.pool.give(&offer.resources);
                let now = effects.now.elapsed;
                framework.refuse(&offer.role, offer.resources, decline.filters, now);
            }
        }
    }

    pub(super) fn rescind_old_offers(&mut self, agent: &mut Agent, effects: &mut Effects) {
        let old = |offer: &Outstanding| offer.rescind_at.is_some_and(|at| effects.is_past(at));
        let old = self.offers.outstanding.iter().filter(|(_, offer)| old(offer));
        let old: Vec<OfferId> = old.map(|(id, _)| id.clone()).collect();
        for id in old {
            let Some(offer) = self.offers.take(&id) else { continue };
            agent.pool.give(&offer.resources);
            let framework = self.frameworks.get_mut(&offer.framework_id);
            if let Some(connection) = framework.as_ref().and_then(|one| one.connection()) {
                effects.tell_scheduler(connection, events::rescind(id));
            }
            // Others are to have their turn.
            if let Some(framework) = framework {
                framework.refuse(&offer.role, offer.resources, None, effects.now.elapsed);
            }
        }
    }
}

/// What of `free` a framework may be offered for `role`: what is reserved for the role or one above it, and what
/// nobody has reserved.
fn share_for(framework: &Framework, role: &str, free: &Resources) -> Resources {
    let refined = framework.has(CapabilityType::ReservationRefinement);
    free.filter(|resource: &Resource| {
        let reserved_for =
            |owner: &str| role == owner || role.strip_prefix(owner).is_some_and(|rest| rest.starts_with('/'));
        resource.reserved_role().is_none_or(reserved_for) && (refined || resource.reservations.len() <= 1)
    })
}

fn is_worth_an_offer(share: &Resources) -> bool {
    share.cpus() >= LEAST_CPUS || share.mem() >= LEAST_MEM
}
