//! A gateway with three services behind it, for one test.

use crate::executor::Executor;
use crate::upstream::Upstream;
use bigdata_chassis::http::Upstreams;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Readiness, Tasks};
use bigdata_gateway::{GatewayDeps, Settings, build};
use reqwest::{Client, Method, RequestBuilder};
use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The longest that any single step of a test may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// What needs no more than a moment takes less than this, also on a busy machine: less than the limits of the services. Time
/// by which the machine itself is late is not counted.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Platform {
    pub(crate) address: SocketAddr,
    pub(crate) token: Token,
    pub(crate) upstream: Upstream,
    pub(crate) http: Client,
    tasks: Tasks,
}

impl Platform {
    /// Everything runs; one server plays all three services.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::start_as(Token::random(), |settings, _| adjust(settings)).await
    }

    /// With the internal token that other servers know, too; `adjust` is told where the usual one answers.
    pub(crate) async fn start_as(token: Token, adjust: impl FnOnce(&mut Settings, SocketAddr)) -> Self {
        let tasks = Tasks::new();
        let upstream = Upstream::start(&token, &tasks);
        let mut settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            registry: upstream.address.into(),
            framework: upstream.address.into(),
            orchestrator: upstream.address.into(),
            ..Settings::default()
        };
        adjust(&mut settings, upstream.address);
        let deps = GatewayDeps { clock: Clock::system(), tasks: tasks.clone(), internal_token: token.clone() };
        let address = build(settings, deps).await.unwrap().address;
        Self { address, token, upstream, http: client(), tasks }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// An executor that the framework grants access to from now on.
    pub(crate) async fn executor(&self) -> Executor {
        let executor = Executor::start(&self.tasks).await;
        self.upstream.grant(executor.grant());
        executor
    }

    /// What the gateway's process waits for.
    pub(crate) fn readiness(&self) -> &Readiness {
        self.tasks.readiness()
    }

    /// Ends the gateway in order; the platform's own upstream with it. True where nothing was cut.
    pub(crate) fn end(&self) -> impl Future<Output = bool> + use<> {
        let tasks = self.tasks.clone();
        async move { tasks.shut_down(LIMIT).await }
    }

    pub(crate) async fn stop(self) {
        assert!(self.tasks.shut_down(LIMIT).await, "the tasks end");
    }
}

pub(crate) fn client() -> Client {
    bigdata_chassis::http::client::install_tls_provider();
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.timeout(LIMIT).build().unwrap()
}

/// Where nobody listens.
pub(crate) fn nowhere() -> Upstreams {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    // Held for as long as the tests run: nobody else is given the port.
    std::mem::forget(socket);
    address.into()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually<Checking: Future<Output = bool>>(what: &str, condition: impl Fn() -> Checking) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
