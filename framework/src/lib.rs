//! The framework service: places clusters' nodes on Mesos agents, and keeps them there.
//!
//! Reading order: [`Settings`], `core` (every decision, pure), `placement` (where nodes go, and why not), `store` (the
//! database), `driver` (the shell), `registry` (what is wanted), `http`.
//!
//! **Invariants:** what a call needs is stored before it leaves; at most one attempt of a node is not confirmed to have
//! ended; nothing that carries another registry's label, or none, is touched.

mod control;
mod core;
mod driver;
mod http;
mod placement;
mod registry;
mod settings;
mod store;

pub use settings::{Overhead, Settings, UidPool};

use crate::core::{Core, Policy, State};
use bigdata_chassis::bus::BusError;
use bigdata_chassis::db::Migrations;
use bigdata_chassis::http::{InternalClient, server};
use bigdata_chassis::messaging::consumer;
use bigdata_chassis::secret::random_bytes;
use bigdata_chassis::{Deps, Service};
use bigdata_common::event::subscriptions;
use control::ControlKeys;
use driver::{Commands, Driver, MesosSettings};
use http::Context;
use placement::Rules;
use registry::Registry;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// The schema of the service's database.
pub const MIGRATIONS: Migrations = Migrations { postgres: &POSTGRES, sqlite: &SQLITE };

/// Threads that answer requests.
const HTTP_WORKERS: usize = 1;
/// The wait between two tries to learn who the registry is.
const IDENTITY_RETRY: Duration = Duration::from_millis(500);

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

/// Builds the service: it answers when this returns, and subscribes at the master as soon as the registry has said who it is.
///
/// # Errors
/// See [`BuildError`].
pub async fn build(settings: Settings, deps: Deps) -> Result<Service, BuildError> {
    check(&settings)?;
    let listener = TcpListener::bind(&settings.listen)
        .map_err(|source| BuildError::Listen { address: settings.listen.clone(), source })?;
    let keys = settings
        .control_key
        .clone()
        .map(ControlKeys::new)
        .ok_or(BuildError::Setting { name: "control_key", detail: "the composition root must give it" })?;
    let client = InternalClient::new(settings.registry.clone(), deps.internal_token.clone())
        .map_err(|error| BuildError::Client(Box::new(error)))?;
    let state = store::load(&deps.db).await.map_err(|error| BuildError::Database(Box::new(error)))?;
    let (handle, commands) = driver::channel();
    let registry = Registry::new(client.clone(), handle.clone());
    let context = Context { driver: handle, registry: registry.clone(), keys, clock: deps.clock.clone() };
    let routes = move |config: &mut actix_web::web::ServiceConfig| http::routes(config, &context);
    let address = server::serve(listener, HTTP_WORKERS, &deps.internal_token, &deps.tasks, routes)
        .map_err(|source| BuildError::Listen { address: settings.listen.clone(), source })?;
    consumer::spawn(
        "framework",
        subscriptions::FRAMEWORK,
        &deps.bus,
        deps.db.clone(),
        deps.clock.clone(),
        &deps.tasks,
        Arc::new(registry.clone()),
    )
    .await?;
    registry.spawn_timer(Duration::from_millis(settings.reconcile_ms), &deps.tasks);
    let service = Service { address };
    let tasks = deps.tasks.clone();
    tasks.spawn("framework driver", drive(settings, service.url(), deps, client, state, commands));
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
    if settings.attempts == 0 {
        return refuse("attempts", "a node must be tried once at least");
    }
    if settings.uid_pool.is_some_and(|pool| pool.first == 0 || pool.first > pool.last) {
        return refuse("uid_pool", "it must go from a first uid other than 0 to a last one that is not lower");
    }
    Ok(())
}

/// Waits until it is known whose nodes these are, then runs the core.
async fn drive(settings: Settings, url: String, deps: Deps, client: InternalClient, state: State, commands: Commands) {
    let token = deps.tasks.token();
    let registry = tokio::select! {
        () = token.cancelled() => return,
        id = identity(&client, &deps) => id,
    };
    let policy = Policy {
        rules: Rules {
            role: settings.role.clone(),
            registry,
            principal: settings.principal.clone(),
            executor_cpus: settings.executor.cpus,
            executor_mem: settings.executor.mem,
        },
        url: settings.url.clone().unwrap_or(url),
        executor_command: settings.executor_command.clone(),
        executor_path: settings.executor_path.clone(),
        uid_pool: settings.uid_pool.map(|pool| (pool.first, pool.last)),
        attempts: settings.attempts,
        hold_ms: settings.hold_ms,
        release_limit_ms: settings.release_limit_ms,
        tell_again_ms: settings.reconcile_ms,
    };
    let core = Core::new(policy, state, random_bytes());
    Driver::new(core, deps, commands, MesosSettings::of(&settings)).run().await;
}

/// The registry's id. A database that belongs to another registry is not worked with: its nodes and volumes are not ours.
async fn identity(client: &InternalClient, deps: &Deps) -> String {
    loop {
        match learn_identity(client, deps).await {
            Ok(id) => return id,
            Err(error) => tracing::warn!(error, "the framework waits for its registry"),
        }
        tokio::time::sleep(IDENTITY_RETRY).await;
    }
}

async fn learn_identity(client: &InternalClient, deps: &Deps) -> Result<String, String> {
    let known = store::registry_id(&deps.db).await.map_err(|error| error.to_string())?;
    let told = Registry::id(client).await.map_err(|error| error.to_string())?.to_string();
    match known {
        Some(known) if known == told => Ok(told),
        Some(known) => Err(format!(
            "the registry is {told}, and this framework's nodes belong to {known}: nothing is done until it is the same"
        )),
        None => {
            store::set_registry_id(&deps.db, &told).await.map_err(|error| error.to_string())?;
            Ok(told)
        }
    }
}
