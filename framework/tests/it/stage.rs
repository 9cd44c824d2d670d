//! What a test stands on: an engine, a registry, a bus, and the service.

use crate::registry::{self, Shared, Truth};
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::bus::{Bus, Subscription};
use bigdata_chassis::http::InternalClient;
use bigdata_chassis::messaging::relay::Relay;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Db, Deps, Tasks};
use bigdata_common::event::{Envelope, Event, subscriptions};
use bigdata_common::internal::{ClusterState, Desired, Specification};
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_common::{ClusterId, EventId, Timestamp};
use bigdata_framework::{MIGRATIONS, Overhead, Settings, build};
use bigdata_mesos::engine::{Engine, Settings as EngineSettings, Shutdown};
use bigdata_mesos::v1::{Attribute, Resource};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const LIMIT: Duration = Duration::from_secs(90);

pub(crate) struct Stage {
    pub folder: TempDir,
    /// None once it is lost.
    engine: Option<Engine>,
    pub master: String,
    pub truth: Shared,
    pub bus: Arc<dyn Bus>,
    pub events: Subscription,
    pub service: Option<Running>,
    registry: String,
    registry_tasks: Tasks,
    token: Token,
}

pub(crate) struct Running {
    pub client: InternalClient,
    pub tasks: Tasks,
    pub db: Db,
}

/// The example executor beside the test's own binary.
fn executor() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples").join("obedient_executor")
}

