//! Plain HTTP/1 to the agent: a connection per call, and one that stays for the events.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ExecutorEnvironment;
use crate::PROTOBUF;
use crate::v1::executor::Call;

/// How long the agent may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// hyper's smallest; events are collected elsewhere.
const BUFFER_BYTES: usize = 8192;
/// How much of a refusal's text is read.
const MAX_REASON_BYTES: usize = 1024;

/// Why a call was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("the agent at {0} cannot be reached")]
    Connect(String, #[source] std::io::Error),
    #[error("the agent's answer failed")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[from] hyper::http::Error),
    #[error("the agent does not answer")]
    Late,
    #[error("the agent refuses with {status}: {reason}")]
    Refused { status: StatusCode, reason: String },
}

impl TransportError {
    /// Whether the agent has said that it does not know this executor.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, TransportError::Refused { status, .. } if status.is_client_error())
    }
}

/// Makes a call, and returns the answer if its status is `expected`.
pub(super) async fn post(
    environment: &ExecutorEnvironment,
    call: &Call,
    expected: StatusCode,
) -> Result<Response<Incoming>, TransportError> {
    let answer = timeout(ANSWER_LIMIT, exchange(environment, call)).await;
    let response = answer.map_err(|_| TransportError::Late)??;
    if response.status() == expected {
        return Ok(response);
    }
    let status = response.status();
    let reason = timeout(ANSWER_LIMIT, reason_of(response)).await;
    Err(TransportError::Refused { status, reason: reason.unwrap_or_default() })
}

async fn exchange(environment: &ExecutorEnvironment, call: &Call) -> Result<Response<Incoming>, TransportError> {
    let endpoint = &environment.agent_endpoint;
    let refused = |error| TransportError::Connect(endpoint.clone(), error);
    let stream = TcpStream::connect(endpoint).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
    // Ends with the response, or when it is dropped.
    tokio::spawn(connection);
    let mut request = Request::post("/api/v1/executor")
        .header(HOST, endpoint)
        .header(CONTENT_TYPE, PROTOBUF)
        .header(ACCEPT, PROTOBUF)
        .header(CONNECTION, "close");
    if let Some(token) = &environment.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(call.encode_to_vec())))?;
    Ok(sender.send_request(request).await?)
}

async fn reason_of(mut response: Response<Incoming>) -> String {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = response.body_mut().frame().await {
        text.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if text.len() >= MAX_REASON_BYTES {
            text.truncate(MAX_REASON_BYTES);
            break;
        }
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}
