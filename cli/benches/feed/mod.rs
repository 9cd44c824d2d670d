//! A registry of its own, and those who speak with it: users who launch, a framework and an orchestrator that tell facts.

use bigdata_chassis::bus::rabbitmq::{BusSettings, RabbitBus};
use bigdata_chassis::bus::{Bus, Subscription};
use bigdata_chassis::db::DatabaseSettings;
use bigdata_chassis::http::{ROLES_HEADER, USER_HEADER, client};
use bigdata_chassis::messaging::relay::Relay;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Db, Deps, Tasks};
use bigdata_common::event::{AttemptRef, Envelope, Event, NodeFact, RunRef, RunResult, subscriptions};
use bigdata_common::internal::NodeObservation;
use bigdata_common::status::{ClusterStatus, NodeStatus};
use bigdata_common::{AttemptId, ClusterId, EventId, OperationId, RunId, Timestamp};
use bigdata_registry::{MIGRATIONS, Settings, build};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Clusters whose facts are told at the same time.
const ABREAST: usize = 64;
/// Facts that are published and not confirmed yet, at most.
const UNCONFIRMED: usize = 256;
/// Words of clusters that are ready, which wait until all facts are told: more than anybody launches for this.
const READY_MAX: usize = 100_000;
/// Launches at the same time.
const LAUNCHES: usize = 8;

const TEMPLATE: &str = r#"{"nodes": {"a": {"cpu": 1, "mem": 64, "command": "sleep 9"}}}"#;

/// A cluster, and the operation that launches it.
pub(crate) type Launched = (ClusterId, OperationId);

/// A registry that handles the events of so many clusters at a time.
pub(crate) struct Registry {
    url: String,
    http: reqwest::Client,
    token: Token,
    tasks: Tasks,
    /// The framework's and the orchestrator's own connection to the bus.
    peers: Arc<dyn Bus>,
    /// A word for each cluster that is ready.
    ready: mpsc::Receiver<()>,
}

impl Registry {
    pub(crate) async fn start(postgres: &str, rabbitmq: &str, lanes: usize, folder: &Path) -> Self {
        let (tasks, token) = (Tasks::new(), Token::random());
        let lanes = u16::try_from(lanes).expect("a few lanes");
        let database = DatabaseSettings { url: postgres.to_owned(), connections: u32::from(lanes) * 2 + 8 };
        let db = Db::open_with(&database, "registry", MIGRATIONS).await.expect("Postgres answers");
        let settings =
            BusSettings { url: rabbitmq.to_owned(), prefix: format!("lanes{lanes}"), lanes, ..BusSettings::default() };
        let connect = || Arc::new(RabbitBus::connect(&settings, &tasks).expect("the broker's URL is read"));
        let (bus, peers): (Arc<dyn Bus>, Arc<dyn Bus>) = (connect(), connect());
        let (sender, ready) = mpsc::channel(READY_MAX);
        for (queue, kinds) in [("framework", subscriptions::FRAMEWORK), ("orchestrator", subscriptions::ORCHESTRATOR)] {
            let subscription = peers.subscribe(queue, kinds).await.expect("the broker binds a queue");
            tasks.spawn("peer", hear(subscription, sender.clone()));
        }
        let deps = Deps {
            db: db.clone(),
            bus: Arc::clone(&bus),
            clock: Clock::system(),
            tasks: tasks.clone(),
            internal_token: token.clone(),
        };
        let settings = Settings {
            key_file: folder.join("key"),
            program: Some(env!("CARGO_BIN_EXE_bigdata").into()),
            ..Settings::default()
        };
        let service = build(settings, deps).await.expect("the registry starts");
        Relay::new(db, bus, Clock::system()).spawn(&tasks);
        client::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url: service.url(), http, token, tasks, peers, ready }
    }

    fn request(&self, method: Method, path: &str, body: String) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/bigdata/api/v1{path}", self.url));
        let request = request.bearer_auth(self.token.expose()).header(USER_HEADER, "ann");
        request.header(ROLES_HEADER, "user,publisher").header("content-type", "application/json").body(body)
    }

    /// Registers the product `bench` 1.0, whose clusters have one node and a script.
    pub(crate) async fn product(&self) {
        let product = json!({"name": "bench", "version": "1.0"}).to_string();
        for (method, path, body) in [
            (Method::POST, "/products", product.as_str()),
            (Method::PUT, "/products/bench/1.0/template", TEMPLATE),
            (Method::PUT, "/products/bench/1.0/orchestrator", "#!/bin/sh\nexit 0\n"),
        ] {
            let answer = self.request(method, path, body.to_owned()).send().await.expect("the registry answers");
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
        }
    }

    /// Launches so many clusters.
    pub(crate) async fn launch(self: &Arc<Self>, count: usize) -> Vec<Launched> {
        let (turns, mut launches) = (Arc::new(Semaphore::new(LAUNCHES)), JoinSet::new());
        for _ in 0..count {
            let (registry, turns) = (Arc::clone(self), Arc::clone(&turns));
            launches.spawn(async move {
                let _turn = turns.acquire().await;
                let answer = registry.request(Method::POST, "/products/bench/1.0", "{}".to_owned()).send().await;
                let body: Value = answer.expect("the registry answers").json().await.expect("JSON");
                let word = |key: &str| body[key].as_str().unwrap_or_else(|| panic!("no launch but {body}")).to_owned();
                (word("id").parse().expect("an id"), word("operation").parse().expect("an operation"))
            });
        }
        launches.join_all().await
    }

    /// Takes the clusters from `registered` to `ready` by the facts that the framework and the orchestrator tell.
    pub(crate) async fn feed(&mut self, clusters: &[Launched]) {
        let mut unconfirmed = JoinSet::new();
        for abreast in clusters.chunks(ABREAST) {
            for step in 0..FACTS {
                for launched in abreast {
                    let fact = Arc::new(fact(launched, step));
                    let confirmation = self.peers.publish(fact).await.expect("the broker takes a fact");
                    unconfirmed.spawn(confirmation.wait());
                    if unconfirmed.len() >= UNCONFIRMED {
                        confirmed(unconfirmed.join_next().await);
                    }
                }
            }
        }
        while let Some(one) = unconfirmed.join_next().await {
            confirmed(Some(one));
        }
        for _ in clusters {
            let word = tokio::time::timeout(Duration::from_secs(60), self.ready.recv()).await;
            word.expect("every cluster becomes ready").expect("the peers live on");
        }
    }

    pub(crate) async fn end(&self) {
        assert!(self.tasks.shut_down(Duration::from_secs(20)).await, "the registry ends");
    }
}

