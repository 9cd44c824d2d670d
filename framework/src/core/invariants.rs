//! What must always hold of what the framework knows, looked at as it stands.

use super::Core;
use super::model::{Phase, Task};
use bigdata_common::invariants::Invariants;
use bigdata_common::{ClusterId, Name};
use std::collections::BTreeMap;

/// Sums of decimal fractions differ from what they are sums of.
const ROUNDING: f64 = 1e-6;

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
        let volumes = self.state.volumes.values();
        let lost = volumes.filter(|volume| !self.state.clusters.contains_key(&volume.cluster));
        let lost = lost.filter(|volume| volume.fate == super::model::Fate::Used);
        let lost = lost.map(|volume| (volume.id.clone(), format!("its cluster {} is not known", volume.cluster)));
        found.add("a volume in use belongs to a known cluster", count(self.state.volumes.len()), lost);
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
        found
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
        let mut holders: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for task in self.state.tasks.values() {
            if let Some(pool) = &task.pool {
                holders.entry((pool, &task.address)).or_default().push(task.id.to_string());
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
        let used =
            || self.state.volumes.values().filter(|volume| volume.fate == super::model::Fate::Used && volume.seen);
        let apart = used().filter_map(|volume| {
            let node = self.state.clusters.get(&volume.cluster)?.nodes.get(&volume.node)?;
            let task = self.state.tasks.get(&node.task?)?;
            let detail = || format!("it lies on {}, and its node is on {}", volume.host, task.host);
            (task.agent != volume.agent).then(|| (volume.id.clone(), detail()))
        });
        found.add("a node is where its volumes are", count(used().count()), apart);
    }
}
