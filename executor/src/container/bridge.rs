//! Two faults of bridges as netavark 1.4 makes them, which Debian 12 has; Docker and CNI make them without.
//!
//! - The bridge's hardware address changes. A Linux bridge whose address nobody has set takes the lowest one of its ports, so
//!   containers that come and go change it, and peers send to the former one until they ask again (containers/netavark#833).
//! - Its ports are not in hairpin mode. Where bridges call the firewall (`br_netfilter`), what a container sends to its own
//!   published port is turned round within the bridge, and is dropped there without that mode.
//!
//! The kernel is asked in its own protocol (rtnetlink(7)), for the thread's network.

use super::inside::Inside;
use nix::libc::{
    AF_NETLINK, ENODEV, IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINK, IFLA_PROTINFO, NETLINK_ROUTE, NLM_F_ACK, NLM_F_REQUEST,
    NLMSG_ERROR, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::time::Duration;

/// How long the kernel may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Longer than what is told of one device.
const ANSWER_BYTES: usize = 64 << 10;
/// The head of a message, and what precedes the attributes of a device (`nlmsghdr`, `ifinfomsg`).
const HEAD: usize = 16;
const KIND_AT: usize = 4;
const INDEX_AT: usize = HEAD + 4;
const ATTRIBUTES_AT: usize = HEAD + 16;
/// Of a port of a bridge: whether what came by it may leave by it (linux/if_link.h).
const IFLA_BRPORT_MODE: u16 = 4;
const PF_BRIDGE: u8 = 7;
const NLA_F_NESTED: u16 = 1 << 15;

/// The bridges of a container.
pub(super) struct Bridges {
    devices: Vec<String>,
    /// Those that are not seen yet.
    missing: Vec<String>,
    /// The container's interface whose ports are published.
    publishes: Option<&'static str>,
}

impl Bridges {
    pub(super) fn new(devices: Vec<String>, publishes: Option<&'static str>) -> Self {
        Self { missing: devices.clone(), devices, publishes }
    }

    pub(super) fn are_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Lets those that are there keep their addresses.
    pub(super) fn keep(&mut self) {
        let is_missing = |error: &io::Error| error.raw_os_error() == Some(ENODEV);
        self.missing.retain(|device| keep_address(device).is_err_and(|error| is_missing(&error)));
    }

    /// Does what is left to do for a container that runs, and tells what cannot be done.
    pub(super) fn settle(&self, pid: Option<i32>) {
        for device in &self.devices {
            if let Err(error) = keep_address(device) {
                tracing::info!(device, %error, "when nodes come or go, others may lose connections for a while");
            }
        }
        let (false, Some(interface), Some(pid)) = (self.devices.is_empty(), self.publishes, pid) else { return };
        match Inside::of(pid).and_then(|container| lead_back(&container, interface)) {
            // It has ended already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::info!(%error, "the container may not reach its own published ports"),
            Ok(()) => {}
        }
    }
}

/// Sets the device's address to what it is.
///
/// # Errors
/// When this network has no such device, or the caller may not change it.
fn keep_address(device: &str) -> io::Result<()> {
    let told = ask(&Message::of(RTM_GETLINK).on(device))?;
    let address = attribute(&told, IFLA_ADDRESS).ok_or_else(|| io::Error::other("it has no address"))?;
    ask(&Message::of(RTM_SETLINK).on(device).with(IFLA_ADDRESS, address)).map(drop)
}

/// Lets what a container sends to itself by its bridge come back to it (hairpin mode).
///
/// # Errors
/// When it has no such device, the bridge is in another network than the caller, or the caller may not change it.
fn lead_back(container: &Inside, device: &str) -> io::Result<()> {
    let told = container.run(|| ask(&Message::of(RTM_GETLINK).on(device)))?;
    let port: [u8; 4] = attribute(&told, IFLA_LINK)
        .and_then(|link| number(link, 0))
        .ok_or_else(|| io::Error::other("the container's interface leads nowhere"))?;
    // An index means something in the engine's network alone: there, that one leads back into the container.
    let other_end = ask(&Message::of(RTM_GETLINK).at(port))?;
    if attribute(&other_end, IFLA_LINK) != told.get(INDEX_AT..INDEX_AT + 4) {
        return Err(io::Error::other("the engine is in another network"));
    }
    let mut message = Message::of(RTM_SETLINK).at(port);
    message.0[HEAD] = PF_BRIDGE;
    let hairpin = Message(Vec::new()).with(IFLA_BRPORT_MODE, &[1]);
    ask(&message.with(IFLA_PROTINFO | NLA_F_NESTED, &hairpin.0)).map(drop)
}

/// Sends one message on a device and returns the answer.
fn ask(message: &Message) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, Some(Protocol::from(NETLINK_ROUTE)))?;
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    socket.write_all(&message.bytes())?;
    let mut answer = vec![0; ANSWER_BYTES];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    let unclear = || io::Error::from(io::ErrorKind::InvalidData);
    match number(&answer, KIND_AT).map(u16::from_ne_bytes).ok_or_else(unclear)? {
        RTM_NEWLINK => Ok(answer),
        // The kernel's errors are negative, and 0 is none.
        kind if i32::from(kind) == NLMSG_ERROR => {
            match number(&answer, HEAD).map(i32::from_ne_bytes).ok_or_else(unclear)? {
                0 => Ok(answer),
                error => Err(io::Error::from_raw_os_error(-error)),
            }
        }
        _ => Err(unclear()),
    }
}

/// A message on a device, without its length.
struct Message(Vec<u8>);

impl Message {
    fn of(kind: u16) -> Self {
        let mut bytes = vec![0; ATTRIBUTES_AT];
        // A question is answered by itself, a change when it is asked for that.
        let flags = if kind == RTM_SETLINK { NLM_F_REQUEST | NLM_F_ACK } else { NLM_F_REQUEST };
        bytes[KIND_AT..KIND_AT + 2].copy_from_slice(&kind.to_ne_bytes());
        bytes[KIND_AT + 2..KIND_AT + 4].copy_from_slice(&(flags as u16).to_ne_bytes());
        Self(bytes)
    }

    fn on(self, device: &str) -> Self {
        self.with(IFLA_IFNAME, &[device.as_bytes(), &[0]].concat())
    }

    fn at(mut self, index: [u8; 4]) -> Self {
        self.0[INDEX_AT..INDEX_AT + 4].copy_from_slice(&index);
        self
    }

    fn with(mut self, name: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(name.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        [&length.to_ne_bytes()[..], &self.0[4..]].concat()
    }
}

/// The value of a device's attribute.
fn attribute(message: &[u8], name: u16) -> Option<&[u8]> {
    let mut rest = message.get(ATTRIBUTES_AT..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(number(rest, 0)?));
        let value = rest.get(4..length)?;
        if number(rest, 2).map(u16::from_ne_bytes) == Some(name) {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

/// The bytes of a number.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
