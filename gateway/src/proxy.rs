//! The hop from the gateway to a service.

use crate::body::{self, Pauses};
use crate::headers::{self, Signature};
use crate::routes::Route;
use crate::state::Service;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use bigdata_chassis::http::ApiError;
use bigdata_chassis::http::client::is_not_leader;
use bigdata_chassis::trace::Cause;
use bigdata_common::Principal;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::frames;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::http::response::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The longest wait for a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest `?wait=`.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// Shorter than the services keep idle connections (75 s), so that none is used as it is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest body of an answer that is taken whole, in bytes.
const WHOLE_MAX: u64 = 64 * 1024;

/// The connections of one thread to the services.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Who asks, and under which names.
#[derive(Debug)]
pub(crate) struct Asking<'request> {
    /// The principal that the gateway established.
    pub(crate) principal: &'request Principal,
    /// The request's names.
    pub(crate) cause: &'request Cause,
    /// Proves the gateway to the services.
    pub(crate) signature: &'request Signature,
    /// The longest wait for the head of an answer, once the request is sent.
    pub(crate) answer_timeout: Duration,
    /// Cancelled when the gateway is to end: waits and streams end with it, everything else is brought to its end.
    pub(crate) end: CancellationToken,
}

impl Proxy {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self { client }
    }

    /// Sends the request on as it stands, and the answer back as it comes.
    ///
    /// # Errors
    /// 413 for a body beyond the route's limit, 503 where the service does not answer.
    pub(crate) async fn forward(
        &self,
        route: &Route,
        service: &Service,
        request: &HttpRequest,
        payload: web::Payload,
        asking: &Asking<'_>,
    ) -> Result<HttpResponse, ApiError> {
        let body = body::whole(request, payload, route).await?;
        let limit = answer_timeout(request.query_string(), asking.answer_timeout);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let waits = request.method().is_safe() && value(request.query_string(), "wait").is_some();
        let asked = tokio::time::timeout(limit, self.ask_around(service, request, path, body.clone(), asking));
        let answer = tokio::select! {
            answer = asked => answer,
            // Nothing is waited for any more: where it stands now is asked for instead.
            () = asking.end.cancelled(), if waits => {
                let path = without_patience(path);
                tokio::time::timeout(limit, self.ask_around(service, request, &path, body, asking)).await
            }
        };
        match answer.unwrap_or(Err(NoAnswer::Late(limit))) {
            Ok(answer) => Ok(relay(request, answer, &asking.end)),
            Err(no_answer) => Err(no_answer.of(service, request)),
        }
    }

    /// Asks one replica after the other for `path`, once round, until one answers. Another one is asked only where the
    /// request was surely not processed (no connection, another one leads) or changes nothing.
    async fn ask_around(
        &self,
        service: &Service,
        request: &HttpRequest,
        path: &str,
        body: Option<Bytes>,
        asking: &Asking<'_>,
    ) -> Result<Answer, NoAnswer> {
        let mut head = outgoing(request, Uri::default(), (), body.as_ref().map(|body| body.len() as u64))?;
        asking.signature.sign(head.headers_mut(), asking.principal);
        headers::name(head.headers_mut(), asking.cause);
        let body = body.unwrap_or_default();
        let members = &service.members;
        let mut round = members.round(Instant::now());
        let is_alone = round.len() == 1;
        // A connection may have been closed by the service just as it was taken.
        if is_alone && request.method().is_safe() {
            round.push(round[0]);
        }
        let mut round = round.into_iter().peekable();
        loop {
            let position = round.next().ok_or_else(|| NoAnswer::Broken("there is no replica to ask".into()))?;
            let is_last = round.peek().is_none();
            // Headers are copied only where somebody else may still be asked.
            let mut call = if is_last { std::mem::take(&mut head) } else { head.clone() };
            *call.uri_mut() = at(members.authority(position), path)?;
            match self.client.request(call.map(|()| Full::new(body.clone()))).await {
                Ok(answer) => {
                    let is_away = answer.status() == hyper::StatusCode::SERVICE_UNAVAILABLE;
                    let answer = Answer::take(answer).await;
                    match answer {
                        Ok(answer) if is_away && answer.is_not_leader() && !is_last => {}
                        Ok(answer) => {
                            if !is_away {
                                members.answered(position);
                            }
                            return Ok(answer);
                        }
                        Err(error) if is_last || !request.method().is_safe() => return Err(error),
                        Err(_) => {}
                    }
                }
                Err(error) => {
                    if error.is_connect() {
                        members.refused(position, Instant::now());
                    }
                    let may_go_on = if error.is_connect() { !is_alone } else { request.method().is_safe() };
                    if is_last || !may_go_on {
                        return Err(NoAnswer::Broken(error.into()));
                    }
                }
            }
        }
    }
}

/// The same address at a member.
fn at(member: &Authority, path: &str) -> Result<Uri, NoAnswer> {
    let uri = Uri::builder().scheme("http").authority(member.clone()).path_and_query(path).build();
    uri.map_err(|error| NoAnswer::Broken(error.into()))
}

/// A service's or node's answer on its way back.
pub(crate) struct Answer {
    head: Parts,
    body: AnswerBody,
}

/// Small bodies are taken whole, and leave with their head.
enum AnswerBody {
    Whole(Bytes),
    Pieces(Incoming),
}

impl Answer {
    /// Takes up an answer; reads its body where that is small.
    ///
    /// # Errors
    /// When a small body breaks off.
    pub(crate) async fn take(answer: Response<Incoming>) -> Result<Self, NoAnswer> {
        let (head, body) = answer.into_parts();
        let is_small = body.size_hint().exact().is_some_and(|length| length <= WHOLE_MAX);
        let body = if is_small {
            let read = body.collect().await.map_err(|error| NoAnswer::Broken(error.into()))?;
            AnswerBody::Whole(read.to_bytes())
        } else {
            AnswerBody::Pieces(body)
        };
        Ok(Self { head, body })
    }

