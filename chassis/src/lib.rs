//! What every service needs around its own work: settings, telemetry, database, bus, outbox, HTTP, secrets, tasks.
//!
//! A service is `build(settings, deps) -> Result<Service, BuildError>`: it opens nothing by itself but what its settings
//! name, spawns its work on [`tasks::Tasks`], and never reads the environment, the arguments or a signal. That is the
//! composition root's, which alone knows whether the services share a process.
//!
//! **Invariant:** no module here knows products, clusters' rules, Mesos or scripts.

pub mod bus;
pub mod clock;
mod condition;
pub mod db;
pub mod http;
pub mod measures;
pub mod messaging;
pub mod program;
pub mod readiness;
pub mod secret;
pub mod settings;
pub mod tasks;
pub mod telemetry;
pub mod testing;
pub mod trace;

pub use clock::Clock;
pub use db::{Db, Tx};
pub use readiness::Readiness;
pub use tasks::Tasks;

use std::net::SocketAddr;
use std::sync::Arc;

/// What a service is given by its composition root.
#[derive(Clone)]
pub struct Deps {
    /// The service's own database, migrated.
    pub db: Db,
    /// The bus between the services.
    pub bus: Arc<dyn bus::Bus>,
    /// The time.
    pub clock: Clock,
    /// Where the service spawns its work, and learns that it shall end.
    pub tasks: Tasks,
    /// Proves one service to another.
    pub internal_token: secret::Token,
}

/// A service that answers.
#[derive(Debug, Clone)]
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Service {
    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
