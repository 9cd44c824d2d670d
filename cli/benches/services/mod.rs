//! One of every service in this process, on a Postgres, a RabbitMQ and a Mesos engine, and a client of the gateway.

use crate::servers::Servers;
use bigdata_chassis::bus::Bus;
use bigdata_chassis::bus::rabbitmq::{BusSettings, RabbitBus};
use bigdata_chassis::db::{DatabaseSettings, Migrations};
use bigdata_chassis::http::client::install_tls_provider;
use bigdata_chassis::messaging::relay::Relay;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Db, Deps, Tasks};
use bigdata_framework::Overhead;
use bigdata_gateway::GatewayDeps;
use bigdata_mesos::engine::{self, Engine, Shutdown};
use bigdata_mesos::v1::{Attribute, Resource};
use reqwest::Method;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// The argument that makes this program an executor.
pub(crate) const EXECUTOR: &str = "obedient-executor";
/// The longest wait for a status, in seconds.
const WAIT: u64 = 120;
/// Shorter than the gateway keeps idle connections: none is used as it is being closed.
const IDLE: Duration = Duration::from_secs(3);
/// Connections of each service to the database.
const CONNECTIONS: u32 = 16;

const TEMPLATE: &str = r#"{"nodes": {"a": {"cpu": 0.1, "mem": 8, "command": "run"}}}"#;

/// Every service once; the gateway answers.
pub(crate) struct Services {
    pub(crate) gateway: SocketAddr,
    tasks: Tasks,
    engine: Engine,
}

/// What the services have in common.
struct Shared {
    postgres: String,
    bus: Arc<dyn Bus>,
    tasks: Tasks,
    token: Token,
}

impl Shared {
    /// What a service is given; its events leave through a relay.
    async fn deps(&self, service: &'static str, migrations: Migrations) -> Deps {
        let database = DatabaseSettings { url: self.postgres.clone(), connections: CONNECTIONS };
        let db = Db::open_with(&database, service, migrations).await.expect("Postgres answers");
        let (bus, tasks) = (Arc::clone(&self.bus), self.tasks.clone());
        Relay::new(db.clone(), Arc::clone(&bus), Clock::system()).spawn(&tasks);
        Deps { db, bus, clock: Clock::system(), tasks, internal_token: self.token.clone() }
    }
}

impl Services {
    pub(crate) async fn start(servers: &Servers, folder: &Path) -> Self {
        let (tasks, token) = (Tasks::new(), Token::random());
        let bus = BusSettings { url: servers.rabbitmq.clone(), ..BusSettings::default() };
        let bus: Arc<dyn Bus> = Arc::new(RabbitBus::connect(&bus, &tasks).expect("the broker's URL is read"));
        let shared = Shared { postgres: servers.postgres.clone(), bus, tasks: tasks.clone(), token };
        let engine = engine(folder).await;
        let program = Path::new(env!("CARGO_BIN_EXE_bigdata")).to_owned();
        let settings = bigdata_registry::Settings {
            key_file: folder.join("registry.key"),
            program: Some(program.clone()),
            ..bigdata_registry::Settings::default()
        };
        let deps = shared.deps("registry", bigdata_registry::MIGRATIONS).await;
        let registry = bigdata_registry::build(settings, deps).await.expect("the registry starts");
        let framework = framework(&shared, &engine, registry.url()).await;
        let gateway = free_address();
        let settings = bigdata_orchestrator::Settings {
            listen: "127.0.0.1:0".to_owned(),
            registry: registry.url(),
            gateway: format!("http://{gateway}"),
            work_dir: folder.join("run"),
            program,
            vault_key: folder.join("orchestrator.key"),
            ..bigdata_orchestrator::Settings::default()
        };
        let deps = shared.deps("orchestrator", bigdata_orchestrator::MIGRATIONS).await;
        let orchestrator = bigdata_orchestrator::build(settings, deps).await.expect("the orchestrator starts");
        let settings = bigdata_gateway::Settings {
            listen: gateway,
            registry: registry.address.into(),
            framework: framework.into(),
            orchestrator: orchestrator.address.into(),
            ..bigdata_gateway::Settings::default()
        };
        let deps = GatewayDeps { clock: Clock::system(), tasks: tasks.clone(), internal_token: shared.token.clone() };
        bigdata_gateway::build(settings, deps).await.expect("the gateway starts");
        Self { gateway, tasks, engine }
    }

