//! The hardware address of an engine's bridge, which is to stay.
//!
//! A Linux bridge whose address nobody has set takes the lowest one of its ports: it changes as containers come and go, and
//! for the others what leads to it is lost until they ask again. Docker, CNI and netavark from 1.9 on set it, older ones do
//! not (containers/netavark#833). The kernel is asked in its own protocol (rtnetlink(7)), for the thread's network.

use nix::libc::{
    AF_NETLINK, IFLA_ADDRESS, IFLA_IFNAME, NETLINK_ROUTE, NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, RTM_GETLINK,
    RTM_NEWLINK, RTM_SETLINK,
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
const ATTRIBUTES_AT: usize = HEAD + 16;

/// Bridges whose addresses may change still.
pub(super) struct Bridges {
    loose: Vec<String>,
}

impl Bridges {
    pub(super) fn new(devices: Vec<String>) -> Self {
        Self { loose: devices }
    }

    pub(super) fn are_loose(&self) -> bool {
        !self.loose.is_empty()
    }

    /// Lets those that are there keep theirs.
    pub(super) fn keep(&mut self) {
        self.loose.retain(|device| keep_address(device).is_err());
    }

    /// The same, once all that there will be are there.
    pub(super) fn keep_at_last(self) {
        for device in self.loose {
            if let Err(error) = keep_address(&device) {
                tracing::info!(device, %error, "when nodes come or go, others may lose connections for a while");
            }
        }
    }
}

/// Sets the device's address to what it is.
///
/// # Errors
/// When this network has no such device, or the caller may not change it.
fn keep_address(device: &str) -> io::Result<()> {
    let mut name = device.as_bytes().to_vec();
    name.push(0);
    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, Some(Protocol::from(NETLINK_ROUTE)))?;
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    let told = ask(&mut socket, RTM_GETLINK, NLM_F_REQUEST, &[(IFLA_IFNAME, &name)])?;
    let address = attribute(&told, IFLA_ADDRESS).ok_or_else(|| io::Error::other("it has no address"))?;
    let set = [(IFLA_IFNAME, &name[..]), (IFLA_ADDRESS, address)];
    ask(&mut socket, RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, &set).map(drop)
}

/// Sends one message on a device and returns the answer.
fn ask(socket: &mut Socket, kind: u16, flags: i32, attributes: &[(u16, &[u8])]) -> io::Result<Vec<u8>> {
    socket.write_all(&message(kind, flags, attributes))?;
    let mut answer = vec![0; ANSWER_BYTES];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    let unclear = || io::Error::from(io::ErrorKind::InvalidData);
    match number(&answer, 4).map(u16::from_ne_bytes).ok_or_else(unclear)? {
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

fn message(kind: u16, flags: i32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = vec![0; ATTRIBUTES_AT];
    for (name, value) in attributes {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        message.extend(length.to_ne_bytes());
        message.extend(name.to_ne_bytes());
        message.extend(*value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
    message
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_others() {
        let address = [2, 0x42, 10, 89, 1, 1];
        let message = message(RTM_NEWLINK, 0, &[(IFLA_IFNAME, b"podman2\0"), (IFLA_ADDRESS, &address)]);
        assert_eq!(message.len(), ATTRIBUTES_AT + 12 + 12);
        assert_eq!(attribute(&message, IFLA_ADDRESS), Some(&address[..]));
        assert_eq!(attribute(&message, 99), None);
        for cut in 0..message.len() {
            assert!(attribute(&message[..cut], 99).is_none());
        }
    }

    #[test]
    fn a_device_that_is_missing_is_an_error_of_the_kernel() {
        let error = keep_address("bigdata-none").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENODEV), "{error}");
    }
}
