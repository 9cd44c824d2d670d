//! What a script can do while it runs: HTTP on a Unix socket of its own, and where it has the network the older system's
//! keys on a port of its own. The crate's documentation has the wire form.

mod backups;
mod forward;
mod frames;
mod kv;
mod loopback;
mod own;
mod wire;

pub(crate) use loopback::{Loopback, address_by_socket};

use crate::run::{Directory, Hold, Log, Mask};
use crate::service::Context;
use crate::store::Claim;
use bigdata_chassis::http::ApiError;
use bigdata_chassis::secret::Token;
use bigdata_common::Name;
use bigdata_common::api::problem::ProblemCode;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use wire::{Answer, BodyError, problem};

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
    /// What opens the older system's keys, and nothing else.
    keys_token: Token,
    keys: Mutex<kv::Seen>,
}

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// The script's Unix socket.
    Socket,
    /// The script's port, at which the older system's keys are and nothing else.
    Loopback,
}

/// What opens an attempt's doors.
pub(crate) struct Tokens {
    /// `BIGDATA_TOKEN`.
    pub(crate) own: Token,
    /// The one in `REGISTRY`.
    pub(crate) keys: Token,
}

impl Reach {
    /// The reach of an attempt.
    pub(crate) fn new(context: &Context, claim: &Claim, tokens: Tokens, mask: &Mask, log: &Log, hold: &Hold) -> Self {
        Self {
            context: context.clone(),
            claim: claim.clone(),
            token: tokens.own,
            mask: mask.clone(),
            log: log.clone(),
            hold: hold.clone(),
            progress_at: Mutex::new(tokio::time::Instant::now()),
            keys_token: tokens.keys,
            keys: Mutex::default(),
        }
    }
}

/// Makes the socket and serves it, and the port where there is one, until the handles are dropped.
pub(crate) fn serve(
    directory: &Directory,
    loopback: Option<Loopback>,
    reach: Reach,
) -> io::Result<Vec<AbortOnDropHandle<()>>> {
    let path = directory.socket();
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    directory.give(&path)?;
    let reach = Arc::new(reach);
    let port = loopback.map(|loopback| tokio::spawn(accept(loopback, Arc::clone(&reach), Door::Loopback)));
    let socket = tokio::spawn(accept(listener, reach, Door::Socket));
    Ok([Some(socket), port].into_iter().flatten().map(AbortOnDropHandle::new).collect())
}

/// Where a script's connections come in.
trait Listen {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection; the future says whether it is the script's.
    async fn next(&self) -> io::Result<(Self::Stream, impl Future<Output = bool> + Send + 'static)>;
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, impl Future<Output = bool> + Send + 'static)> {
        // The socket's modes let nobody else in.
        self.accept().await.map(|(stream, _)| (stream, std::future::ready(true)))
    }
}

async fn accept(listener: impl Listen, reach: Arc<Reach>, door: Door) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let (stream, is_the_scripts) = match listener.next().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "a script's connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let reach = Arc::clone(&reach);
        connections.spawn(async move {
            if is_the_scripts.await {
                serve_connection(stream, reach, door).await;
            }
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, reach: Arc<Reach>, door: Door) {
    let service = service_fn(move |request| {
        let reach = Arc::clone(&reach);
        async move { Ok::<_, Infallible>(answer(&reach, request, door).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(256 << 10);
    // A script that goes away in the middle of an answer is not an error.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(reach: &Reach, request: Request<Incoming>, door: Door) -> Answer {
    route(reach, request, door).await.unwrap_or_else(|error| problem(&error))
}

async fn route(reach: &Reach, request: Request<Incoming>, door: Door) -> Result<Answer, ApiError> {
    let path = request.uri().path().to_owned();
    let addressed = kv::address(&path);
    let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_let_in = match (addressed, door) {
        (Some((token, _)), _) => reach.keys_token.matches(token),
        (None, Door::Socket) => {
            presented.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| reach.token.matches(token))
        }
        (None, Door::Loopback) => false,
    };
    if !is_let_in {
        let detail = "the token is not this attempt's: give BIGDATA_TOKEN as the bearer token, or go by the address in \
                      REGISTRY as it stands there";
        return Err(ApiError::new(ProblemCode::Unauthenticated, detail));
    }
    if !reach.hold.is_good() {
        return Err(over());
    }
    if let Some(key) = addressed.map(|(_, key)| key).or_else(|| kv::key(&path)) {
        return kv::answer(reach, key, request).await;
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let method = request.method().clone();
    match (&method, segments.as_slice()) {
        (&Method::GET, ["v1", "cluster"]) => own::cluster(reach).await,
        (&Method::POST, ["v1", "progress"]) => own::progress(reach, request).await,
        (&Method::POST, ["v1", "output"]) => own::output(reach, request).await,
        (&Method::DELETE, ["v1", "output", key]) => own::withdraw(reach, key).await,
        (&Method::POST, ["v1", "backups"]) => backups::put(reach, request).await,
        (&Method::GET, ["v1", "backups", id]) => backups::get(reach, id).await,
        (method, ["v1", "nodes", node, what]) if forward::is_known(method, what) => {
            let detail = || format!("{node:?} is not the name of a node");
            let node: Name = node.parse().map_err(|_| ApiError::new(ProblemCode::UnknownNode, detail()))?;
            forward::node(reach, &node, what, request).await
        }
        _ => Err(ApiError::new(ProblemCode::UnknownRoute, format!("there is nothing at {method} {path}"))),
    }
}

/// The body for as long as the claim is held: whoever lost it sends and gets no more of it.
fn while_held<B>(body: B, hold: Hold) -> impl Body<Data = Bytes, Error = BodyError> + Send + 'static
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    StreamBody::new(BodyStream::new(body).map(move |frame: Result<Frame<Bytes>, B::Error>| match hold.is_good() {
        true => frame.map_err(Into::into),
        false => Err("this attempt is over: another one has taken its place".into()),
    }))
}

/// The answer to an attempt that another one has replaced, or may replace at any moment.
fn over() -> ApiError {
    ApiError::new(ProblemCode::Unauthenticated, "this attempt is over: another one has taken its place")
}
