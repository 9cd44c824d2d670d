//! The network of a container from within: a machine does not reach the addresses of every network that its containers have.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream};

/// The network of a container that was started, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Inside(File);

impl Inside {
    /// That of the container with this first process.
    ///
    /// # Errors
    /// When the process is gone, or this one may not look.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        File::open(format!("/proc/{pid}/ns/net")).map(Self)
    }

    /// Connects to an address as a process of the container would.
    ///
    /// # Errors
    /// When nobody accepts there, or this process may not enter.
    pub(super) async fn connect(&self, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
        self.socket()?.connect(SocketAddr::from((address, port))).await
    }

    /// A socket stays in the network that it was made in.
    fn socket(&self) -> io::Result<TcpSocket> {
        self.run(TcpSocket::new_v4)
    }

    /// Does something there. A thread stays in a network, too: so it is one of its own.
    ///
    /// # Errors
    /// Those of what is done, and when this process may not enter.
    pub(super) fn run<T: Send>(&self, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let enter = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).map_err(|error| {
                io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("the container's network cannot be entered: {error}"),
                )
            })?;
            act()
        };
        let done = std::thread::scope(|scope| scope.spawn(enter).join());
        done.unwrap_or_else(|_| Err(io::Error::other("the container's network cannot be entered")))
    }
}
