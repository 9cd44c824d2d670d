//! What a script can do while it runs: HTTP on a Unix socket of its own. The crate's documentation has the wire form.

mod forward;
mod frames;
mod own;
mod wire;

use crate::run::{Directory, Hold, Log, Mask};
use crate::service::Context;
use crate::store::Claim;
use bigdata_chassis::http::ApiError;
use bigdata_chassis::secret::Token;
use bigdata_common::Name;
use bigdata_common::api::problem::ProblemCode;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use wire::{Answer, problem};

/// Connections served at a time; more wait.
const CONNECTIONS_MAX: usize = 32;
/// The longest wait for a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// What an attempt's socket gives access to.
pub(crate) struct Reach {
    context: Context,
    claim: Claim,
    token: Token,
    mask: Mask,
    log: Log,
    hold: Hold,
    /// When progress may be told next.
    progress_at: Mutex<tokio::time::Instant>,
}

impl Reach {
    /// The reach of an attempt.
    pub(crate) fn new(context: &Context, claim: &Claim, token: Token, mask: &Mask, log: &Log, hold: &Hold) -> Self {
        Self {
            context: context.clone(),
            claim: claim.clone(),
            token,
            mask: mask.clone(),
            log: log.clone(),
            hold: hold.clone(),
            progress_at: Mutex::new(tokio::time::Instant::now()),
        }
    }
}

/// Makes the socket and serves it until the handle is dropped.
pub(crate) fn serve(directory: &Directory, reach: Arc<Reach>) -> io::Result<AbortOnDropHandle<()>> {
    let path = directory.socket();
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    directory.give(&path)?;
    Ok(AbortOnDropHandle::new(tokio::spawn(accept(listener, reach))))
}

async fn accept(listener: UnixListener, reach: Arc<Reach>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a script's connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let reach = Arc::clone(&reach);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let reach = Arc::clone(&reach);
                async move { Ok::<_, Infallible>(answer(&reach, request).await) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(64 << 10);
            // A script that goes away in the middle of an answer is not an error.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(reach: &Reach, request: Request<Incoming>) -> Answer {
    route(reach, request).await.unwrap_or_else(|error| problem(&error))
}

async fn route(reach: &Reach, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !presented.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| reach.token.matches(token)) {
        let detail = "the token is not this attempt's: give BIGDATA_TOKEN as the bearer token";
        return Err(ApiError::new(ProblemCode::Unauthenticated, detail));
    }
    if !reach.hold.is_good() {
        return Err(over());
    }
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let method = request.method().clone();
    match (&method, segments.as_slice()) {
        (&Method::GET, ["v1", "cluster"]) => own::cluster(reach).await,
        (&Method::POST, ["v1", "progress"]) => own::progress(reach, request).await,
        (&Method::POST, ["v1", "output"]) => own::output(reach, request).await,
        (method, ["v1", "nodes", node, what]) if forward::is_known(method, what) => {
            let detail = || format!("{node:?} is not the name of a node");
            let node: Name = node.parse().map_err(|_| ApiError::new(ProblemCode::UnknownNode, detail()))?;
            forward::node(reach, &node, what, request).await
        }
        _ => Err(ApiError::new(ProblemCode::UnknownRoute, format!("there is nothing at {method} {path}"))),
    }
}

/// The answer to an attempt that another one has replaced, or may replace at any moment.
fn over() -> ApiError {
    ApiError::new(ProblemCode::Unauthenticated, "this attempt is over: another one has taken its place")
}
