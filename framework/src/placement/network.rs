//! How an agent's nodes get their addresses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The agent's attribute that says it.
pub(crate) const ATTRIBUTE: &str = "bigdata_net";

/// What [`ATTRIBUTE`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    /// `loopback:HOST-ID:CIDR`: addresses of the machine's loopback; agents with one HOST-ID share them.
    Loopback { host: String, range: Range },
    /// `pool:CIDR`: addresses that are routed to the machine.
    Pool { range: Range },
    /// `container`: containers have addresses of the pools of the settings ([`super::pools`]) where their nodes name any;
    /// else nodes share the agent's address, and take ports from the offer.
    Container,
    /// `host`: nodes share the agent's address, and take ports from the offer.
    Host,
    /// Not understood.
    Unknown(String),
}

/// A block of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    base: u32,
    prefix: u32,
}

impl Network {
    pub(crate) fn of(attributes: &BTreeMap<String, String>) -> Self {
        let Some(text) = attributes.get(ATTRIBUTE) else { return Self::Host };
        let unknown = || Self::Unknown(text.clone());
        match text.split_once(':') {
            None if text == "host" => Self::Host,
            None if text == "container" => Self::Container,
            Some(("pool", cidr)) => Range::parse(cidr).map_or_else(unknown, |range| Self::Pool { range }),
            Some(("loopback", rest)) => match rest.split_once(':') {
                Some((host, cidr)) if !host.is_empty() => {
                    let loopback = |range| Self::Loopback { host: host.to_owned(), range };
                    Range::parse(cidr).map_or_else(unknown, loopback)
                }
                _ => unknown(),
            },
            _ => unknown(),
        }
    }

    /// The pool that addresses are leased from: its name, unique in the fleet, and its addresses.
    pub(crate) fn pool(&self) -> Option<(String, Range)> {
        match self {
            Self::Loopback { host, range } => Some((format!("loopback:{host}"), *range)),
            Self::Pool { range } => Some((format!("pool:{range}"), *range)),
            Self::Container | Self::Host | Self::Unknown(_) => None,
        }
    }
}

impl Range {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let prefix: u32 = prefix.parse().ok().filter(|prefix| (1..=32).contains(prefix))?;
        let mask = u32::MAX << (32 - prefix);
        Some(Self { base: u32::from(address) & mask, prefix })
    }

    fn last(self) -> u32 {
        self.base | !(u32::MAX << (32 - self.prefix))
    }

    pub(super) fn base(self) -> Ipv4Addr {
        self.base.into()
    }

    pub(super) fn prefix(self) -> u32 {
        self.prefix
    }

    /// Whether this is how it is written, without bits beyond the prefix.
    pub(super) fn is_exactly(self, text: &str) -> bool {
        text.split_once('/').is_some_and(|(address, _)| address.parse() == Ok(self.base()))
    }

    pub(super) fn includes_address(self, address: Ipv4Addr) -> bool {
        (self.base..=self.last()).contains(&u32::from(address))
    }

    pub(super) fn includes(self, other: Self) -> bool {
        self.base <= other.base && other.last() <= self.last()
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        self.base <= other.last() && other.base <= self.last()
    }

    /// Whether it is an address of a machine: neither the block's first nor its last.
    pub(super) fn has_host(self, address: Ipv4Addr) -> bool {
        let number = u32::from(address);
        self.includes_address(address) && number != self.base && number != self.last()
    }

    /// Every address in ascending order, those that nodes may not have among them.
    pub(super) fn all(self) -> impl Iterator<Item = Ipv4Addr> {
        (self.base..=self.last()).map(Ipv4Addr::from)
    }

    /// Whether nodes may have this address: it is neither the block's first nor last, nor ends in 0 or 255.
    pub(crate) fn holds(self, address: Ipv4Addr) -> bool {
        let number = u32::from(address);
        (self.base..=self.last()).contains(&number) && self.is_usable(number)
    }

    fn is_usable(self, number: u32) -> bool {
        let edge = self.prefix < 31 && (number == self.base || number == self.last());
        !edge && !matches!(number & 0xff, 0 | 0xff)
    }

    /// The addresses that nodes may have, in ascending order.
    pub(crate) fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        (self.base..=self.last()).filter(move |number| self.is_usable(*number)).map(Ipv4Addr::from)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(&BTreeMap::from([(ATTRIBUTE.to_owned(), text.to_owned())]))
    }

    #[test]
    fn the_forms_of_the_attribute() {
        assert_eq!(Network::of(&BTreeMap::new()), Network::Host);
        assert_eq!(network("container"), Network::Container);
        let Some((pool, range)) = network("loopback:m1:127.64.0.0/16").pool() else { panic!() };
        assert_eq!((pool.as_str(), range.to_string().as_str()), ("loopback:m1", "127.64.0.0/16"));
        for text in ["", "loopback:127.64.0.0/16", "pool:x", "pool:10.0.0.0/33", "loopback::127.0.0.0/8", "bridge"] {
            assert!(matches!(network(text), Network::Unknown(_)), "{text}");
        }
    }

    #[test]
    fn edges_are_left_out() {
        let range = Range::parse("10.1.2.7/30").unwrap();
        let addresses: Vec<String> = range.addresses().map(|address| address.to_string()).collect();
        assert_eq!(addresses, ["10.1.2.5", "10.1.2.6"]);
        let range = Range::parse("127.64.0.0/16").unwrap();
        assert_eq!(range.addresses().count(), 256 * 254);
        assert!(!range.holds(Ipv4Addr::new(127, 64, 3, 255)) && !range.holds(Ipv4Addr::new(127, 65, 0, 1)));
        assert!(range.holds(Ipv4Addr::new(127, 64, 255, 254)));
    }
}
