//! The hop from the gateway to a service.

use crate::body::{self, Outgoing, TooLarge, Upload};
use crate::headers::{self, RequestIds};
use crate::routes::Route;
use crate::state::Service;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use bigdata_chassis::http::ApiError;
use bigdata_chassis::secret::Token;
use bigdata_common::Principal;
use bigdata_common::api::problem::ProblemCode;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::future::Future;
use std::time::Duration;
use tokio::sync::oneshot;

/// The longest wait for a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest `?wait=`.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// Shorter than the services keep idle connections (actix: 5 s), so that none is used as it is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// The connections of one thread to the services.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    client: Client<HttpConnector, Outgoing>,
}

/// Who asks, and under which names.
#[derive(Debug)]
pub(crate) struct Asking<'request> {
    /// The principal that the gateway established.
    pub(crate) principal: &'request Principal,
    /// The request's names.
    pub(crate) ids: &'request RequestIds,
    /// Proves the gateway to the services.
    pub(crate) token: &'request Token,
    /// The longest wait for the head of an answer, once the request is sent.
    pub(crate) answer_timeout: Duration,
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
        let upload = Upload::begin(request, payload, route.body_max()).map_err(|TooLarge| too_large(route))?;
        let too_large_after_all = upload.watch();
        let is_empty = upload.length.unwrap_or(0) == 0;
        let answer = self.send(service, request, upload, asking).await;
        // A connection may have been closed by the service just as it was taken; asking again for what changes nothing is safe.
        let answer = match answer {
            Err(NoAnswer::Broken(_)) if is_empty && request.method().is_safe() => {
                let (_, sent) = oneshot::channel();
                self.send_parts(service, request, body::empty(), None, sent, asking).await
            }
            answer => answer,
        };
        match answer {
            Ok(answer) => Ok(relay(request, answer)),
            Err(_) if too_large_after_all() => Err(too_large(route)),
            Err(no_answer) => Err(no_answer.of(service, request)),
        }
    }

    async fn send(
        &self,
        service: &Service,
        request: &HttpRequest,
        upload: Upload,
        asking: &Asking<'_>,
    ) -> Result<Response<Incoming>, NoAnswer> {
        self.send_parts(service, request, upload.body, upload.length, upload.sent, asking).await
    }

    async fn send_parts(
        &self,
        service: &Service,
        request: &HttpRequest,
        body: Outgoing,
        length: Option<u64>,
        sent: oneshot::Receiver<()>,
        asking: &Asking<'_>,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme("http").authority(service.authority.clone()).path_and_query(path).build();
        let mut outgoing = outgoing(request, uri, body, length)?;
        headers::sign(outgoing.headers_mut(), asking.token, asking.principal);
        headers::name(outgoing.headers_mut(), asking.ids);
        let limit = answer_timeout(request.query_string(), asking.answer_timeout);
        within(limit, sent, self.client.request(outgoing)).await?.map_err(|error| NoAnswer::Broken(error.into()))
    }
}

/// The client's request as it goes on: its method, body and the headers that may pass.
pub(crate) fn outgoing(
    request: &HttpRequest,
    uri: Result<Uri, hyper::http::Error>,
    body: Outgoing,
    length: Option<u64>,
) -> Result<Request<Outgoing>, NoAnswer> {
    let method = match request.method().as_str() {
        // The services need not know HEAD: the gateway leaves the body out itself.
        "HEAD" => Method::GET,
        other => Method::from_bytes(other.as_bytes()).map_err(|error| NoAnswer::Broken(error.into()))?,
    };
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri.map_err(|error| NoAnswer::Broken(error.into()))?;
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

/// An answer on its way back to the client, untouched but for headers of the hop.
pub(crate) fn relay(request: &HttpRequest, answer: Response<Incoming>) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let (head, body) = answer.into_parts();
    let mut response = HttpResponse::build(status);
    let mut may_pause = false;
    for (name, value) in headers::from_upstream(&head.headers) {
        may_pause |= name == "content-type" && is_stream(value.as_bytes());
        response.append_header((name, value));
    }
    if request.method() == actix_web::http::Method::HEAD {
        return response.finish();
    }
    may_pause |= request.query_string().split('&').any(|pair| pair.starts_with("follow") && !pair.ends_with("false"));
    body::relay(response, body, may_pause)
}

/// Whether a content type is that of an answer that goes on as things happen.
fn is_stream(content_type: &[u8]) -> bool {
    [&b"text/event-stream"[..], b"application/x-ndjson", b"application/jsonl"]
        .iter()
        .any(|stream| content_type.starts_with(stream))
}

/// How long the head of an answer may take: longer where the client asks the service to wait for something.
fn answer_timeout(query: &str, usual: Duration) -> Duration {
    let value = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    if value("wait").is_none() {
        return usual;
    }
    let seconds = value("timeout").and_then(|(_, text)| text.trim_end_matches('s').parse::<f64>().ok());
    let asked = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(WAIT_MAX);
    asked.min(WAIT_MAX) + usual
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

/// 413 with the route's limit.
pub(crate) fn too_large(route: &Route) -> ApiError {
    let detail =
        format!("the body is larger than the {} MiB that this address takes", route.body_max() / (1024 * 1024));
    ApiError::new(ProblemCode::BodyTooLarge, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

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
