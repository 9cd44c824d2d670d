//! A network between the frameworks and the Mesos master that loses words, or delays them, while every connection stays
//! open.

use crate::fleet::{FRAMEWORKS, Fleet};
use crate::scenarios::LONG_LEASE;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// What stands in a call that launches, and in no other.
const LAUNCHES: &[u8] = b"bigdata-executor";

#[derive(Default)]
struct State {
    /// Connections of an earlier one are swallowed.
    era: AtomicU64,
    /// Bytes that never arrived.
    swallowed: AtomicU64,
    /// Whether launches are held up, and how many are.
    held: Mutex<(bool, u32)>,
    freed: Condvar,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    /// Between whoever connects and the fleet's master.
    fn new(fleet: &Fleet) -> Self {
        let master = fleet.address("FLEET_MESOS").trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A master that is not there is one that refuses.
                let Ok(server) = TcpStream::connect(&master) else { continue };
                let (from_client, to_client) = (client.try_clone().unwrap(), client);
                let (from_server, to_server) = (server.try_clone().unwrap(), server);
                let (calls, events) = (Arc::clone(&shared), Arc::clone(&shared));
                thread::spawn(move || calls.pass(from_client, to_server, true));
                thread::spawn(move || events.pass(from_server, to_client, false));
            }
        });
        Self { address, state }
    }

    /// From now on nothing arrives on the connections that there are; new ones are as ever.
    pub(crate) fn swallow(&self) {
        self.state.era.fetch_add(1, Ordering::Relaxed);
    }

    /// How many bytes never arrived.
    pub(crate) fn swallowed(&self) -> u64 {
        self.state.swallowed.load(Ordering::Relaxed)
    }

    /// Holds up what launches, until it is let go.
    pub(crate) fn hold_launches(&self, hold: bool) {
        self.state.held.lock().unwrap().0 = hold;
        self.state.freed.notify_all();
    }

    /// How many launches were held up.
    pub(crate) fn held(&self) -> u32 {
        self.state.held.lock().unwrap().1
    }
}

impl State {
    fn pass(&self, mut from: TcpStream, mut to: TcpStream, calls: bool) {
        let (era, mut buffer) = (self.era.load(Ordering::Relaxed), vec![0; 1 << 20]);
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let words = &buffer[..length];
            if calls && words.windows(LAUNCHES.len()).any(|window| window == LAUNCHES) {
                self.wait_while_held();
            }
            if era != self.era.load(Ordering::Relaxed) {
                self.swallowed.fetch_add(length as u64, Ordering::Relaxed);
            } else if to.write_all(words).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    fn wait_while_held(&self) {
        let mut held = self.held.lock().unwrap();
        held.1 += u32::from(held.0);
        while held.0 {
            held = self.freed.wait(held).unwrap();
        }
    }
}

/// Lets the frameworks reach the master through a proxy, as long as `body` takes.
pub(crate) fn behind_one(fleet: &Fleet, body: impl FnOnce(&Proxy)) {
    let proxy = Proxy::new(fleet);
    let master = format!("http://{}", proxy.address);
    // Whoever led would begin on a connection of its own.
    fleet.set(&FRAMEWORKS, &[("BIGDATA__FRAMEWORK__MASTERS", &master), LONG_LEASE], || body(&proxy));
}
