//! The node's control channel: HTTPS under the executor's own certificate, for the gateway and no one else.

mod answer;
mod attempts;
mod exec;
mod figures;
mod files;
mod frames;
mod input;
mod log;
mod query;
mod stats;

pub use attempts::Attempts;

use crate::node::{Fixture, Handle, Wish};
use crate::token::ControlKey;
use answer::{Answer, Body, Failure, json};
use bigdata_common::Name;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::internal::{SILENCE_LOOKED_AT, SILENCE_LOOKS};
use exec::Execs;
use figures::Figures;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use query::Query;
use socket2::{SockRef, TcpKeepalive};
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Connections at a time: the followers of logs hold theirs.
const CONNECTIONS_MAX: usize = 64;
/// How long a caller may take for the handshake, and for a request's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// The wait after a connection could not be accepted (no descriptors are left).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What is read of a refused request's body at most: a file somewhat longer than one may be.
const DRAIN_BYTES_MAX: usize = 80 << 20;
/// How long that may take.
const DRAIN_LIMIT: Duration = Duration::from_mins(1);
const ROUTES: [&str; 8] =
    ["/v1/exec", "/v1/start", "/v1/stop", "/v1/restart", "/v1/logs", "/v1/stats", "/v1/health", "/v1/files"];

/// What the control channel works on.
pub struct Control {
    fixture: Rc<Fixture>,
    node: Handle,
    key: ControlKey,
    execs: Execs,
    attempts: Attempts,
    figures: Figures,
}

impl Control {
    /// The control channel of a node.
    pub fn new(fixture: Rc<Fixture>, node: Handle, key: ControlKey, attempts: Attempts) -> Self {
        Self { fixture, node, key, execs: Execs::new(), attempts, figures: Figures::default() }
    }

    /// Serves until the process ends. Runs on the current thread's local set.
    pub async fn serve(self, listener: TcpListener, acceptor: TlsAcceptor) {
        let control = Rc::new(self);
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let permit = Arc::clone(&connections).acquire_owned().await.expect("the semaphore is never closed");
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a control connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (control, acceptor) = (Rc::clone(&control), acceptor.clone());
            tokio::task::spawn_local(async move {
                control.connection(stream, acceptor).await;
                drop(permit);
            });
        }
    }

    async fn connection(self: Rc<Self>, stream: TcpStream, acceptor: TlsAcceptor) {
        if let Err(error) = look_at_silence(&stream) {
            tracing::warn!(%error, "a caller that is gone with its machine is not noticed");
        }
        let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else { return };
        let service = service_fn(move |request| {
            let control = Rc::clone(&self);
            async move { Ok::<_, Infallible>(control.answer(request).await) }
        });
        // A caller that goes away in the middle is no event worth a line.
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_buf_size(256 << 10)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut body = Some(body);
        let (answered, patience) = match self.caller(&head) {
            Ok(caller) => {
                tracing::debug!(%caller, method = %head.method, path = head.uri.path(), "control");
                (self.route(&head, &mut body).await, DRAIN_LIMIT)
            }
            // Strangers hold no connection for long.
            Err(failure) => (Err(failure), PATIENCE),
        };
        if answered.is_err()
            && let Some(body) = &mut body
        {
            drain(body, patience).await;
        }
        answered.unwrap_or_else(Failure::into_response)
    }

    fn caller(&self, head: &Parts) -> Result<Name, Failure> {
        let refuse = |detail: String| Failure::new(ProblemCode::Unauthenticated, detail);
        let header = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| refuse("a token is wanted: Authorization: Bearer TOKEN".to_owned()))?;
        let attempt = self.fixture.surroundings.node.attempt.id;
        self.key.verify(token, attempt, crate::now()).map_err(|error| refuse(error.to_string()))
    }

    /// `taken` is the request's body; a command's input is taken out of it, and read while the reply is sent.
    async fn route(&self, head: &Parts, taken: &mut Option<Incoming>) -> Answer {
        let caller = self.attempts.admit(&head.headers)?;
        let query = Query::parse(head.uri.query().unwrap_or_default())?;
        let (method, path) = (&head.method, head.uri.path());
        match (path, method) {
            ("/v1/exec", &Method::POST) => {
                exec::exec(&self.fixture, self.node.observed(), &self.execs, caller, head, taken).await
            }
            ("/v1/start", &Method::POST) => self.wish(Wish::Start, "started").await,
            ("/v1/stop", &Method::POST) => self.wish(Wish::Stop, "stopped").await,
            ("/v1/restart", &Method::POST) => self.wish(Wish::Restart, "started").await,
            ("/v1/logs", &Method::GET) => log::log(&self.fixture, self.node.observed(), &query),
            ("/v1/stats", &Method::GET) => stats::stats(&self.fixture, &self.node, &self.figures).await,
            ("/v1/health", &Method::GET) => stats::health(&self.node),
            ("/v1/files", &Method::GET) => files::get(&self.fixture, &query).await,
            ("/v1/files", &Method::PUT) => files::put(&self.fixture, &query, head, taken).await,
            (known, _) if ROUTES.contains(&known) => {
                Err(Failure::new(ProblemCode::MethodNotAllowed, format!("{method} {path}")))
            }
            _ => Err(Failure::new(ProblemCode::UnknownRoute, path)),
        }
    }

    async fn wish(&self, wish: Wish, status: &str) -> Answer {
        match self.node.wish(wish).await {
            Ok(()) => json(&serde_json::json!({ "status": status })),
            Err(reason) => Err(Failure::new(ProblemCode::WrongStatus, reason)),
        }
    }
}

/// Has the kernel find out that the other end is gone with its machine: a command ends with its caller.
fn look_at_silence(stream: &TcpStream) -> io::Result<()> {
    let (pause, looks) = SILENCE_LOOKS;
    let keepalive = TcpKeepalive::new().with_time(SILENCE_LOOKED_AT).with_interval(pause).with_retries(looks);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Takes what a refused caller still sends, within bounds: one that is cut off in the middle never sees the answer.
async fn drain(body: &mut Incoming, patience: Duration) {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > DRAIN_BYTES_MAX {
                return;
            }
        }
    };
    // A caller slower than that is cut off.
    let _ = timeout(patience, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn callers_that_are_silent_are_looked_at() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, _caller) = tokio::join!(listener.accept(), caller);
        let (stream, _) = accepted.unwrap();
        look_at_silence(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENCE_LOOKED_AT);
        let looks = (socket.tcp_keepalive_interval().unwrap(), socket.tcp_keepalive_retries().unwrap());
        assert_eq!(looks, SILENCE_LOOKS);
    }
}
