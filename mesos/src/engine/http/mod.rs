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
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::effects::{Connection, Refusal};
use super::shell::Message;

/// Connections at once; each executor has one, and one more for a moment when it tells something.
const MAX_CONNECTIONS: usize = 4096;
/// For the next request of a connection, longer than clients keep idle ones.
const HEADER_LIMIT: Duration = Duration::from_secs(90);
/// After an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Body = BoxBody<Bytes, Infallible>;

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

    fn is_authorized(&self, request: &Request<Incoming>) -> bool {
        let Some(expected) = &self.authorization else { return true };
        let given = request.headers().get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
        same(given, expected.as_bytes())
    }
}

/// Compares without telling by its time where the difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b));
    left.len() == right.len() && differences == 0
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
    let expected = match path.as_str() {
        "/api/v1/scheduler" | "/api/v1/executor" => Method::POST,
        "/health" | "/state" => Method::GET,
        _ => return Ok(text(StatusCode::NOT_FOUND, "There is nothing here")),
    };
    if request.method() != expected {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "");
        let allowed = hyper::header::HeaderValue::from_static(if expected == Method::GET { "GET" } else { "POST" });
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    if !gate.is_for_us(&request) {
        return Ok(text(StatusCode::FORBIDDEN, "This is not the host that was asked for"));
    }
    let answered = match path.as_str() {
        "/health" => Ok(text(StatusCode::OK, "")),
        "/api/v1/executor" => calls::executor(gate, request).await,
        _ if !gate.is_authorized(&request) => return Ok(unauthorized()),
        "/state" => state(&gate).await,
        _ => calls::scheduler(gate, request).await,
    };
    Ok(answered.unwrap_or_else(|refusal| refused(&refusal)))
}

async fn state(gate: &Gate) -> Result<Response<Body>, Refusal> {
    let (reply, state) = oneshot::channel();
    // Where this fails, so does the next line.
    let _ = gate.messages.send(Message::State(reply)).await;
    let mut response = text(StatusCode::OK, &state.await?.to_string());
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn unauthorized() -> Response<Body> {
    let mut response = text(StatusCode::UNAUTHORIZED, "");
    let challenge = hyper::header::HeaderValue::from_static("Basic realm=\"mesos\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text(status, &refusal.reason)
}
