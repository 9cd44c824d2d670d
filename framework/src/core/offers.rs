//! Offers: what they say of agents, how long they are held, and whether more are asked for.

use super::model::Agent;
use super::output::{Call, Write};
use super::records::AgentNumber;
use super::{Core, Held};
use crate::placement::take::LABEL_REGISTRY;
use bigdata_common::Timestamp;
use bigdata_common::api::explain::Capacity;
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{Attribute, InverseOffer, Offer, Resource};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// While nodes wait, what they cannot use is not offered again for so long.
const REFUSE_WAITING: f64 = 5.0;
/// While launches follow one another, offers are held for so many times the usual time at the most: others want some too.
const BUSY_HOLDS: u64 = 5;
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
        let numbers: Vec<AgentNumber> =
            offers.iter().map(|offer| self.state.agents.number(&offer.agent_id.value)).collect();
        let several = several(&numbers);
        // An agent's total is known once all of its offers are: of those with several the rest waits.
        let mut later = Vec::new();
        for (mut offer, number) in offers.into_iter().zip(numbers) {
            let free = self.hold(&mut offer, number, now);
            self.see_volumes(&offer.agent_id.value, &free);
            self.examine_offer(&offer.hostname, &free);
            if several.contains(&number) {
                later.push((offer, number));
            } else {
                self.see_agent(offer, number, now);
            }
        }
        for (offer, number) in later {
            self.see_agent(offer, number, now);
        }
        self.changed = true;
    }

    /// Holds an offer. What says what is known is not kept twice.
    fn hold(&mut self, offer: &mut Offer, agent: AgentNumber, now: Timestamp) -> Arc<Resources> {
        let free = Resources::from(std::mem::take(&mut offer.resources));
        let known = self.state.agents.at(agent).filter(|known| *known.free == free);
        let free = known.map_or_else(|| Arc::new(free), |known| Arc::clone(&known.free));
        let id = std::mem::take(&mut offer.id);
        self.offers.insert(Held { id, agent, free: Arc::clone(&free), since: now });
        free
    }

    /// The offers of one agent that are held.
    pub(super) fn held_of(&self, agent: &str) -> impl Iterator<Item = &Held> {
        self.state.agents.find(agent).into_iter().flat_map(|number| self.offers.of_agent(number))
    }

    fn see_agent(&mut self, offer: Offer, number: AgentNumber, now: Timestamp) {
        let free = self.offers.free_of(number).unwrap_or_default();
        let used = self.used_on(&offer.agent_id.value);
        let total = Capacity {
            cpus: free.cpus() + used.cpus,
            mem: free.mem() + used.mem,
            disk: free.scalar("disk") + used.disk,
        };
        let (leaving, foreign) = (leaving(&offer, now), self.foreign(&free));
        if let Some(known) = self.state.agents.lend(number)
            && known.fresh
            && known.total == total
            && known.leaving == leaving
            && known.foreign == foreign
            && says_the_same(known, &offer)
        {
            (known.seen_at, known.free) = (now, free);
            return;
        }
        let attributes = attributes(&offer);
        let address = address(&offer).to_owned();
        let known = self.state.agents.at(number);
        let same = known.is_some_and(|agent| {
            agent.host == offer.hostname
                && agent.attributes == attributes
                && agent.total == total
                && agent.address == address
        });
        let agent = Agent {
            id: offer.agent_id.value,
            host: offer.hostname,
            address,
            attributes,
            total,
            seen_at: now,
            fresh: true,
            leaving,
            foreign,
            answered_at: known.and_then(|agent| agent.answered_at),
            free,
        };
        for words in &agent.foreign {
            if known.is_none_or(|known| !known.foreign.contains(words)) {
                tracing::warn!(
                    agent = agent.id,
                    host = agent.host,
                    words,
                    "resources with the labels of others; they are not touched"
                );
            }
        }
        if !same {
            self.persist(Write::Agent(Box::new(agent.clone())));
        }
        self.state.agents.insert(agent);
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
        let role = self.policy.rules.role.as_str();
        let foreign = |entry: &&Resource| {
            let labels = entry.reservations.last().and_then(|reservation| reservation.labels.as_ref());
            entry.reserved_role() == Some(role)
                && entry.is_dynamically_reserved()
                && labels.and_then(|labels| labels.get(LABEL_REGISTRY)) != Some(self.policy.rules.registry.as_str())
        };
        free.iter().filter(foreign).map(ToString::to_string).collect()
    }

    fn see_volumes(&mut self, agent: &str, offered: &Resources) {
        for id in offered.iter().filter_map(Resource::persistence_id) {
            let seen = match self.state.volumes.get_mut(id) {
                Some(volume) if volume.agent == agent && !volume.seen => {
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
        let waiting = !self.seekers.is_empty() || self.waits_for_volumes();
        let hold = self.hold_ms(now);
        let declined = self.offers.remove_oldest_while(|held| !waiting || now.millis_since(held.since) >= hold);
        if !declined.is_empty() {
            for held in &declined {
                self.answered(held.agent, now);
            }
            self.changed |= waiting;
            self.call(Call::Decline {
                offers: declined.into_iter().map(|held| held.id).collect(),
                refuse_seconds: if waiting { REFUSE_WAITING } else { REFUSE_IDLE },
            });
        }
        if self.demand.looked_at.is_none_or(|at| now.millis_since(at) >= LOOK_EVERY_MS) {
            self.look(now);
        }
        let looking = self.demand.look_until.is_some_and(|until| now < until);
        self.settle_demand(waiting, looking, now);
    }

    /// How long an offer is held now. Between two launches in close succession it is of use: declined and asked for again it
    /// would cost the second one an allocation of the master's, and the master one of every agent.
    fn hold_ms(&self, now: Timestamp) -> u64 {
        let hold = self.policy.hold_ms;
        let is_busy = self.demand.placed_at.is_some_and(|at| now.millis_since(at) < hold);
        if is_busy { hold.saturating_mul(BUSY_HOLDS) } else { hold }
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

    pub(super) fn answered(&mut self, agent: AgentNumber, now: Timestamp) {
        if let Some(agent) = self.state.agents.lend(agent) {
            agent.answered_at = Some(now);
        }
    }
}

/// Those that occur more than once.
fn several(numbers: &[AgentNumber]) -> BTreeSet<AgentNumber> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
}

fn attributes(offer: &Offer) -> BTreeMap<String, String> {
    offer.attributes.iter().map(|attribute| (attribute.name.clone(), attribute.value_text())).collect()
}

/// Where the agent is reached.
fn address(offer: &Offer) -> &str {
    let by_url = offer.url.as_ref().and_then(|url| url.address.ip.as_deref());
    by_url.filter(|ip| !ip.is_empty()).unwrap_or(&offer.hostname)
}

/// Whether the offer says of its agent what is known.
fn says_the_same(known: &Agent, offer: &Offer) -> bool {
    known.host == offer.hostname && known.address == address(offer) && has_attributes(known, offer)
}

/// Whether the offer says of its agent's attributes what is known: mostly to be seen without a copy of them.
fn has_attributes(known: &Agent, offer: &Offer) -> bool {
    let has = |attribute: &Attribute, value: &String| match attribute {
        Attribute { text: Some(text), scalar: None, ranges: None, set: None, .. } => text.value == *value,
        other => other.value_text() == *value,
    };
    let is_said = |(name, value): (&String, &String)| {
        let mut named = offer.attributes.iter().filter(|attribute| attribute.name == *name);
        named.next().is_some_and(|attribute| has(attribute, value))
    };
    // One that is said twice has its last value.
    (known.attributes.len() == offer.attributes.len() && known.attributes.iter().all(is_said))
        || known.attributes == attributes(offer)
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
