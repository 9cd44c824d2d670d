//! The registry: products, clusters, operations. It alone writes a cluster's status.
//!
//! Reading order: [`lifecycle`] (what a cluster's status does, pure), [`options`], [`template`] and [`blueprint`] (what a
//! launch makes of a product), [`cluster`] (how facts change what is stored), `consumer` and `timer` (where facts come
//! from), `http` (what people and services ask).
//!
//! **Invariant:** everything that one request or event changes is changed in one transaction, its events among it.

pub mod actions;
mod backups;
pub mod blueprint;
pub mod change;
mod changes;
pub mod cluster;
mod connect;
mod consumer;
pub mod duration;
mod http;
mod idempotency;
pub mod invariants;
mod launch;
pub mod lifecycle;
pub mod options;
pub mod product;
mod registry;
mod settings;
mod silence;
pub mod store;
pub mod template;
mod timer;

pub use settings::Settings;
pub use template::child::render_child_main;

use bigdata_chassis::db::Migrations;
use bigdata_chassis::http::server;
use bigdata_chassis::messaging::consumer as messages;
use bigdata_chassis::secret::VaultError;
use bigdata_chassis::{Deps, Service};
use bigdata_common::event::subscriptions;
use std::net::TcpListener;
use std::sync::Arc;

/// The registry's tables on both engines.
pub const MIGRATIONS: Migrations = Migrations { postgres: &POSTGRES, sqlite: &SQLITE };
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// The registry's queue on the bus.
const QUEUE: &str = "registry";

/// Why the registry does not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its address cannot be listened on.
    #[error("the registry cannot listen on {address}")]
    Listen {
        /// The address of the settings.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Its key file cannot be used.
    #[error("the registry's secrets cannot be sealed")]
    Vault(#[from] VaultError),
    /// Its database refuses.
    #[error("the registry's database cannot be used")]
    Database(#[from] sqlx::Error),
    /// The bus refuses.
    #[error("the registry's queue cannot be bound")]
    Bus(#[from] bigdata_chassis::bus::BusError),
    /// The program that renders templates is not known.
    #[error("this program's own path cannot be found out; set `program`")]
    Program(#[source] std::io::Error),
}

/// Starts the registry: it answers, takes events and keeps time from when this returns.
///
/// # Errors
/// See [`BuildError`].
pub async fn build(settings: Settings, deps: Deps) -> Result<Service, BuildError> {
    let failed = |source| BuildError::Listen { address: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let registry = Arc::new(registry::Registry::open(&settings, &deps).await?);
    messages::spawn(
        QUEUE,
        subscriptions::REGISTRY,
        &deps.bus,
        deps.db.clone(),
        deps.clock.clone(),
        &deps.tasks,
        Arc::new(consumer::Facts::new(Arc::clone(&registry))),
    )
    .await?;
    changes::spawn(Arc::clone(&registry), &deps.tasks);
    timer::spawn(Arc::clone(&registry), settings.timer_interval_ms, &deps.tasks);
    let routes = Arc::clone(&registry);
    let configure = move |config: &mut actix_web::web::ServiceConfig| http::routes(config, &routes);
    let address =
        server::serve(listener, settings.workers, &deps.internal_token, &deps.tasks, configure).map_err(failed)?;
    Ok(Service { address })
}
