//! Which networks a node's container is connected with, and what the engine is told of them. Pure; [`super::provide`] acts.

use super::found::registry_label;
use crate::environment::Surroundings;
use bigdata_common::container_options::HostNamespace;
use bigdata_common::internal::Interface;
use bollard::models::{EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkCreateRequest};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// The value of the labels in which a container names its networks.
pub(super) const MEMBER: &str = "true";
/// By which Docker is told an interface's name, from version 28 on.
const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";

/// The driver of networks that engines make a bridge for.
const BRIDGE: &str = "bridge";

/// How a container is connected.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Connection {
    /// It has the machine's network, and binds its node's own loopback address.
    Host,
    /// The bridge of its cluster; the node's ports are published on its agent's address.
    Cluster(Network),
    /// Addresses of its own, the node's first.
    Own(Vec<Attachment>),
}

/// A network of the engine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    /// Its name in the engine. Of another configuration it is another one.
    pub(super) name: String,
    /// What it is for people.
    pub(super) words: String,
    pub(super) request: Box<NetworkCreateRequest>,
}

/// An interface, and the network that it leads to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attachment {
    pub(super) network: Network,
    pub(super) interface: Interface,
}

impl Connection {
    /// That of a node with these namespaces of the machine.
    pub(super) fn of(node: &Surroundings, registry: &str, shared: &[HostNamespace]) -> Self {
        if shared.contains(&HostNamespace::Network) {
            return Self::Host;
        }
        let interfaces = &node.node.interfaces;
        if !interfaces.is_empty() {
            let attachment = |interface: &Interface| Attachment {
                network: Network::of_pool(interface, registry),
                interface: interface.clone(),
            };
            return Self::Own(interfaces.iter().map(attachment).collect());
        }
        match node.loopback_address() {
            Some(_) => Self::Host,
            None => Self::Cluster(Network::of_cluster(&node.node.cluster.to_string(), registry)),
        }
    }

    pub(super) fn networks(&self) -> Vec<&Network> {
        match self {
            Self::Host => Vec::new(),
            Self::Cluster(network) => vec![network],
            Self::Own(attachments) => attachments.iter().map(|attachment| &attachment.network).collect(),
        }
    }

    /// The container's labels that name its networks.
    pub(super) fn labels(&self) -> impl Iterator<Item = (String, String)> {
        self.networks().into_iter().map(|network| (member_label(&network.name), MEMBER.to_owned()))
    }
}

/// The label of the containers that are made for the network of this name.
pub(super) fn member_label(network: &str) -> String {
    format!("bigdata_net.{network}")
}

impl Network {
    /// Whether the engine makes a bridge for it.
    pub(super) fn is_bridge(&self) -> bool {
        self.request.driver.as_deref() == Some(BRIDGE)
    }

    fn of_cluster(cluster: &str, registry: &str) -> Self {
        let request = NetworkCreateRequest { driver: Some(BRIDGE.to_owned()), ..NetworkCreateRequest::default() };
        Self::new(format!("bigdata-{cluster}"), "the cluster's network".to_owned(), registry, request)
    }

    /// Macvlan on a bridge of the machine: the engine changes nothing there, and needs no address on it.
    fn of_pool(interface: &Interface, registry: &str) -> Self {
        let Interface { network, subnet, prefix, gateway, bridge, .. } = interface;
        let configuration = format!("{registry} {network} {subnet}/{prefix} {gateway:?} {bridge:?}");
        let digest = Sha256::digest(configuration.as_bytes());
        let hash: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let addresses = IpamConfig {
            subnet: Some(format!("{subnet}/{prefix}")),
            gateway: gateway.map(|address| address.to_string()),
            ..IpamConfig::default()
        };
        let driver = if bridge.is_some() { "macvlan" } else { BRIDGE };
        let request = NetworkCreateRequest {
            driver: Some(driver.to_owned()),
            internal: Some(gateway.is_none()),
            ipam: Some(Ipam { config: Some(vec![addresses]), ..Ipam::default() }),
            options: bridge.as_ref().map(|bridge| HashMap::from([("parent".to_owned(), bridge.clone())])),
            ..NetworkCreateRequest::default()
        };
        Self::new(format!("bigdata-{network}-{hash}"), format!("the network {network}"), registry, request)
    }

