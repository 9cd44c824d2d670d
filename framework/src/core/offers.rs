//! Offers: what they say of agents, how long they are held, and whether more are asked for.

use super::model::Agent;
use super::output::{Call, Write};
use super::{Core, Held};
use crate::placement::take::LABEL_REGISTRY;
use bigdata_common::Timestamp;
use bigdata_common::api::explain::Capacity;
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{InverseOffer, Offer, OfferId};
use std::collections::BTreeMap;

/// While nodes wait, what they cannot use is not offered again for so long.
const REFUSE_WAITING: f64 = 5.0;
/// While none waits; REVIVE ends it.
const REFUSE_IDLE: f64 = 3600.0;
/// REVIVE is sent at most this often, but for new nodes.
const REVIVE_EVERY_MS: u64 = 200;
/// How long offers are let come, so that the agents are seen.
const LOOK_MS: i64 = 3_000;
/// How often the agents are looked at while nothing waits.
const LOOK_EVERY_MS: u64 = 60_000;

impl Core {
    pub(super) fn offered(&mut self, offers: Vec<Offer>, now: Timestamp) {
        if !self.is_subscribed() {
            return;
        }
        let agents: Vec<Offer> = offers.clone();
        for offer in offers {
            self.offers.insert(offer.id.value.clone(), Held { offer, since: now });
        }
        for offer in agents {
            self.see_agent(&offer, now);
            self.see_volumes(&offer);
            self.examine_offer(&offer);
        }
        self.changed = true;
    }

    /// The offers of one agent that are held.
    pub(super) fn held_of<'a>(&'a self, agent: &'a str) -> impl Iterator<Item = &'a Held> {
        self.offers.of_agent(agent)
    }

    fn see_agent(&mut self, offer: &Offer, now: Timestamp) {
        let id = offer.agent_id.value.clone();
        let mut free = Resources::new();
        for held in self.held_of(&id) {
            free.add_all(&held.offer.resources);
        }
        let used = self.used_on(&id);
        let total = Capacity {
            cpus: free.cpus() + used.cpus,
            mem: free.mem() + used.mem,
            disk: free.scalar("disk") + used.disk,
        };
        let attributes: BTreeMap<String, String> =
            offer.attributes.iter().map(|attribute| (attribute.name.clone(), attribute.value_text())).collect();
        let by_url = offer.url.as_ref().and_then(|url| url.address.ip.clone());
        let address = by_url.filter(|ip| !ip.is_empty()).unwrap_or_else(|| offer.hostname.clone());
        let known = self.state.agents.get(&id);
        let same = known.is_some_and(|agent| {
            agent.host == offer.hostname
                && agent.attributes == attributes
                && agent.total == total
                && agent.address == address
        });
        let agent = Agent {
            id: id.clone(),
            host: offer.hostname.clone(),
            address,
            attributes,
            total,
            seen_at: now,
            fresh: true,
            leaving: leaving(offer, now),
            foreign: self.foreign(&free),
            answered_at: known.and_then(|agent| agent.answered_at),
            free,
        };
        for words in &agent.foreign {
            if known.is_none_or(|known| !known.foreign.contains(words)) {
                tracing::warn!(
                    agent = id,
                    host = agent.host,
                    words,
                    "resources with the labels of others; they are not touched"
                );
            }
        }
        if !same {
            self.persist(Write::Agent(Box::new(agent.clone())));
        }
        self.state.agents.insert(id, agent);
    }

    /// What our tasks have of an agent, their executors included.
    pub(crate) fn used_on(&self, agent: &str) -> Capacity {
        let mut sum = Capacity::default();
        for task in self.state.tasks.of_agent(agent) {
            sum.cpus += task.used.cpus;
            sum.mem += task.used.mem;
            sum.disk += task.used.disk;
        }
        sum
    }

    /// What is reserved for our role under another label than ours.
    fn foreign(&self, free: &Resources) -> Vec<String> {
        let reserved = free.reserved_for(&self.policy.rules.role);
        let foreign = |entry: &&bigdata_mesos::v1::Resource| {
            let labels = entry.reservations.last().and_then(|reservation| reservation.labels.as_ref());
            entry.is_dynamically_reserved()
                && labels.and_then(|labels| labels.get(LABEL_REGISTRY)) != Some(self.policy.rules.registry.as_str())
        };
        reserved.iter().filter(foreign).map(ToString::to_string).collect()
    }

