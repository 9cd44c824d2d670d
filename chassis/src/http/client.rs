//! Calls from one service to another.

use super::{ROLES_HEADER, USER_HEADER, caller};
use crate::secret::Token;
use bigdata_common::Principal;
use bigdata_common::api::problem::Problem;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

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

/// A client of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InternalClient {
    http: reqwest::Client,
    base: String,
    token: Token,
    principal: Option<Principal>,
}

impl InternalClient {
    /// A client of the service at `base` (`http://127.0.0.1:4001`).
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(base: impl Into<String>, token: Token) -> Result<Self, reqwest::Error> {
        install_tls_provider();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .build()?;
        Ok(Self { http, base: base.into(), token, principal: None })
    }

    /// The same client on behalf of a principal.
    pub fn on_behalf_of(&self, principal: &Principal) -> Self {
        Self { principal: Some(principal.clone()), ..self.clone() }
    }

    /// The service's base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET `path` (beginning with `/`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::GET, path)).await?;
        self.read(path, response).await
    }

    /// POST `body` as JSON to `path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::POST, path).json(body)).await?;
        self.read(path, response).await
    }

    /// A request to this service with the headers that it wants, for callers with a body or an answer of their own.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(self.token.expose());
        if let Some(principal) = &self.principal {
            request = request
                .header(USER_HEADER, principal.user.as_str())
                .header(ROLES_HEADER, caller::roles_header(principal));
        }
        request
    }

    /// Sends a request; an answer of 400 or more is an error.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let unreachable =
            |error: reqwest::Error| ClientError::Unreachable { url: self.base.clone(), source: Box::new(error) };
        let response = request.send().await.map_err(unreachable)?;
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        let status = response.status();
        match response.json::<Problem>().await {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(ClientError::Unreachable {
                url: self.base.clone(),
                source: format!("it answered {status} without a problem").into(),
            }),
        }
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, response: Response) -> Result<T, ClientError> {
        response
            .json()
            .await
            .map_err(|error| ClientError::Unreachable { url: format!("{}{path}", self.base), source: Box::new(error) })
    }
}

/// Chooses ring for this process's TLS, once: rustls refuses to choose by itself.
pub fn install_tls_provider() {
    // An error says that one is installed, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
