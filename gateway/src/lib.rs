//! The one public door of the platform: who asks, routing, node control, pages.
//!
//! Reading order: [`routes`] (everything that is answered, on one screen), [`server`] (what every request passes),
//! [`proxy`] (the hop to a service), [`control`] (the hop to a node's executor), [`pages`].
//!
//! **Invariant:** the gateway stores nothing, and its pages know nothing that the public API does not tell the same
//! caller. A request reaches a service with the principal that the gateway established, never with one it came with.

mod admin;
mod body;
mod control;
mod door;
mod dry_run;
mod explain;
mod headers;
mod observe;
mod pages;
mod proxy;
mod query;
mod readiness;
mod routes;
mod server;
mod settings;
mod state;

pub use settings::Settings;

use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Service, Tasks};
use std::net::{SocketAddr, TcpListener};

/// What the gateway is given by its composition root.
#[derive(Debug, Clone)]
pub struct GatewayDeps {
    /// The time.
    pub clock: Clock,
    /// Where it spawns its work, and learns that it shall end.
    pub tasks: Tasks,
    /// Proves one service to another.
    pub internal_token: Token,
}

/// Why the gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `listen` names an address that other machines reach.
    #[error(
        "the gateway listens on loopback only while there is no authentication, and {0} is not a loopback address; use 127.0.0.1 and, from afar, an SSH tunnel"
    )]
    NotLoopback(SocketAddr),
    /// `listen` is taken or not ours.
    #[error("the gateway cannot listen on {address}")]
    Listen {
        /// Where it should.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("the gateway's HTTP client cannot be made")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A page's template does not parse.
    #[error("the gateway's pages cannot be made")]
    Pages(#[from] tera::Error),
    /// The listener cannot be served.
    #[error("the gateway's server cannot be started")]
    Serve(#[source] std::io::Error),
}

/// Starts the gateway; it answers from when this returns, and ends with the tasks.
///
/// # Errors
/// See [`BuildError`].
pub async fn build(settings: Settings, deps: GatewayDeps) -> Result<Service, BuildError> {
    if !settings.listen.ip().is_loopback() {
        return Err(BuildError::NotLoopback(settings.listen));
    }
    let state = state::State::new(&settings, &deps)?;
    let address = settings.listen;
    let listener = TcpListener::bind(address).map_err(|source| BuildError::Listen { address, source })?;
    let address = server::serve(listener, settings.workers, state, &deps.internal_token, &deps.tasks)
        .map_err(BuildError::Serve)?;
    tracing::info!(%address, "the gateway answers");
    Ok(Service { address })
}
