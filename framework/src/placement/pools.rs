//! The networks of containers, as an operator has set them: their addresses, and what carries them. Pure.

use super::network::Range;
use crate::settings::NetworkPool;
use bigdata_common::Name;
use bigdata_common::internal::Interface;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Blocks of addresses with more bits than this in common hold no node.
const PREFIX_MAX: u32 = 30;
/// The longest name of a network device, as the kernel has it.
const DEVICE_NAME_MAX: usize = 15;

/// The pools by name. They do not overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pools(BTreeMap<Name, Pool>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    subnet: Range,
    range: Range,
    gateway: Option<Ipv4Addr>,
    bridge: Option<String>,
}

/// An interface whose address is leased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leased {
    /// What the address is unique in.
    pub scope: String,
    #[serde(flatten)]
    pub interface: Interface,
}

impl Pools {
    /// The pools of the settings.
    ///
    /// # Errors
    /// Which setting is wrong, and why.
    pub(crate) fn new(settings: &BTreeMap<Name, NetworkPool>) -> Result<Self, String> {
        let mut pools: BTreeMap<Name, Pool> = BTreeMap::new();
        for (name, settings) in settings {
            let pool = Pool::new(settings).map_err(|(key, why)| format!("networks.{name}.{key} {why}"))?;
            if let Some((other, _)) = pools.iter().find(|(_, other)| other.subnet.overlaps(pool.subnet)) {
                return Err(format!("networks.{name}.subnet overlaps that of networks.{other}"));
            }
            let is_shared = |other: &Pool| other.bridge.is_some() && other.bridge == pool.bridge;
            if let Some((other, _)) = pools.iter().find(|(_, other)| is_shared(other)) {
                return Err(format!("networks.{name}.bridge carries networks.{other} already, and can carry one only"));
            }
            pools.insert(name.clone(), pool);
        }
        Ok(Self(pools))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Pool> {
        self.0.get(name)
    }

    /// Their names, for people.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.0.keys().map(Name::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

impl Pool {
    fn new(settings: &NetworkPool) -> Result<Self, (&'static str, String)> {
        let block = |key: &'static str, text: &str| {
            let block = Range::parse(text).filter(|block| block.is_exactly(text));
            block.ok_or_else(|| (key, format!("is {text:?}, and a block of IPv4 addresses is wanted (10.117.0.0/16)")))
        };
        let subnet = block("subnet", &settings.subnet)?;
        if subnet.prefix() > PREFIX_MAX {
            return Err((
                "subnet",
                format!("is {subnet}, which holds no address for a node: /{PREFIX_MAX} at the most"),
            ));
        }
        let range = settings.range.as_deref().map_or(Ok(subnet), |text| block("range", text))?;
        if !subnet.includes(range) {
            return Err(("range", format!("is {range}, which is not within the subnet {subnet}")));
        }
        let gateway = settings.gateway;
        if let Some(gateway) = gateway.filter(|gateway| !subnet.has_host(*gateway)) {
            return Err(("gateway", format!("is {gateway}, which is no machine's address in the subnet {subnet}")));
        }
        let bridge = settings.bridge.clone();
        let is_device = |name: &String| {
            let is_letter = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '/' | ':');
            (1..=DEVICE_NAME_MAX).contains(&name.len()) && name.chars().all(is_letter) && *name != "." && *name != ".."
        };
        if let Some(name) = bridge.as_ref().filter(|name| !is_device(name)) {
            return Err(("bridge", format!("is {name:?}, which is no name of a network device")));
        }
        let pool = Self { subnet, range, gateway, bridge };
        if pool.addresses().next().is_none() {
            return Err(("range", format!("is {range}, which has no address for a node")));
        }
        Ok(pool)
    }

    /// What its addresses are unique in: a network that an engine makes ends at its machine.
    pub(crate) fn scope(&self, name: &str, machine: &str) -> String {
        match self.bridge {
            Some(_) => format!("network:{name}"),
            None => format!("network:{name}@{machine}"),
        }
    }

    /// Whether nodes may have this address. Without a gateway engines still take the subnet's first one for themselves.
    pub(crate) fn holds(&self, address: Ipv4Addr) -> bool {
        let own = self.gateway.or_else(|| self.subnet.addresses().next());
        self.range.includes_address(address) && self.subnet.holds(address) && own != Some(address)
    }