/// An engine with one small agent.
async fn engine(folder: PathBuf) -> Engine {
    let mut settings = EngineSettings::new("127.0.0.1:0".parse().unwrap(), folder);
    settings.attributes = vec![Attribute::text("bigdata_net", "loopback:test:127.77.0.0/24")];
    settings.resources = Some(vec![
        Resource::scalar("cpus", 4.0),
        Resource::scalar("mem", 2048.0),
        Resource::scalar("disk", 4096.0),
        Resource::ports([(31000, 31009)]),
    ]);
    Engine::start(settings).await.unwrap()
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let mut stage = Self::without_service().await;
        stage.start().await;
        stage
    }

    pub(crate) async fn without_service() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path().join("engine")).await;
        let master = format!("http://{}", engine.address());
        let truth: Shared = Arc::new(Mutex::new(Truth { id: uuid::Uuid::new_v4(), ..Truth::default() }));
        let (token, registry_tasks) = (Token::random(), Tasks::new());
        let registry = registry::serve(&truth, &token, &registry_tasks);
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::new());
        let events = bus.subscribe("test", subscriptions::REGISTRY).await.unwrap();
        let engine = Some(engine);
        Self { folder, engine, master, truth, bus, events, service: None, registry, registry_tasks, token }
    }

    /// Starts the service on the database that there is.
    pub(crate) async fn start(&mut self) {
        let url = format!("sqlite:{}", self.folder.path().join("framework.db").display());
        let db = Db::open(&url, "framework", MIGRATIONS).await.unwrap();
        self.service = Some(self.replica(db, Settings::default().lease_ms).await);
    }

    /// Starts a service beside those that there are.
    pub(crate) async fn replica(&self, db: Db, lease_ms: u64) -> Running {
        let tasks = Tasks::new();
        let deps = Deps {
            db: db.clone(),
            bus: Arc::clone(&self.bus),
            clock: Clock::system(),
            tasks: tasks.clone(),
            internal_token: self.token.clone(),
        };
        let settings = Settings {
            listen: "127.0.0.1:0".to_owned(),
            registry: self.registry.clone(),
            masters: vec![self.master.clone()],
            executor_command: vec![executor().display().to_string()],
            executor: Overhead { cpus: 0.1, mem: 32.0 },
            hold_ms: 200,
            reconcile_ms: 500,
            lease_ms,
            control_key: Some(Token::from_text("a key for tests")),
            ..Settings::default()
        };
        let service = build(settings, deps).await.unwrap();
        Relay::new(db.clone(), Arc::clone(&self.bus), Clock::system()).spawn(&tasks);
        let client = InternalClient::new(service.url(), self.token.clone()).unwrap();
        Running { client, tasks, db }
    }

    pub(crate) async fn stop(&mut self) {
        let running = self.service.take().unwrap();
        assert!(running.tasks.shut_down(LIMIT).await, "the service's tasks end");
        running.db.close().await;
    }

    /// The stopped service's database is gone.
    pub(crate) fn lose_database(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("framework.db")) {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// The master ends.
    pub(crate) async fn lose_master(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shutdown(Shutdown::StopExecutors).await;
        }
    }

    /// Waits until the service waits for nothing.
    pub(crate) async fn awaits_nothing(&self) {
        let readiness = self.service.as_ref().unwrap().tasks.readiness();
        let deadline = Instant::now() + LIMIT;
        while !readiness.awaited().is_empty() {
            assert!(Instant::now() < deadline, "{readiness:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the service says that it waits for `what`, with these words in its reason; it takes requests all the
    /// same.
    pub(crate) async fn awaits(&self, what: &str, words: &str) {
        let answer = async {
            loop {
                let request = self.client().request(reqwest::Method::GET, "/ready");
                let answer = self.client().exchange(request).await.unwrap();
                assert_eq!(answer.status(), 200);
                let told: Value = answer.json().await.unwrap();
                if told["waits_for"][what].as_str().is_some_and(|reason| reason.contains(words)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let told = tokio::time::timeout(LIMIT, answer).await;
        assert!(told.is_ok(), "not told: {:?}", self.service.as_ref().unwrap().tasks.readiness());
    }

    pub(crate) fn client(&self) -> &InternalClient {
        &self.service.as_ref().unwrap().client
    }

    pub(crate) async fn end(mut self) {
        if self.service.is_some() {
            self.stop().await;
        }
        self.lose_master().await;
        self.registry_tasks.shut_down(LIMIT).await;
    }

    /// Puts a cluster into the registry, and tells the framework.
    pub(crate) async fn register(&self, cluster: &ClusterId, nodes: Value) {
        let specification = specification(cluster, nodes);
        let state = ClusterState {
            cluster: cluster.clone(),
            revision: 1,
            generation: 1,
            status: ClusterStatus::Registered,
            desired: Desired::Run,
            termination: Termination::Wipe,
            force: false,
            placement_deadline: None,
            origin: None,
            side_runs: Vec::new(),
            nodes: Default::default(),
            leaving: Vec::new(),
            run: None,
            observed: IndexMap::new(),
        };
        self.truth.lock().unwrap().clusters.insert(cluster.clone(), (state, specification));
        self.tell(cluster, Event::ClusterRegistered {}).await;
    }

    /// Puts another revision of a cluster into the registry.
    pub(crate) fn revise(&self, cluster: &ClusterId, revision: u32, nodes: Value) {
        let specification = Specification { revision, ..specification(cluster, nodes) };
        self.truth.lock().unwrap().revisions.insert((cluster.clone(), revision), specification);
    }

    /// Changes what the registry says of a cluster.
    pub(crate) fn change(&self, cluster: &ClusterId, change: impl FnOnce(&mut ClusterState)) {
        change(&mut self.truth.lock().unwrap().clusters.get_mut(cluster).unwrap().0);
    }

    pub(crate) async fn tell(&self, cluster: &ClusterId, event: Event) {
        let envelope = Envelope {
            id: EventId(uuid::Uuid::now_v7()),
            cluster_id: cluster.clone(),
            revision: 1,
            at: Timestamp::from_millis(0),
            request_id: None,
            traceparent: None,
            event,
        };
        self.bus.publish(Arc::new(envelope)).await.unwrap();
    }

    /// The next event that `wanted` takes, past all others.
    pub(crate) async fn expect<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let delivery = self.events.next().await.expect("the bus lives");
                let envelope = delivery.envelope();
                delivery.ack().await;
                eprintln!("event: {}", serde_json::to_string(&envelope.event).unwrap());
                if let Some(found) = wanted(&envelope.event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("{what} did not happen"))
    }
}

fn specification(cluster: &ClusterId, nodes: Value) -> Specification {
    Specification {
        cluster: cluster.clone(),
        revision: 1,
        product: cluster.dn().product.clone(),
        product_revision: "1".to_owned(),
        blueprint: serde_json::from_value(json!({"dnsname": "test", "nodes": nodes, "services": {}})).unwrap(),
        options: Map::new(),
        orchestrator: String::new(),
        reach_network: false,
        run_deadline_ms: 1000,
    }
}
