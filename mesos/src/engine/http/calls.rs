//! Calls of schedulers and executors.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::stream::EventStream;
use super::{BEARER, Body, Gate, text};
use crate::engine::backlog;
use crate::engine::effects::{Answer, Input, Refusal};
use crate::engine::shell::Message;
use crate::v1::{executor, scheduler};
use crate::{MAX_MESSAGE_BYTES, PROTOBUF, STREAM_ID};

/// How long a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn scheduler(gate: Arc<Gate>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let stream_id = header(request.headers(), STREAM_ID);
    let call: scheduler::Call = read(request).await?;
    let call = Box::new(call);
    if call.r#type() != scheduler::CallType::Subscribe {
        return called(&gate, Input::Call { stream_id, call }).await;
    }
    if stream_id.is_some() {
        return Err(Refusal::bad("Subscribe calls should not include the 'Mesos-Stream-Id' header"));
    }
    let stream_id = uuid::Uuid::new_v4().to_string();
    let connection = gate.next_connection();
    let input = Input::Subscribe { connection, stream_id: stream_id.clone(), call };
    let mut response = subscribed(&gate, connection, input).await?;
    // A UUID is a legal header's value.
    if let Ok(value) = HeaderValue::from_str(&stream_id) {
        response.headers_mut().insert(STREAM_ID, value);
    }
    Ok(response)
}

pub(super) async fn executor(gate: Arc<Gate>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let authorization = header(request.headers(), AUTHORIZATION.as_str());
    let token = authorization.and_then(|value| Some(value.strip_prefix(BEARER)?.to_owned()));
    let call: executor::Call = read(request).await?;
    let call = Box::new(call);
    if call.r#type() != executor::CallType::Subscribe {
        return called(&gate, Input::ExecutorCall { token, call }).await;
    }
    let connection = gate.next_connection();
    let input = Input::ExecutorSubscribe { connection, token, call };
    subscribed(&gate, connection, input).await
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Reads a message, if it is in the form that is spoken here.
async fn read<M: prost::Message + Default>(request: Request<Incoming>) -> Result<M, Refusal> {
    let content_type = header(request.headers(), CONTENT_TYPE.as_str());
    let content_type = content_type.ok_or_else(|| Refusal::bad("Expecting 'Content-Type' to be present"))?;
    if media_type(&content_type) != PROTOBUF {
        let reason = format!("Expecting 'Content-Type' of {PROTOBUF}");
        return Err(Refusal::with_status(415, reason));
    }
    let accept = header(request.headers(), ACCEPT.as_str()).unwrap_or_default();
    let accepted = |range: &str| [PROTOBUF, "application/*", "*/*"].contains(&media_type(range));
    if !accept.is_empty() && !accept.split(',').any(accepted) {
        let reason = format!("Expecting 'Accept' to allow {PROTOBUF}");
        return Err(Refusal::with_status(406, reason));
    }
    let body = Limited::new(request.into_body(), MAX_MESSAGE_BYTES).collect();
    let body = timeout(BODY_LIMIT, body).await.map_err(|_| Refusal::with_status(408, "The body is late"))?;
    let body = body.map_err(|error| Refusal::bad(format!("Failed to read the body: {error}")))?;
    let message = M::decode(body.to_bytes());
    message.map_err(|error| Refusal::bad(format!("Failed to parse body into Call protobuf: {error}")))
}

/// A media type without its parameters.
fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or("").trim()
}

async fn called(gate: &Gate, input: Input) -> Result<Response<Body>, Refusal> {
    let (reply, answer) = oneshot::channel();
    // Where this fails, so does the next line.
    let _ = gate.messages.send(Message::Call(input, reply)).await;
    answer.await??;
    Ok(text(StatusCode::ACCEPTED, ""))
}

async fn subscribed(
    gate: &Gate,
    connection: crate::engine::effects::Connection,
    input: Input,
) -> Result<Response<Body>, Refusal> {
    let (sender, events) = backlog::channel();
    // From now on its end is told, even if the caller goes away before the answer.
    let stream = EventStream::new(events, connection, gate.messages.clone());
    let (reply, answer) = oneshot::channel::<Answer>();
    let _ = gate.messages.send(Message::Subscribe(connection, sender, input, reply)).await;
    answer.await??;
    let mut response = Response::new(stream.boxed());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    Ok(response)
}
