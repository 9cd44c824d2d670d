//! One connection of this process to itself, to see which address it comes from.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Duration,
};

/// The address that a trial asks for.
pub(crate) const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const TARGET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const LIMIT: Duration = Duration::from_secs(2);

/// What is connected to: made where the trial's restrictions do not reach.
pub(crate) fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((TARGET, 0))
}

/// Whether connections come from [`SOURCE`].
pub(crate) fn connect(listener: &TcpListener) -> io::Result<()> {
    let _client = TcpStream::connect_timeout(&listener.local_addr()?, LIMIT)?;
    let (_, client) = listener.accept()?;
    match client.ip() == SOURCE {
        true => Ok(()),
        false => Err(io::Error::other(format!("a trial connection came from {}", client.ip()))),
    }
}
