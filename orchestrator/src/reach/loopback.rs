//! A script's port on the loopback, for clients that know nothing but an `http://` address. It is there where the script has
//! the network, and lets the script's user alone in: other users of the machine can connect to it, too.

use super::{Listen, kv};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::net::{TcpListener, TcpStream};

/// The kernel's tables of connections, in the second those of IPv6 sockets, which can have IPv4 addresses.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The port.
pub(crate) struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
    uid: u32,
}

impl Loopback {
    /// Opens a port for the script's user.
    pub(crate) async fn open(uid: u32) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, uid })
    }

    /// The address of the older system's keys.
    pub(crate) fn address_of_keys(&self, token: &str) -> String {
        kv::base(&format!("http://{}", self.address), token)
    }
}

impl Listen for Loopback {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, impl Future<Output = bool> + Send + 'static)> {
        let (stream, peer) = self.listener.accept().await?;
        let (address, uid) = (self.address, self.uid);
        Ok((stream, async move { user_of(peer, address).await == Some(uid) }))
    }
}

/// The same by the script's socket, as libraries write it that speak HTTP over one: `http+unix://%2Fpath/…`.
pub(crate) fn address_by_socket(socket: &Path, token: &str) -> String {
    let mut path = String::new();
    for byte in socket.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => path.push(char::from(*byte)),
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    kv::base(&format!("http+unix://{path}"), token)
}

/// The user whose socket is at `client`, of a connection to `server` on this machine.
async fn user_of(client: SocketAddr, server: SocketAddr) -> Option<u32> {
    for table in TABLES {
        // A kernel without IPv6 has no second table.
        let Ok(table) = tokio::fs::read_to_string(table).await else { continue };
        if let Some(uid) = find_user(&table, client, server) {
            return Some(uid);
        }
    }
    None
}

/// Finds a connection in the kernel's table (proc_pid_net(5)): `sl local remote state queues timer retransmits uid …`.
fn find_user(table: &str, client: SocketAddr, server: SocketAddr) -> Option<u32> {
    let (client, server) = (hexadecimal(client)?, hexadecimal(server)?);
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next()?.ends_with(&client) && fields.next()?.ends_with(&server);
        if is_it { fields.nth(4)?.parse().ok() } else { None }
    })
}

/// An address as the kernel writes it: the four bytes as a number of this machine's byte order.
fn hexadecimal(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_user_of_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let client = TcpStream::connect(server).await.unwrap();
        let (_held, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(user_of(peer, server).await, Some(nix::unistd::geteuid().as_raw()));
        assert_eq!(user_of(server, server).await, None);
    }

    #[test]
    fn a_table_of_the_kernel() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (client, server) = (address("127.0.0.1:40000"), address("127.0.0.1:8500"));
        let ends = [client, server].map(|end| hexadecimal(end).unwrap());
        let line =
            |local: &str, remote: &str, uid: &str| format!("   0: {local} {remote} 01 0:0 00:0 0   {uid} 0 12345\n");
        let table = format!(
            "  sl  local_address rem_address   st\n{}{}{}",
            line(&ends[1], &ends[0], "0"),
            line(&ends[0], &ends[0], "1"),
            line(
                &format!("0000000000000000FFFF0000{}", ends[0]),
                &format!("0000000000000000FFFF0000{}", ends[1]),
                "2000100"
            )
        );
        assert_eq!(find_user(&table, client, server), Some(2_000_100));
        assert_eq!(find_user(&table, address("127.0.0.1:40001"), server), None);
    }

    #[test]
    fn an_address_by_the_socket() {
        let address = address_by_socket(Path::new("/run/a b/socket"), "abc");
        assert_eq!(address, "http+unix://%2Frun%2Fa%20b%2Fsocket/run/abc/v1/kv");
    }
}
