//! What must always hold of what the framework knows, looked at as it stands.

use super::Core;
use super::model::{Fate, Phase, Task, Volume};
use crate::placement::take::{LABEL_CLUSTER, LABEL_REGISTRY};
use bigdata_common::invariants::Invariants;
use bigdata_common::{ClusterId, Name};
use bigdata_mesos::v1::Resource;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Sums of decimal fractions differ from what they are sums of.
const ROUNDING: f64 = 1e-6;

fn label_of<'a>(entry: &'a Resource, key: &str) -> Option<&'a str> {
    entry.reservations.last()?.labels.as_ref()?.get(key)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Core {
    /// Holds the framework's invariants against what it knows.
    pub(crate) fn invariants(&self) -> Invariants {
        let mut found = Invariants::default();
        let tasks = &self.state.tasks;
        let live = || tasks.values().filter(|task| task.is_current());
        let mut by_node: BTreeMap<(&ClusterId, &Name), Vec<&Task>> = BTreeMap::new();
        for task in live() {
            by_node.entry((&task.cluster, &task.node)).or_default().push(task);
        }
        let twins = by_node.iter().filter(|(_, tasks)| tasks.len() > 1);
        let twins = twins.map(|((cluster, node), tasks)| {
            let ids: Vec<String> = tasks.iter().map(|task| task.id.to_string()).collect();
            (format!("{cluster}/{node}"), format!("attempts {} are not confirmed to have ended", ids.join(", ")))
        });
        found.add("a node has at most one live attempt", count(by_node.len()), twins);
        let homeless = live().filter_map(|task| Some((task.id.to_string(), self.why_homeless(task)?)));
        found.add(
            "a live attempt belongs to a node of a cluster that is not released",
            count(live().count()),
            homeless,
        );
        let outliving = || tasks.values().filter(|task| !task.is_current() && self.is_released(&task.cluster));
        let unlisted = outliving().filter(|task| !task.forgotten);
        let unlisted = unlisted.map(|task| (task.id.to_string(), format!("{} was released without it", task.cluster)));
        found.add("an attempt that outlives its cluster is listed", count(outliving().count()), unlisted);
        self.check_outliving_volumes(&mut found);
        self.check_reservations(&mut found);
        let seen = || self.state.agents.values().filter(|agent| agent.fresh);
        let over = seen().filter_map(|agent| {
            let (used, total) = (self.used_on(&agent.id), agent.total);
            let more = |used: f64, total: f64| used > total + ROUNDING;
            let is_over = more(used.cpus, total.cpus) || more(used.mem, total.mem) || more(used.disk, total.disk);
            is_over.then(|| (agent.id.clone(), format!("its nodes use {used:?}, and it has {total:?}")))
        });
        found.add("nodes use no more of an agent than it has", count(seen().count()), over);
        self.check_addresses(&mut found);
        self.check_ports(&mut found);
        self.check_uids(&mut found);
        self.check_volumes(&mut found);
        self.check_departures(&mut found);
        found
    }

    /// A released cluster's volumes stand in what it told that it left, with what becomes of each; but for those that were lost
    /// before.
    fn check_outliving_volumes(&self, found: &mut Invariants) {
        let outlives = |volume: &&Volume| volume.lost_at.is_none() && self.is_released(&volume.cluster);
        let outliving = || self.state.volumes.values().filter(outlives);
        let unlisted = outliving().filter_map(|volume| {
            let told = self.state.clusters.get(&volume.cluster).is_none_or(|cluster| match &cluster.phase {
                Phase::Released { leftovers, .. } => leftovers.iter().any(|words| words.contains(&volume.id)),
                Phase::Active | Phase::Releasing { .. } => true,
            });
            let cluster = &volume.cluster;
            match volume.fate {
                Fate::Used => {
                    Some((volume.id.clone(), format!("its cluster {cluster} was released, and nobody sees to it")))
                }
                Fate::Doomed | Fate::Kept if told => None,
                Fate::Doomed | Fate::Kept => {
                    Some((volume.id.clone(), format!("{cluster} did not tell that it left it")))
                }
            }
        });
        found.add("a volume that outlives its cluster is listed, and seen to", count(outliving().count()), unlisted);
    }

    /// What agents offer of our reservations is disk of a cluster that is known, or a volume that lies there by the records:
    /// else it is an orphan.
    fn check_reservations(&self, found: &mut Invariants) {
        let own = self.policy.rules.registry.as_str();
        let role = &self.policy.rules.role;
        let offered: Vec<(&str, Resource)> = self
            .state
            .agents
            .values()
            .flat_map(|agent| {
                agent.free.reserved_for(role).to_vec().into_iter().map(|entry| (agent.id.as_str(), entry))
            })
            .filter(|(_, entry)| label_of(entry, LABEL_REGISTRY) == Some(own))
            .collect();
        let orphans = self.orphans();
        let is_listed = |agent: &str, entry: &Resource| {
            orphans.iter().any(|orphan| orphan.agent.as_deref() == Some(agent) && orphan.id == entry.to_string())
        };
        let belongs = |agent: &str, entry: &Resource| match entry.persistence_id() {
            Some(id) => self.state.volumes.get(id).is_some_and(|volume| volume.agent == agent),
            None => label_of(entry, LABEL_CLUSTER)
                .and_then(|cluster| cluster.parse::<ClusterId>().ok())
                .is_some_and(|id| self.state.clusters.contains_key(&id)),
        };
        let lost = offered.iter().filter(|(agent, entry)| !belongs(agent, entry) && !is_listed(agent, entry));
        let lost = lost.map(|(agent, entry)| (format!("{entry} on {agent}"), "nobody's, and not listed".to_owned()));
        found.add("a reservation belongs to a cluster or is an orphan", count(offered.len()), lost);
    }

    pub(super) fn is_released(&self, id: &ClusterId) -> bool {
        self.state.clusters.get(id).is_none_or(|cluster| matches!(cluster.phase, Phase::Released { .. }))
    }

    fn why_homeless(&self, task: &Task) -> Option<String> {
        let Some(cluster) = self.state.clusters.get(&task.cluster) else {
            return Some(format!("its cluster {} is not known", task.cluster));
        };
        if matches!(cluster.phase, Phase::Released { .. }) {
            return Some(format!("its cluster {} was released", task.cluster));
        }
        let named = cluster.nodes.get(&task.node).and_then(|node| node.task);
        (named != Some(task.id)).then(|| format!("its node {} names {named:?} as its attempt", task.node))
    }

    fn check_addresses(&self, found: &mut Invariants) {
        let mut holders: BTreeMap<(&str, Cow<'_, str>), Vec<String>> = BTreeMap::new();
        for task in self.state.tasks.values() {
            for lease in task.leases() {
                holders.entry(lease).or_default().push(task.id.to_string());
            }
        }
        let shared = holders.iter().filter(|(_, tasks)| tasks.len() > 1);
        let shared = shared.map(|((pool, address), tasks)| {
            (format!("{address} of {pool}"), format!("leased to {}", tasks.join(", ")))
        });
        found.add("an address is leased to one attempt", count(holders.len()), shared);
    }

    fn check_ports(&self, found: &mut Invariants) {
        let mut holders: BTreeMap<(&str, u16), Vec<String>> = BTreeMap::new();
        for task in self.state.tasks.values() {
            for port in &task.agent_ports {
                holders.entry((&task.agent, *port)).or_default().push(task.id.to_string());
            }
        }
        let shared = holders.iter().filter(|(_, tasks)| tasks.len() > 1);
        let shared = shared.map(|((agent, port), tasks)| {
            (format!("port {port} of {agent}"), format!("leased to {}", tasks.join(", ")))
        });
        found.add("a port of an agent is leased to one attempt", count(holders.len()), shared);
    }

    /// A uid is one cluster's on a machine by the form of the records; here, that attempts have their own cluster's.
    fn check_uids(&self, found: &mut Invariants) {
        let with_uid = || {
            self.state.tasks.values().filter_map(|task| {
                let machine = self.state.agents.get(&task.agent)?.machine();
                Some((task, machine.clone(), self.state.uids.get(&(machine, task.uid?))))
            })
        };
        let wrong = with_uid().filter(|(task, _, owner)| *owner != Some(&task.cluster));
        let wrong = wrong.map(|(task, machine, owner)| {
            let detail = format!("its uid {:?} on {machine} is leased to {owner:?}, not to {}", task.uid, task.cluster);
            (task.id.to_string(), detail)
        });
        found.add("an attempt has its cluster's uid", count(with_uid().count()), wrong);
    }

    fn check_volumes(&self, found: &mut Invariants) {
        let used = || self.state.volumes.values().filter(|volume| volume.fate == Fate::Used && volume.seen);
        let apart = used().filter_map(|volume| {
            let node = self.state.clusters.get(&volume.cluster)?.nodes.get(&volume.node)?;
            let task = self.state.tasks.get(&node.task?)?;
            let detail = || format!("it lies on {}, and its node is on {}", volume.host, task.host);
            (task.agent != volume.agent).then(|| (volume.id.clone(), detail()))
        });
        found.add("a node is where its volumes are", count(used().count()), apart);
    }
}
