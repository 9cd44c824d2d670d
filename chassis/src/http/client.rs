//! Calls from one service to another.

use super::upstreams::{InvalidUpstreams, Members, Upstreams};
use super::{ROLES_HEADER, USER_HEADER, caller};
use crate::secret::Token;
use crate::trace::Cause;
use bigdata_common::Principal;
use bigdata_common::api::problem::{Problem, ProblemCode};
use hyper::http::uri::Authority;
use reqwest::{Method, Request, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection is kept on which nothing is asked: less than the services keep theirs. A request on one that is just
/// being closed would be taken for one that may have been processed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call brought no answer of the type wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The other service answered with a problem.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// It did not answer, or not in a way that can be understood.
    #[error("the service at {url} does not answer as it should")]
    Unreachable {
        /// What was called.
        url: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClientError {
    /// Whether the answer was a 404.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == 404)
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientBuildError {
    /// The setting names no replicas.
    #[error(transparent)]
    Upstreams(#[from] InvalidUpstreams),
    /// The HTTP library refuses.
    #[error("the HTTP client cannot be made")]
    Http(#[from] reqwest::Error),
}

impl From<Infallible> for ClientBuildError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A client of one service, of however many replicas. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InternalClient {
    http: reqwest::Client,
    members: Arc<Members>,
    token: Token,
    principal: Option<Principal>,
}

impl InternalClient {
    /// A client of the service at `upstreams`: [`super::Upstreams`], or a text of that form
    /// (`http://127.0.0.1:4001,http://127.0.0.1:4002`).
    ///
    /// # Errors
    /// When the text names no service, or the HTTP client cannot be built.
    pub fn new<U>(upstreams: U, token: Token) -> Result<Self, ClientBuildError>
    where
        U: TryInto<Upstreams>,
        ClientBuildError: From<U::Error>,
    {
        let upstreams: Upstreams = upstreams.try_into()?;
        Self::of_members(Arc::new(upstreams.into()), token)
    }

    /// A client that shares what is known of the replicas with others who ask them.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn of_members(members: Arc<Members>, token: Token) -> Result<Self, ClientBuildError> {
        install_tls_provider();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .build()?;
        Ok(Self { http, members, token, principal: None })
    }

    /// The same client on behalf of a principal.
    pub fn on_behalf_of(&self, principal: &Principal) -> Self {
        Self { principal: Some(principal.clone()), ..self.clone() }
    }

    /// A client of each replica alone, for what one of them says of itself.
    pub fn replicas(&self) -> impl Iterator<Item = Self> {
        self.members.alone().map(|member| Self { members: Arc::new(member), ..self.clone() })
    }

    /// The base URL of the replica that is asked first now.
    pub fn base(&self) -> &str {
        self.members.base(self.members.preferred())
    }

    /// GET `path` (beginning with `/`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(self.send(self.request(Method::GET, path)).await?).await
    }

    /// POST `body` as JSON to `path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.read(self.send(self.request(Method::POST, path).json(body)).await?).await
    }

    /// A request to this service with the headers that it wants, for callers with a body or an answer of their own.
    /// [`Self::send`] and [`Self::exchange`] bring it to a replica that answers.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base())).bearer_auth(self.token.expose());
        if let Some(principal) = &self.principal {
            request = request
                .header(USER_HEADER, principal.user.as_str())
                .header(ROLES_HEADER, caller::roles_header(principal));
        }
        for (name, value) in Cause::current().child().headers() {
            request = request.header(name, value);
        }
        request
    }

    /// Sends a request; an answer of 400 or more is an error.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = self.exchange(request).await?;
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        let status = response.status();
        match response.json::<Problem>().await {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(ClientError::Unreachable {
                url: self.base().to_owned(),
                source: format!("it answered {status} without a problem").into(),
            }),
        }
    }

    /// Sends a request to one replica after the other, once round, until one answers; all within the request's time.
    ///
    /// Another one is asked only where the request was surely not processed (no connection, [`ProblemCode::NotLeader`])
    /// or changes nothing, and where its body is not a stream.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`]; an answer of any status is none.
    pub async fn exchange(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let started = Instant::now();
        let unreachable =
            |url: String, error: reqwest::Error| ClientError::Unreachable { url, source: Box::new(error) };
        let mut request = request.build().map_err(|error| unreachable(self.base().to_owned(), error))?;
        let limit = request.timeout().copied().unwrap_or(ANSWER_TIMEOUT);
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let mut round = self.members.round(started).into_iter().peekable();
        loop {
            let position = round.next().expect("the last one of the round ends the loop");
            let another = round.peek().and_then(|_| request.try_clone());
            direct(&mut request, self.members.authority(position));
            *request.timeout_mut() = Some(limit.saturating_sub(started.elapsed()));
            let url = request.url().to_string();
            match (self.http.execute(request).await, another) {
                (Ok(response), Some(another)) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    let (response, is_leader) =
                        with_whether_it_leads(response).await.map_err(|e| unreachable(url, e))?;
                    if is_leader {
                        self.members.answered(position);
                        return Ok(response);
                    }
                    request = another;
                }
                (Ok(response), _) => {
                    // Of a 503 it is not known who leads: the one that was asked first stays the first.
                    if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                        self.members.answered(position);
                    }
                    return Ok(response);
                }
                (Err(error), another) => {
                    // One that stands still takes connections, and holds up whoever it is asked for next.
                    if error.is_connect() || error.is_timeout() {
                        self.members.refused(position, Instant::now());
                    }
                    let may_go_on = error.is_connect() || (is_safe && !error.is_timeout());
                    match another.filter(|_| may_go_on && started.elapsed() < limit) {
                        Some(another) => request = another,
                        None => return Err(unreachable(url, error)),
                    }
                }
            }
        }
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let url = response.url().to_string();
        response.json().await.map_err(|error| ClientError::Unreachable { url, source: Box::new(error) })
    }
}

/// Lets the request go to this member.
fn direct(request: &mut Request, member: &Authority) {
    let url = request.url_mut();
    // Neither fails for a plain URL with the host and port of another one.
    let _ = url.set_host(Some(member.host()));
    let _ = url.set_port(member.port_u16());
}

/// Reads an answer of 503 whole: whether it is anything else than that another replica leads.
async fn with_whether_it_leads(response: Response) -> Result<(Response, bool), reqwest::Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await?;
    let is_leader = !is_not_leader(&body);
    let mut whole = hyper::Response::new(body);
    *whole.status_mut() = status;
    *whole.headers_mut() = headers;
    Ok((whole.into(), is_leader))
}

/// Whether the body of a 503 is the problem that says that another replica leads.
pub fn is_not_leader(body: &[u8]) -> bool {
    serde_json::from_slice::<Problem>(body).is_ok_and(|problem| problem.code == ProblemCode::NotLeader)
}

/// Chooses ring for this process's TLS, once: rustls refuses to choose by itself.
pub fn install_tls_provider() {
    // An error says that one is installed, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
