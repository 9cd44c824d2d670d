//! The node's peers, and how it asks them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// The longest wait for a peer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 64 * 1024;

/// Peers by name, as the product's script wrote them; none before it did.
pub(super) fn read(file: &Path) -> io::Result<BTreeMap<String, SocketAddr>> {
    match std::fs::read(file) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// Why each peer that does not answer under its own name does not.
pub(super) fn unreachable(peers: &BTreeMap<String, SocketAddr>) -> BTreeMap<String, String> {
    let fault = |name: &str, address: SocketAddr| match get(address, "/") {
        Ok((200, body)) => {
            let answer: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let said = answer.get("name").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            (said != name).then(|| format!("{address} says that it is {said:?}"))
        }
        Ok((status, _)) => Some(format!("{address} answers {status}")),
        Err(error) => Some(format!("{address}: {error}")),
    };
    peers.iter().filter_map(|(name, address)| Some((name.clone(), fault(name, *address)?))).collect()
}

/// GET `path`; the status and the body.
pub(super) fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(unreadable)?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).ok_or_else(unreadable)?;
    Ok((status, body.to_owned()))
}
