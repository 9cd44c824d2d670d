//! Questions to the engine whose answers are read leniently: Podman knows states of containers that Docker does not, and a
//! client that knows Docker's alone takes none of such an answer.

use super::engine::Engine;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an answer may take: an engine may have much to do.
const LIMIT: Duration = Duration::from_mins(1);
/// The longest answer.
const BYTES_MAX: usize = 16 << 20;

/// Asks with GET; None: there is no such thing (404).
///
/// # Errors
/// In words, when the engine does not answer, or says that something is wrong.
pub(super) async fn get<T: DeserializeOwned>(engine: &Engine, path: &str) -> Result<Option<T>, String> {
    let (status, body) = ask(engine, Method::GET, path, Bytes::new()).await?;
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map(Some).map_err(|error| format!("{}: {error}", engine.name)),
        StatusCode::NOT_FOUND => Ok(None),
        status => Err(refused(engine, status, &body)),
    }
}

/// Asks for something that is done then, with POST.
///
/// # Errors
/// In words, when the engine does not answer, or does not do it.
pub(super) async fn post(engine: &Engine, path: &str, request: &Value) -> Result<(), String> {
    let (status, body) = ask(engine, Method::POST, path, request.to_string().into()).await?;
    if status.is_success() { Ok(()) } else { Err(refused(engine, status, &body)) }
}

fn refused(engine: &Engine, status: StatusCode, body: &[u8]) -> String {
    format!("{} answers {status}: {}", engine.name, String::from_utf8_lossy(body).trim())
}

async fn ask(engine: &Engine, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
    let asked = timeout(LIMIT, exchange(engine, method, path, body)).await;
    asked.map_err(|_| format!("{} does not answer", engine.name))?
}

async fn exchange(engine: &Engine, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{} does not answer: {error}", engine.name);
    let stream = UnixStream::connect(&engine.socket).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let request = Request::builder().method(method).uri(path).header(HOST, "engine");
    let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
    let request = request.map_err(|error| failed(&error))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BYTES_MAX).collect().await.map_err(|error| failed(&error))?;
        Ok((status, body.to_bytes()))
    };
    let connected = async {
        // Once it has ended there is nothing more to come, but what has come may not be taken yet.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answered => answer,
        () = connected => Err(failed(&"the connection ended")),
    }
}

/// A text as a part of a query.
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => encoded.push(byte.into()),
            other => {
                let _ = write!(encoded, "%{other:02X}");
            }
        }
        encoded
    })
}
