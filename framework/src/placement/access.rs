//! How a node is reached on an agent: its ports, and its address or those of its interfaces.

use super::evaluate::{Question, miss};
use super::take::{self, Claim, Ports};
use super::withheld::{self, ROLE};
use super::{Candidate, Leased, Miss, Network, Slot};
use bigdata_common::Name;
use bigdata_common::blueprint::{self, Node};
use indexmap::IndexMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// What a node is refused for whose networks an agent cannot connect it with.
pub(super) const NETWORK: &str = "network";
/// The interface that gives its node the address, where there is one of this name.
const FIRST_INTERFACE: &str = "eth0";

/// Whether the agent makes the node a container with an address in each of its networks.
pub(super) fn is_connected(candidate: &Candidate, node: &Node) -> bool {
    candidate.network == Network::Container && node.docker_image.is_some() && !node.networks.is_empty()
}

/// A node's interfaces, the one that gives it its address first.
fn interfaces(node: &Node) -> Vec<(&Name, &blueprint::Network)> {
    let mut interfaces: Vec<_> = node.networks.iter().collect();
    interfaces.sort_by_key(|(name, _)| (name.as_str() != FIRST_INTERFACE, *name));
    interfaces
}

impl Question<'_> {
    /// Whether there is a pool for each of the node's networks, where it is to be connected with them.
    pub(super) fn check_networks(&self, candidate: &Candidate) -> Result<(), Miss> {
        let node = self.request.node;
        if !is_connected(candidate, node) {
            return Ok(());
        }
        let pools = &self.board.rules.pools;
        let refuse = |words: String| Err(miss(NETWORK, 2.0, format!("agent {} {words}", candidate.host)));
        for (number, (name, network)) in node.networks.iter().enumerate() {
            let wanted = &network.networkname;
            if pools.get(wanted).is_none() {
                return refuse(format!(
                    "gives containers addresses of the networks in the framework's setting networks ({}), and {name} \
                     wants {wanted:?}: set framework.networks.{wanted}, or change the template",
                    pools.names()
                ));
            }
            let mut others = node.networks.iter().take(number);
            if let Some((other, _)) = others.find(|(_, other)| other.networkname == *wanted) {
                return refuse(format!(
                    "connects a container with a network once, and {other} and {name} are both of {wanted:?}"
                ));
            }
        }
        Ok(())
    }

    /// Takes an address of each of the node's networks.
    pub(super) fn take_interfaces(&self, candidate: &Candidate, slot: &mut Slot) -> Result<(), Miss> {
        for (name, network) in interfaces(self.request.node) {
            let leased = self.take_interface(candidate, name, network)?;
            if slot.interfaces.is_empty() {
                slot.pool = Some(leased.scope.clone());
                slot.address = leased.interface.address.to_string();
            }
            slot.interfaces.push(leased);
        }
        Ok(())
    }

    fn take_interface(&self, candidate: &Candidate, name: &Name, network: &blueprint::Network) -> Result<Leased, Miss> {
        let refuse = |words: String| miss("address", 1.0, format!("agent {}: {words}", candidate.host));
        let wanted = &network.networkname;
        let unknown = || refuse(format!("there is no network {wanted}"));
        let (pool, wanted) = (self.board.rules.pools.get(wanted).ok_or_else(unknown)?, wanted.parse::<Name>());
        let wanted = wanted.map_err(|_| unknown())?;
        let scope = pool.scope(wanted.as_str(), &candidate.host);
        let is_free = |address: Ipv4Addr| {
            pool.holds(address) && self.board.is_free(&scope, &address.to_string(), self.cluster, self.request.name)
        };
        let address = match network.address.as_deref() {
            Some(fixed) => match fixed.parse() {
                Ok(address) if is_free(address) => address,
                Ok(address) if pool.holds(address) => {
                    return Err(refuse(format!(
                        "{name} wants {fixed} of the network {wanted}, which another node has"
                    )));
                }
                _ => {
                    let words =
                        format!("{name} wants {fixed}, which is none that nodes may have of the network {wanted}");
                    return Err(refuse(format!("{words} ({})", pool.range())));
                }
            },
            None => {
                let last = self.board.last_address(&scope, self.cluster, self.request.name);
                let last = last.and_then(|address| address.parse().ok()).filter(|address| is_free(*address));
                let found = last.or_else(|| pool.addresses().find(|address| is_free(*address)));
                let none = || refuse(format!("the network {wanted} has no free address in {}", pool.range()));
                found.ok_or_else(none)?
            }
        };
        Ok(Leased { interface: pool.interface(name, &wanted, address), scope })
    }

    pub(super) fn take_ports(&self, candidate: &Candidate, claim: Claim<'_>, slot: &mut Slot) -> Result<(), Miss> {
        let mut offered = Ports::new(&slot.free, claim, candidate.leased_ports.clone());
        let declared = &self.request.node.ports;
        let is_shared = match candidate.network {
            Network::Host => true,
            Network::Container => !is_connected(candidate, self.request.node),
            Network::Loopback { .. } | Network::Pool { .. } | Network::Unknown(_) => false,
        };
        if !is_shared {
            slot.ports = declared.iter().map(|(name, port)| (name.clone(), port.port)).collect();
            slot.agent_ports.extend(offered.first(|_| true));
        } else {
            if let Some(control) = offered.first(|port| declared.values().all(|other| other.port != port)) {
                offered.remove(control);
                slot.agent_ports.push(control);
            }
            slot.ports = choose_ports(candidate, claim, self.request.node, offered)?;
            slot.agent_ports.extend(slot.ports.values().copied());
        }
        let taken = take::ports(Arc::make_mut(&mut slot.free), claim, &slot.agent_ports);
        slot.resources.splice(0..0, taken);
        Ok(())
    }

    pub(super) fn take_address(&self, candidate: &Candidate, slot: &mut Slot) -> Result<(), Miss> {
        let fixed = self.request.node.networks.values().find_map(|network| network.address.as_deref());
        let refuse = |words: String| Err(miss("address", 1.0, format!("agent {} {words}", candidate.host)));
        if let Network::Unknown(text) = &candidate.network {
            return refuse(format!("has an attribute bigdata_net that is not understood: {text:?}"));
        }
        let Some((pool, range)) = candidate.network.pool() else {
            return match fixed {
                Some(address) if address != candidate.address => {
                    refuse(format!("has no pool of addresses, and the node wants {address}"))
                }
                _ => Ok(()),
            };
        };
        let free = |address: &str| self.board.is_free(&pool, address, self.cluster, self.request.name);
        let address = match fixed {
            Some(address) => {
                if !address.parse().is_ok_and(|address| range.holds(address)) {
                    return refuse(format!("has the addresses {range}, and {address} is none that nodes may have"));
                }
                if !free(address) {
                    return refuse(format!("has given the address {address} to another node"));
                }
                address.to_owned()
            }
            None => {
                let last = self.request.last_address.filter(|(last, _)| *last == pool).map(|(_, address)| address);
                let last =
                    last.filter(|address| address.parse().is_ok_and(|address| range.holds(address)) && free(address));
                let found = last
                    .map(str::to_owned)
                    .or_else(|| range.addresses().map(|address| address.to_string()).find(|address| free(address)));
                let Some(address) = found else {
                    return refuse(format!("has no free address in {range}"));
                };
                address
            }
        };
        slot.pool = Some(pool);
        slot.address = address;
        Ok(())
    }
}