    pub(crate) async fn end(self) {
        assert!(self.tasks.shut_down(Duration::from_secs(20)).await, "the services end");
        self.engine.shutdown(Shutdown::StopExecutors).await;
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port")
}

/// An engine with room for every cluster: its machine is larger than any.
async fn engine(folder: &Path) -> Engine {
    let settings = engine::Settings {
        attributes: vec![Attribute::text("bigdata_net", "loopback:bench:127.88.0.0/16")],
        resources: Some(vec![
            Resource::scalar("cpus", 100_000.0),
            Resource::scalar("mem", 1_000_000.0),
            Resource::scalar("disk", 1_000_000.0),
            Resource::ports([(31_000, 32_000)]),
        ]),
        ..engine::Settings::new(free_address(), folder.join("engine"))
    };
    Engine::start(settings).await.expect("the engine starts")
}

async fn framework(shared: &Shared, engine: &Engine, registry: String) -> SocketAddr {
    let executor = std::env::current_exe().expect("this program has a path");
    let settings = bigdata_framework::Settings {
        listen: "127.0.0.1:0".to_owned(),
        registry,
        masters: vec![format!("http://{}", engine.address())],
        executor_command: vec![executor.display().to_string(), EXECUTOR.to_owned()],
        executor: Overhead { cpus: 0.01, mem: 1.0 },
        control_key: Some(Token::random()),
        ..bigdata_framework::Settings::default()
    };
    let deps = shared.deps("framework", bigdata_framework::MIGRATIONS).await;
    bigdata_framework::build(settings, deps).await.expect("the framework starts").address
}

/// A client of the gateway with a connection of its own.
pub(crate) struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(crate) fn new(gateway: SocketAddr) -> Self {
        install_tls_provider();
        let limit = Duration::from_secs(WAIT + 10);
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(limit)
                .pool_idle_timeout(IDLE)
                .build()
                .expect("a client"),
            url: format!("http://{gateway}/bigdata/api/v1"),
        }
    }

    /// The answer's JSON, which must be one of success, and the time until it was read.
    fn ask(&self, method: Method, path: &str, body: &str) -> (Value, Duration) {
        let request = self.http.request(method, format!("{}/{path}", self.url));
        let request = request.header("content-type", "application/json").body(body.to_owned());
        self.runtime.block_on(async {
            let begun = Instant::now();
            let answer = request.send().await.expect("the gateway answers");
            let status = answer.status();
            let text = answer.text().await.expect("the answer is read");
            let took = begun.elapsed();
            assert!(status.is_success(), "{path}: {status}: {text}");
            (serde_json::from_str(&text).unwrap_or(Value::Null), took)
        })
    }

    /// Registers the product `bench` 1.0, whose clusters have one node and no script.
    pub(crate) fn register(&self) {
        self.ask(Method::POST, "products", &json!({"name": "bench", "version": "1.0"}).to_string());
        self.ask(Method::PUT, "products/bench/1.0/template", TEMPLATE);
    }

    /// Launches a cluster: its distinguished name, and how long the answer took.
    pub(crate) fn launch(&self) -> (String, Duration) {
        let (launched, took) = self.ask(Method::POST, "products/bench/1.0", "{}");
        (launched["dn"].as_str().unwrap_or_else(|| panic!("no launch but {launched}")).to_owned(), took)
    }

    /// Waits until the cluster has this status.
    pub(crate) fn wait(&self, dn: &str, status: &str) {
        let (entry, _) = self.ask(Method::GET, &format!("{dn}?wait={status}&timeout={WAIT}"), "");
        assert!(entry["data"]["status"] == json!(status), "{dn} is not {status} but {entry}");
    }

    /// Destroys a cluster and waits for its end.
    pub(crate) fn destroy(&self, dn: &str) {
        self.ask(Method::DELETE, dn, "");
        self.wait(dn, "destroyed");
    }
}