fn confirmed(one: Option<Result<Result<(), bigdata_chassis::bus::BusError>, tokio::task::JoinError>>) {
    one.expect("one is under way").expect("it ends").expect("the broker confirms a fact");
}

async fn hear(mut subscription: Subscription, ready: mpsc::Sender<()>) {
    while let Some(delivery) = subscription.next().await {
        if matches!(delivery.envelope().event, Event::ClusterStatus { new: ClusterStatus::Ready, .. }) {
            // Nobody listens any more at the end.
            let _ = ready.send(()).await;
        }
        delivery.ack().await;
    }
}

/// How many facts take a cluster from `registered` to `ready`, and how many transitions they are.
pub(crate) const FACTS: usize = 5;
pub(crate) const TRANSITIONS: usize = 5;

fn fact((cluster, operation): &Launched, step: usize) -> Envelope {
    let run = RunRef {
        run: RunId(Uuid::from_u128(1)),
        operation: *operation,
        action: "start".to_owned(),
        step: 0,
        generation: 1,
        attempt: 1,
    };
    let event = match step {
        0 => Event::PlacementWaiting { generation: 1, reasons: Vec::new() },
        1 => Event::NodeLaunching(node(1, NodeStatus::Launching)),
        2 => Event::NodeRunning(node(2, NodeStatus::Running)),
        3 => Event::RunStarted(run),
        _ => Event::RunEnded { run, result: RunResult::Succeeded {} },
    };
    let (id, at) = (EventId(Uuid::now_v7()), Clock::system().now());
    Envelope { id, cluster_id: cluster.clone(), revision: 1, at, request_id: None, traceparent: None, event }
}

fn node(sequence: u64, status: NodeStatus) -> NodeFact {
    NodeFact {
        node: "a".parse().expect("a name"),
        generation: 1,
        sequence,
        observation: NodeObservation {
            incarnation: 0,
            revision: 0,
            status,
            attempt: AttemptRef { id: AttemptId(Uuid::new_v4()), number: 1 },
            agent: "7f2d9c1e-0000-S1".to_owned(),
            host: "agent-1.example".to_owned(),
            address: "10.0.0.17".to_owned(),
            interfaces: Vec::new(),
            ports: Default::default(),
            passing: None,
            observed_at: Timestamp::from_millis(0),
            restarts: 0,
            reason: None,
            last_lines: Vec::new(),
            gave_up: false,
        },
    }
}