/// Ports from the offer: fixed ones have their numbers, others theirs where it is free.
fn choose_ports(
    candidate: &Candidate,
    claim: Claim<'_>,
    node: &Node,
    mut offered: Ports<'_>,
) -> Result<IndexMap<Name, u16>, Miss> {
    let mut chosen: IndexMap<Name, u16> = IndexMap::new();
    for (name, port) in node.ports.iter().filter(|(_, port)| port.fixed) {
        if !offered.remove(port.port) {
            let words = format!("agent {} does not offer port {} ({name}), which is fixed", candidate.host, port.port);
            return Err(port_miss(candidate, claim, Some(port.port), 1.0, words));
        }
        chosen.insert(name.clone(), port.port);
    }
    for (name, port) in node.ports.iter().filter(|(_, port)| !port.fixed) {
        let number = if offered.has(port.port) { Some(port.port) } else { offered.first(|_| true) };
        let Some(number) = number else {
            let words = format!("agent {} offers no port for {name}", candidate.host);
            return Err(port_miss(candidate, claim, None, 0.5, words));
        };
        offered.remove(number);
        chosen.insert(name.clone(), number);
    }
    // In the order of the declaration.
    Ok(node.ports.keys().filter_map(|name| Some((name.clone(), *chosen.get(name)?))).collect())
}

/// A port is not offered, or none is; where others have it reserved, that is the reason.
fn port_miss(candidate: &Candidate, claim: Claim<'_>, wanted: Option<u16>, distance: f64, words: String) -> Miss {
    match withheld::port(&candidate.free, claim, wanted) {
        Some((port, owner)) => miss(ROLE, distance, format!("{words}; port {port} is reserved for {owner}")),
        None => miss("port", distance, words),
    }
}