    fn new(name: String, words: String, registry: &str, request: NetworkCreateRequest) -> Self {
        let (label, value) = registry_label(registry);
        let labels = Some(HashMap::from([(label.to_owned(), value)]));
        let request = Box::new(NetworkCreateRequest { name: name.clone(), labels, ..request });
        Self { name, words, request }
    }
}

impl Attachment {
    /// A hardware address that follows from the leased one: peers that know a node by it still do when its container was
    /// started again.
    pub(super) fn hardware_address(&self) -> String {
        let [a, b, c, d] = self.interface.address.octets();
        format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    /// What an engine is told of it. The first of several that lead out of their networks is the way out.
    pub(super) fn endpoint(&self, rank: usize) -> EndpointSettings {
        let options = HashMap::from([(INTERFACE_NAME.to_owned(), self.interface.name.to_string())]);
        EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(self.interface.address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            mac_address: Some(self.hardware_address()),
            driver_opts: Some(options),
            gw_priority: i64::try_from(rank).ok().map(|rank| -rank),
            ..EndpointSettings::default()
        }
    }
}

/// Which interface has another name than it is to have, by the container's table of routes (proc(5), `/proc/PID/net/route`).
pub(super) fn misnamed(routes: &str, attachments: &[Attachment]) -> Option<String> {
    let name_of = |interface: &Interface| {
        let subnet = format!("{:08X}", u32::from_ne_bytes(interface.subnet.octets()));
        let mut words = routes.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.find_map(|words| (words.get(1) == Some(&subnet.as_str())).then(|| words[0].to_owned()))
    };
    attachments.iter().find_map(|Attachment { interface, .. }| {
        let found = name_of(interface).filter(|name| name != interface.name.as_str())?;
        let (name, network) = (&interface.name, &interface.network);
        Some(format!("the engine calls the interface of the network {network} {found}, and not {name}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, network: &str, third: u8) -> Interface {
        Interface {
            name: name.parse().unwrap(),
            network: network.parse().unwrap(),
            address: [10, 101, third, 7].into(),
            subnet: [10, 101, third, 0].into(),
            prefix: 24,
            gateway: None,
            bridge: None,
        }
    }

    #[test]
    fn another_configuration_is_another_network() {
        let plain = interface("eth0", "admin", 0);
        let of = |interface: &Interface, registry| Network::of_pool(interface, registry);
        let network = of(&plain, "r1");
        assert_eq!(network, of(&Interface { address: [10, 101, 0, 9].into(), ..plain.clone() }, "r1"));
        let on_bridge = Interface { bridge: Some("br0".to_owned()), ..plain.clone() };
        let led_out = Interface { gateway: Some([10, 101, 0, 1].into()), ..plain.clone() };
        for other in [of(&plain, "r2"), of(&on_bridge, "r1"), of(&led_out, "r1")] {
            assert_ne!(network.name, other.name);
        }
        let (request, carried) = (network.request, of(&on_bridge, "r1").request);
        assert_eq!((request.driver.as_deref(), request.internal), (Some("bridge"), Some(true)));
        assert_eq!(carried.driver.as_deref(), Some("macvlan"));
        assert_eq!(carried.options.unwrap()["parent"], "br0");
        assert_eq!(of(&led_out, "r1").request.internal, Some(false));
    }

    #[test]
    fn an_interface_under_another_name_is_seen() {
        let attachment = |name, network, third| {
            let interface = interface(name, network, third);
            Attachment { network: Network::of_pool(&interface, "r"), interface }
        };
        let both = [attachment("eth0", "admin", 0), attachment("eth1", "storage", 1)];
        let route = |name: &str, third: u8| {
            let destination = u32::from_ne_bytes([10, 101, third, 0]);
            format!("{name}\t{destination:08X}\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
        };
        let table = |first: &str, second: &str| {
            let lines = ["Iface\tDestination\tGateway\n".to_owned(), route(first, 0), route(second, 1)];
            lines.concat()
        };
        assert_eq!(misnamed(&table("eth0", "eth1"), &both), None);
        assert_eq!(misnamed("Iface\tDestination\n", &both), None, "it has ended");
        let words = misnamed(&table("eth1", "eth0"), &both).unwrap();
        assert_eq!(words, "the engine calls the interface of the network admin eth1, and not eth0");
    }
}
