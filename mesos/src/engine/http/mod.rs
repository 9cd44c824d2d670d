//! The HTTP API over the shell.

mod calls;
mod stream;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::effects::{Connection, Refusal};
use super::secret::same;
use super::shell::Message;

/// Connections at once; each executor has one, and one more for a moment when it tells something.
const MAX_CONNECTIONS: usize = 4096;
/// For the next request of a connection, longer than clients keep idle ones.
const HEADER_LIMIT: Duration = Duration::from_secs(90);
/// After an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Body = BoxBody<Bytes, Infallible>;

/// What the authorization of executors begins with.
const BEARER: &str = "Bearer ";

/// Who is asked what for, as Mesos tells its callers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Realm {
    Scheduler,
    ReadOnly,
    Executor,
}

impl Realm {
    /// `WWW-Authenticate`, with Mesos's names of the realms.
    fn challenge(self) -> &'static str {
        match self {
            Realm::Scheduler => "Basic realm=\"mesos-master-scheduler\"",
            Realm::ReadOnly => "Basic realm=\"mesos-master-readonly\"",
            Realm::Executor => "Bearer realm=\"mesos-agent-executor\"",
        }
    }
}

/// Between requests and the shell.
#[derive(Debug)]
pub(crate) struct Gate {
    messages: mpsc::Sender<Message>,
    connections: AtomicU64,
    /// The names that a browser may know this engine by.
    hosts: Vec<String>,
    authorization: Option<String>,
}

impl Gate {
    pub(crate) fn new(
        messages: mpsc::Sender<Message>,
        address: SocketAddr,
        hostname: String,
        credential: Option<(String, String)>,
    ) -> Self {
        let authorization = credential.map(|(principal, secret)| {
            let encoded = base64::prelude::BASE64_STANDARD.encode(format!("{principal}:{secret}"));
            format!("Basic {encoded}")
        });
        Gate {
            messages,
            connections: AtomicU64::new(1),
            hosts: vec![address.ip().to_string(), hostname, "localhost".to_owned()],
            authorization,
        }
    }

    fn next_connection(&self) -> Connection {
        Connection(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    /// A web page can reach loopback, and by its own name too: `Host` then tells.
    fn is_for_us(&self, request: &Request<Incoming>) -> bool {
        let host = request.headers().get(HOST).and_then(|value| value.to_str().ok());
        let Some(host) = host else { return false };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => host,
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        name.parse::<std::net::IpAddr>().is_ok() || self.hosts.iter().any(|one| one == name)
    }

    /// Whether the caller has shown what this kind of call asks for. Whether an executor's token is its own is found out
    /// with its call.
    fn is_authorized(&self, realm: Realm, request: &Request<Incoming>) -> bool {
        let given = request.headers().get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
        match (realm, &self.authorization) {
            (Realm::Executor, _) => given.starts_with(BEARER.as_bytes()),
            (Realm::Scheduler | Realm::ReadOnly, Some(expected)) => same(given, expected.as_bytes()),
            (Realm::Scheduler | Realm::ReadOnly, None) => true,
        }
    }
}

/// Serves connections until the task is ended.
pub(crate) async fn serve(listener: TcpListener, gate: Gate) {
    let gate = Arc::new(gate);
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Its connections end with this task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Latency matters here; without it the connection works as well.
        let _ = stream.set_nodelay(true);
        let gate = Arc::clone(&gate);
        connections.spawn(async move {
            let service = service_fn(|request| route(Arc::clone(&gate), request));
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_LIMIT)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::trace!(%error, "a connection ended");
            }
            drop(permit);
        });
    }
}

async fn route(gate: Arc<Gate>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let (expected, realm) = match path.as_str() {
        "/api/v1/scheduler" => (Method::POST, Some(Realm::Scheduler)),
        "/api/v1/executor" => (Method::POST, Some(Realm::Executor)),
        "/state" | "/master/state" => (Method::GET, Some(Realm::ReadOnly)),
        "/health" => (Method::GET, None),
        _ => return Ok(text(StatusCode::NOT_FOUND, "There is nothing here")),
    };
    if !gate.is_for_us(&request) {
        return Ok(text(StatusCode::FORBIDDEN, "This is not the host that was asked for"));
    }
    // Nothing else is said to those who do not say who they are.
    if let Some(realm) = realm
        && !gate.is_authorized(realm, &request)
    {
        return Ok(challenged(realm, text(StatusCode::UNAUTHORIZED, "")));
    }
    if request.method() != expected {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "");
        let allowed = HeaderValue::from_static(if expected == Method::GET { "GET" } else { "POST" });
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    let answered = match realm {
        None => Ok(text(StatusCode::OK, "")),
        Some(Realm::Executor) => calls::executor(gate, request).await,
        Some(Realm::ReadOnly) => state(&gate).await,
        Some(Realm::Scheduler) => calls::scheduler(gate, request).await,
    };
    Ok(answered.unwrap_or_else(|refusal| match realm {
        Some(realm) if refusal.status == 401 => challenged(realm, refused(&refusal)),
        _ => refused(&refusal),
    }))
}

async fn state(gate: &Gate) -> Result<Response<Body>, Refusal> {
    let (reply, state) = oneshot::channel();
    // Where this fails, so does the next line.
    let _ = gate.messages.send(Message::State(reply)).await;
    let mut response = text(StatusCode::OK, &state.await?.to_string());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn challenged(realm: Realm, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(realm.challenge()));
    response
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text(status, &refusal.reason)
}