    /// The addresses that nodes may have, in ascending order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.range.all().filter(|address| self.holds(*address))
    }

    /// What nodes may have, for people.
    pub(crate) fn range(&self) -> Range {
        self.range
    }

    pub(crate) fn interface(&self, name: &Name, network: &Name, address: Ipv4Addr) -> Interface {
        Interface {
            name: name.clone(),
            network: network.clone(),
            address,
            subnet: self.subnet.base(),
            prefix: u8::try_from(self.subnet.prefix()).unwrap_or(u8::MAX),
            gateway: self.gateway,
            bridge: self.bridge.clone(),
        }
    }
}

/// What an attempt, or a node, has of pools: pool and address. `interfaces` hold the first one, too.
pub(crate) fn leases<'a>(
    pool: Option<&'a str>,
    address: Option<&'a str>,
    interfaces: &'a [Leased],
) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
    let first = pool.zip(address).filter(|_| interfaces.is_empty());
    let first = first.map(|(pool, address)| (pool, Cow::Borrowed(address)));
    let own = |leased: &'a Leased| (leased.scope.as_str(), Cow::Owned(leased.interface.address.to_string()));
    first.into_iter().chain(interfaces.iter().map(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pools(settings: Value) -> Result<Pools, String> {
        Pools::new(&serde_json::from_value(settings).unwrap())
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_reason() {
        for (settings, words) in [
            (json!({"a": {"subnet": "10.1.0.0"}}), "networks.a.subnet is \"10.1.0.0\", and a block"),
            (json!({"a": {"subnet": "10.1.0.1/24"}}), "networks.a.subnet is \"10.1.0.1/24\", and a block"),
            (json!({"a": {"subnet": "10.1.0.0/33"}}), "networks.a.subnet is"),
            (json!({"a": {"subnet": "fd00::/64"}}), "networks.a.subnet is"),
            (json!({"a": {"subnet": "10.1.0.0/31"}}), "networks.a.subnet is 10.1.0.0/31, which holds no address"),
            (
                json!({"a": {"subnet": "10.1.0.0/24", "range": "10.1.1.0/25"}}),
                "networks.a.range is 10.1.1.0/25, which is",
            ),
            (json!({"a": {"subnet": "10.1.0.0/24", "range": "10.1.0.0/16"}}), "networks.a.range is"),
            (json!({"a": {"subnet": "10.1.0.0/24", "range": "10.1.0.1/32"}}), "which has no address for a node"),
            (json!({"a": {"subnet": "10.1.0.0/24", "gateway": "10.1.1.1"}}), "networks.a.gateway is 10.1.1.1, which"),
            (json!({"a": {"subnet": "10.1.0.0/24", "gateway": "10.1.0.0"}}), "networks.a.gateway is"),
            (
                json!({"a": {"subnet": "10.1.0.0/24", "bridge": "a/b"}}),
                "networks.a.bridge is \"a/b\", which is no name",
            ),
            (
                json!({"a": {"subnet": "10.1.0.0/16"}, "b": {"subnet": "10.1.7.0/24"}}),
                "networks.b.subnet overlaps that of networks.a",
            ),
            (
                json!({"a": {"subnet": "10.1.0.0/24", "bridge": "br0"}, "b": {"subnet": "10.2.0.0/24", "bridge": "br0"}}),
                "networks.b.bridge carries networks.a already",
            ),
        ] {
            let refused = pools(settings.clone()).expect_err(&settings.to_string());
            assert!(refused.starts_with(words) || refused.ends_with(words), "{settings}: {refused}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_range_that_nobody_else_has() {
        let pools = pools(json!({
            "admin": {"subnet": "10.1.0.0/29", "gateway": "10.1.0.6", "bridge": "br0"},
            "storage": {"subnet": "10.2.0.0/29"},
            "part": {"subnet": "10.3.0.0/24", "range": "10.3.0.64/31"},
        }))
        .unwrap();
        let of = |name: &str| -> Vec<String> {
            pools.get(name).unwrap().addresses().map(|address| address.to_string()).collect()
        };
        assert_eq!(of("admin"), ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5"]);
        assert_eq!(of("storage"), ["10.2.0.2", "10.2.0.3", "10.2.0.4", "10.2.0.5", "10.2.0.6"]);
        assert_eq!(of("part"), ["10.3.0.64", "10.3.0.65"], "the edges of a part are usual addresses");
        assert_eq!(pools.get("admin").unwrap().scope("admin", "m1"), "network:admin");
        assert_eq!(pools.get("part").unwrap().scope("part", "m1"), "network:part@m1");
        assert_eq!(pools.names(), "admin, part, storage");
    }
}
