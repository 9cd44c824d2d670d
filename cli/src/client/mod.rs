//! Calls to the public API, or from within a product's script to the socket that it was given.

mod lines;
mod sse;

pub(crate) use lines::Lines;
pub(crate) use sse::{StreamEvent, follow};

use crate::failure::{Failure, chain};
use bigdata_common::api::PREFIX;
use bigdata_common::api::problem::Problem;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is kept on which nothing is asked: less than any proxy before the gateway is likely to, so that
/// none is used as it is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest wait for an answer that is not a stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How a request that finds a service or node away (503) is sent again: nothing happened.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For how long.
    limit: Duration,
    /// The wait between two tries.
    interval: Duration,
    /// Whether the user is told on standard error what is waited for.
    is_told: bool,
}

impl Patience {
    const NONE: Self = Self { limit: Duration::ZERO, interval: Duration::ZERO, is_told: false };
    /// Longer than a replica that stands still holds up one request of the gateway's, so that another replica is asked
    /// after it. The last line of a script that fails is its reason: nothing is told.
    const SCRIPT: Self = Self { limit: Duration::from_secs(40), interval: Duration::from_millis(250), is_told: false };
    /// Longer than the catalog takes to load on a slow machine; the interval is the `Retry-After` of the platform.
    const USER: Self = Self { limit: Duration::from_secs(60), interval: Duration::from_secs(1), is_told: true };
}

/// One platform, or one script's socket.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    bearer: Option<String>,
    patience: Patience,
}

impl Api {
    /// The public API of the platform at `url` (`http://127.0.0.1:5000`).
    ///
    /// # Errors
    /// When the URL is none.
    pub(crate) fn public(url: &str) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/');
        let parsed = reqwest::Url::parse(url).ok().filter(|parsed| matches!(parsed.scheme(), "http" | "https"));
        let Some(parsed) = parsed else {
            return Err(Failure::Usage(format!("{url:?} is no address of a platform; one is http://127.0.0.1:5000")));
        };
        let mut builder = builder();
        if parsed.scheme() == "http" {
            // Reading the system's certificates takes longer than most of the calls.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| Failure::of(&error))?;
        Ok(Self { http, base: format!("{url}{PREFIX}"), bearer: None, patience: Patience::NONE })
    }

    /// The socket that a product's script reaches its cluster by.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub(crate) fn script(socket: &Path, token: String) -> Result<Self, Failure> {
        let http = builder().tls_certs_only([]).unix_socket(socket).build().map_err(|error| Failure::of(&error))?;
        Ok(Self { http, base: "http://orchestrator/v1".to_owned(), bearer: Some(token), patience: Patience::SCRIPT })
    }

    /// The same, for what a user waits for: a request that finds a service away, or the catalog still being loaded, is sent
    /// again for a minute.
    pub(crate) fn patient(self) -> Self {
        Self { patience: Patience::USER, ..self }
    }

    /// A request to `path` (beginning with `/`) below the API's root, without a time limit: for streams.
    pub(crate) fn stream(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A request to `path` that must be answered soon.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.stream(method, path).timeout(ANSWER_TIMEOUT)
    }

    /// Sends a request; an answer of 400 or more is a failure. Inside a script, and where the API is [`Api::patient`], one
    /// that found a service or node away is sent again for a while: a script should not fail because a service was started
    /// again.
    ///
    /// # Errors
    /// The problem that was answered, or that nothing answers.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let Patience { limit, interval, is_told } = self.patience;
        let end = Instant::now() + limit;
        let mut request = request;
        let mut told = None;
        loop {
            let again = request.try_clone();
            match (self.send_once(request).await, again) {
                (Err(Failure::Problem(problem)), Some(again)) if problem.status == 503 && Instant::now() < end => {
                    if is_told && told.as_ref() != Some(&problem.detail) {
                        eprintln!("waiting for up to {} s: {}", limit.as_secs(), problem.detail);
                        told = Some(problem.detail);
                    }
                    tokio::time::sleep(interval).await;
                    request = again;
                }
                (result, _) => return result,
            }
        }
    }

    async fn send_once(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| Self::unreachable(&self.base, &error))?;
        let status = response.status();
        if status.as_u16() < 400 {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(problem.into()),
            Err(_) if status.as_u16() == 404 => Err(Failure::NotFound(format!("{} answered {status}", self.base))),
            Err(_) => Err(Failure::Unreachable {
                url: self.base.clone(),
                cause: format!("it answered {status}: {}", text.lines().next().unwrap_or_default()),
            }),
        }
    }

    /// GET `path`, read as JSON.
    ///
    /// # Errors
    /// See [`Api::send`]; also when the answer is not of the type wanted.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.request(Method::GET, path)).await
    }

    /// POST `body` as JSON to `path`; the answer's JSON.
    ///
    /// # Errors
    /// See [`Api::get`].
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.read(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a request and reads the answer as JSON.
    ///
    /// # Errors
    /// See [`Api::get`].
    pub(crate) async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.send(request).await?;
        let url = response.url().to_string();
        let body = response.bytes().await.map_err(|error| Self::unreachable(&url, &error))?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::Failed(format!("{url} answered what this version of bigdata does not understand: {error}"))
        })
    }

    fn unreachable(url: &str, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::TimedOut(format!("{url} did not answer in time"));
        }
        // The innermost cause says it (`Connection refused`); those above name the address again.
        let text = chain(error);
        let cause = text.rsplit(": ").next().unwrap_or(&text).to_owned();
        Failure::Unreachable { url: url.to_owned(), cause }
    }
}

fn builder() -> reqwest::ClientBuilder {
    bigdata_chassis::http::client::install_tls_provider();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .user_agent(concat!("bigdata/", env!("CARGO_PKG_VERSION")))
}

/// A text as one segment of a path or one value of a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_for_paths() {
        assert_eq!(escaped("a/b c?d=é.txt"), "a%2Fb%20c%3Fd%3D%C3%A9.txt");
    }

    #[test]
    fn an_address_must_be_one() {
        assert!(matches!(Api::public("127.0.0.1:5000"), Err(Failure::Usage(_))));
        assert!(Api::public("http://127.0.0.1:5000/").is_ok());
    }
}