    pub(crate) fn status(&self) -> hyper::StatusCode {
        self.head.status
    }

    fn is_not_leader(&self) -> bool {
        matches!(&self.body, AnswerBody::Whole(body) if is_not_leader(body))
    }
}

/// The client's request as it goes on: its method, body and the headers that may pass.
pub(crate) fn outgoing<Body>(
    request: &HttpRequest,
    uri: Uri,
    body: Body,
    length: Option<u64>,
) -> Result<Request<Body>, NoAnswer> {
    let method = match request.method().as_str() {
        // The services need not know HEAD: the gateway leaves the body out itself.
        "HEAD" => Method::GET,
        other => Method::from_bytes(other.as_bytes()).map_err(|error| NoAnswer::Broken(error.into()))?,
    };
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers::from_client(request.headers());
    if let Some(length) = length {
        outgoing.headers_mut().insert(hyper::header::CONTENT_LENGTH, length.into());
    }
    Ok(outgoing)
}

/// Waits for an answer; the time counts from when the request's body is on its way.
pub(crate) async fn within<Answer>(
    limit: Duration,
    sent: oneshot::Receiver<()>,
    answer: impl Future<Output = Answer>,
) -> Result<Answer, NoAnswer> {
    tokio::select! {
        answer = answer => Ok(answer),
        () = async { let _ = sent.await; tokio::time::sleep(limit).await } => Err(NoAnswer::Late(limit)),
    }
}

/// An answer on its way back to the client, untouched but for headers of the hop. A stream that goes on as things happen
/// ends with the gateway: whoever follows it asks another one for the rest.
pub(crate) fn relay(request: &HttpRequest, answer: Answer, end: &CancellationToken) -> HttpResponse {
    let Answer { head, body } = answer;
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    let mut pauses = Pauses::Short;
    for (name, value) in headers::from_upstream(&head.headers) {
        if name == "content-type" && value.as_bytes().starts_with(frames::MEDIA_TYPE.as_bytes()) {
            pauses = Pauses::Any;
        } else if name == "content-type" && is_stream(value.as_bytes()) {
            pauses = Pauses::Until(end.clone());
        }
        response.append_header((name, value));
    }
    if request.method() == actix_web::http::Method::HEAD {
        return response.finish();
    }
    match body {
        AnswerBody::Whole(body) => response.body(body),
        AnswerBody::Pieces(body) => {
            let follows = |pair: &str| pair.starts_with("follow") && !pair.ends_with("false");
            if request.query_string().split('&').any(follows) {
                pauses = Pauses::Until(end.clone());
            }
            body::relay(response, body, pauses)
        }
    }
}

/// Whether a content type is that of an answer that goes on as things happen.
fn is_stream(content_type: &[u8]) -> bool {
    [&b"text/event-stream"[..], b"application/x-ndjson", b"application/jsonl"]
        .iter()
        .any(|stream| content_type.starts_with(stream))
}

/// How long the head of an answer may take: longer where the client asks the service to wait for something.
fn answer_timeout(query: &str, usual: Duration) -> Duration {
    if value(query, "wait").is_none() {
        return usual;
    }
    let seconds = value(query, "timeout").and_then(|text| text.trim_end_matches('s').parse::<f64>().ok());
    let asked = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(WAIT_MAX);
    asked.min(WAIT_MAX) + usual
}

/// The first value of this parameter of a query.
fn value<'query>(query: &'query str, name: &str) -> Option<&'query str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The path of a wait with no time to wait.
fn without_patience(path: &str) -> String {
    let (address, query) = path.split_once('?').unwrap_or((path, ""));
    let kept = query.split('&').filter(|pair| !pair.starts_with("timeout=")).chain(["timeout=0"]);
    format!("{address}?{}", kept.collect::<Vec<_>>().join("&"))
}

/// Why a request brought no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// No connection, or one that broke.
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// None within this time.
    Late(Duration),
}

impl NoAnswer {
    fn of(self, service: &Service, request: &HttpRequest) -> ApiError {
        let name = service.name;
        match self {
            Self::Broken(cause) => {
                ApiError::unavailable(format!("the {name} does not answer now; try again in a moment"), cause)
            }
            Self::Late(limit) => {
                let doubt = if request.method().is_safe() { "" } else { "; whether it was done is not known" };
                let detail = format!("the {name} did not answer within {} s{doubt}", limit.as_secs());
                ApiError::new(ProblemCode::ServiceUnavailable, detail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_ended_asks_for_the_present_state() {
        for (path, expected) in [
            ("/c/1?wait=ready&timeout=60", "/c/1?wait=ready&timeout=0"),
            ("/c/1?timeout=60s&wait=ready&a=b", "/c/1?wait=ready&a=b&timeout=0"),
            ("/c/1?wait=ready", "/c/1?wait=ready&timeout=0"),
        ] {
            assert_eq!(without_patience(path), expected);
        }
    }

    #[test]
    fn a_wait_is_granted_the_time_that_it_asks_for() {
        for (query, seconds) in [
            ("", 30),
            ("timeout=60", 30),
            ("wait=ready&timeout=60", 90),
            ("wait=ready&timeout=60s", 90),
            ("timeout=5&wait=ready", 35),
            ("wait=ready", 630),
            ("wait=ready&timeout=86400", 630),
            ("wait=ready&timeout=-1", 630),
        ] {
            assert_eq!(answer_timeout(query, Duration::from_secs(30)), Duration::from_secs(seconds), "{query}");
        }
    }
}
