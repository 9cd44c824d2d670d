//! The framework service: places clusters' nodes on Mesos agents, and keeps them there.
//!
//! Reading order: [`Settings`], `core` (every decision, pure), `placement` (where nodes go, and why not), `store` (the
//! database), `driver` (the shell), `leadership` (which replica has a driver), `registry` (what is wanted), `http`.
//!
//! **Invariants:** what a call needs is stored before it leaves; at most one attempt of a node is not confirmed to have
//! ended; nothing that carries another registry's label, or none, is touched.

mod control;
mod core;
mod driver;
mod http;
mod leadership;
mod placement;
mod registry;
mod settings;
#[doc(hidden)]
pub mod simulation;
mod store;

pub use settings::{NetworkPool, Overhead, Settings, UidPool};

use bigdata_chassis::bus::BusError;
use bigdata_chassis::db::Migrations;
use bigdata_chassis::http::{InternalClient, server};
use bigdata_chassis::{Deps, Service};
use control::ControlKeys;
use driver::{Handle, MesosSettings};
use http::Context;
use leadership::Replica;
use registry::Registry;
use std::net::TcpListener;
use std::path::PathBuf;
use uuid::Uuid;

static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// The schema of the service's database.
pub const MIGRATIONS: Migrations = Migrations { postgres: &POSTGRES, sqlite: &SQLITE };

/// Threads that answer requests.
const HTTP_WORKERS: usize = 1;

/// Why the service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting cannot be used.
    #[error("the setting {name} cannot be used: {detail}")]
    Setting {
        /// Which.
        name: &'static str,
        /// Why.
        detail: &'static str,
    },
    /// The networks of containers cannot be used.
    #[error("the setting {0}")]
    Networks(String),
    /// A file that holds a secret cannot be used.
    #[error("the setting {name}: the file {} cannot be used", path.display())]
    SecretFile {
        /// The setting.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address cannot be listened on.
    #[error("the framework cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("no HTTP client could be made")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot be read.
    #[error("the framework's database cannot be read")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The queue cannot be bound.
    #[error("the framework's queue cannot be bound")]
    Bus(#[from] BusError),
}

/// Builds the service: it answers when this returns. It subscribes at the master as soon as it leads and the registry has
/// said who it is; of several on one database one leads, and another takes over when that one ends or is silent.
///
/// # Errors
/// See [`BuildError`].
pub async fn build(mut settings: Settings, deps: Deps) -> Result<Service, BuildError> {
    check(&settings)?;
    settings.read_files().map_err(|(name, path, source)| BuildError::SecretFile { name, path, source })?;
    let listener = TcpListener::bind(&settings.listen)
        .map_err(|source| BuildError::Listen { address: settings.listen.clone(), source })?;
    let keys = settings.control_key.clone().map(ControlKeys::new).ok_or(BuildError::Setting {
        name: "control_key",
        detail: "it must be given, or stand in the file control_key_file",
    })?;
    let client = InternalClient::new(settings.registry.clone(), deps.internal_token.clone())
        .map_err(|error| BuildError::Client(Box::new(error)))?;
    let driver = Handle::following();
    let registry = Registry::new(client.clone(), driver.clone());
    let (clock, mesos) = (deps.clock.clone(), MesosSettings::of(&settings));
    let context = Context { driver: driver.clone(), registry: registry.clone(), keys, clock, mesos };
    let db = deps.db.clone();
    let routes = move |config: &mut actix_web::web::ServiceConfig| http::routes(config, &context, &db);
    let address = server::serve(listener, HTTP_WORKERS, &deps.internal_token, &deps.tasks, routes)
        .map_err(|source| BuildError::Listen { address: settings.listen.clone(), source })?;
    let service = Service { address };
    let url = settings.advertise.clone().unwrap_or_else(|| service.url());
    // Several machines may have the same name or wildcard; an address of a machine is one socket's.
    let is_alone_there = settings.advertise.is_none() && !address.ip().is_unspecified();
    let (tasks, holder) = (deps.tasks.clone(), Uuid::new_v4());
    let replica = Replica { settings, deps, client, registry, driver, url, holder, is_alone_there };
    let term = replica.try_to_lead(true).await?;
    tasks.spawn("framework leadership", replica.run(term));
    Ok(service)
}

fn check(settings: &Settings) -> Result<(), BuildError> {
    let refuse = |name, detail| Err(BuildError::Setting { name, detail });
    if settings.masters.is_empty() {
        return refuse("masters", "at least one master must be given");
    }
    if settings.executor_command.is_empty() {
        return refuse("executor_command", "it must name the executor's program");
    }
    if settings.advertise.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        return refuse("advertise", "it must be a URL: http://host:port");
    }
    let is_sum = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if settings.executor_sha256.as_ref().is_some_and(|sum| !is_sum(sum)) {
        return refuse("executor_sha256", "it must be a SHA-256: 64 hexadecimal digits");
    }
    if settings.executor_sha256.is_some() && settings.executor_uri.is_none() {
        return refuse("executor_sha256", "it is about what executor_uri names, which is not set");
    }
    if settings.lease_ms < 300 {
        return refuse("lease_ms", "a lease must last 300 ms at least, or it runs out before it is renewed");
    }
    if settings.attempts == 0 {
        return refuse("attempts", "a node must be tried once at least");
    }
    placement::Pools::new(&settings.networks).map_err(BuildError::Networks)?;
    if settings.uid_pool.is_some_and(|pool| pool.first == 0 || pool.first > pool.last) {
        return refuse("uid_pool", "it must go from a first uid other than 0 to a last one that is not lower");
    }
    Ok(())
}