    fn see_volumes(&mut self, offer: &Offer) {
        for id in offer.resources.iter().filter_map(|entry| entry.persistence_id()) {
            let seen = match self.state.volumes.get_mut(id) {
                Some(volume) if volume.agent == offer.agent_id.value && !volume.seen => {
                    volume.seen = true;
                    Some(volume.clone())
                }
                _ => None,
            };
            if let Some(volume) = seen {
                self.persist(Write::Volume(Box::new(volume)));
            }
        }
    }

    /// Agents that are to be away: whoever has nodes there cannot give them up.
    pub(super) fn asked_back(&mut self, offers: Vec<InverseOffer>) {
        let (mut agreed, mut refused) = (Vec::new(), Vec::new());
        for offer in offers {
            let agent = offer.agent_id.as_ref().map(|id| id.value.as_str());
            let used = self.state.tasks.values().any(|task| agent.is_none_or(|agent| agent == task.agent));
            if used { refused.push(offer.id) } else { agreed.push(offer.id) }
        }
        if !agreed.is_empty() {
            self.call(Call::AcceptInverse(agreed));
        }
        if !refused.is_empty() {
            self.call(Call::DeclineInverse(refused));
        }
    }

    /// Lets offers come for a while, so that agents are seen as they are now.
    pub(super) fn look(&mut self, now: Timestamp) {
        self.demand.revive = true;
        self.demand.looked_at = Some(now);
        self.demand.look_until = Some(now.plus_millis(LOOK_MS));
    }

    /// Declines what is of no use, and tells the master whether offers are wanted.
    pub(super) fn settle_offers(&mut self, now: Timestamp) {
        if !self.is_subscribed() {
            return;
        }
        let waiting = !self.demand.due.is_empty() || self.waits_for_volumes();
        let hold = self.policy.hold_ms;
        let useless = |held: &&Held| !waiting || now.millis_since(held.since) >= hold;
        let declined: Vec<OfferId> =
            self.offers.by_age().take_while(useless).map(|held| held.offer.id.clone()).collect();
        if !declined.is_empty() {
            for offer in &declined {
                if let Some(held) = self.offers.remove(offer.as_str()) {
                    self.answered(held.offer.agent_id.as_str(), now);
                }
            }
            self.changed |= waiting;
            self.call(Call::Decline {
                offers: declined,
                refuse_seconds: if waiting { REFUSE_WAITING } else { REFUSE_IDLE },
            });
        }
        if self.demand.looked_at.is_none_or(|at| now.millis_since(at) >= LOOK_EVERY_MS) {
            self.look(now);
        }
        let looking = self.demand.look_until.is_some_and(|until| now < until);
        self.settle_demand(waiting, looking, now);
    }

    fn settle_demand(&mut self, waiting: bool, looking: bool, now: Timestamp) {
        let wanted = waiting || looking;
        let may_revive = self.demand.revived_at.is_none_or(|at| now.millis_since(at) >= REVIVE_EVERY_MS);
        if wanted && (self.demand.suppressed || self.demand.revive) && may_revive {
            self.demand.suppressed = false;
            self.demand.revive = false;
            self.demand.revived_at = Some(now);
            self.call(Call::Revive);
        }
        if !wanted && !self.demand.suppressed {
            self.demand.suppressed = true;
            self.call(Call::Suppress);
        }
    }

    pub(super) fn answered(&mut self, agent: &str, now: Timestamp) {
        if let Some(agent) = self.state.agents.get_mut(agent) {
            agent.answered_at = Some(now);
        }
    }
}

/// When an agent is to be away soon, or is, in words.
fn leaving(offer: &Offer, now: Timestamp) -> Option<String> {
    const SOON_MS: i64 = 3_600_000;
    let away = offer.unavailability.as_ref()?;
    let start = Timestamp::from_millis(away.start.nanoseconds / 1_000_000);
    let end = away
        .duration
        .map(|duration| start.plus_millis(i64::try_from(duration.duration().as_millis()).unwrap_or(i64::MAX)));
    let near = start <= now.plus_millis(SOON_MS) && end.is_none_or(|end| end > now);
    near.then(|| format!("from {start}"))
}
