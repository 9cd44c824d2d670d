//! A registry on port 0 over a database of its own, and what tests ask of it.

use bigdata_chassis::bus::Bus;
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::http::{ROLES_HEADER, USER_HEADER};
use bigdata_chassis::secret::Token;
use bigdata_chassis::testing::databases;
use bigdata_chassis::{Clock, Db, Deps, Tasks, on_db, on_tx};
use bigdata_common::blueprint::Blueprint;
use bigdata_common::event::{AttemptRef, Envelope, Event, NodeFact, RunRef, RunResult};
use bigdata_common::internal::{ClusterState, NodeObservation, RunRequest};
use bigdata_common::invariants::Invariants;
use bigdata_common::status::NodeStatus;
use bigdata_common::{AttemptId, ClusterId, EventId, Name, OperationId, RunId, Timestamp};
use bigdata_registry::cluster::course::Course;
use bigdata_registry::cluster::wanted::{NewRevision, Refused, Wanted};
use bigdata_registry::{MIGRATIONS, Settings, build, store};
use indexmap::IndexMap;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const API: &str = "/bigdata/api/v1";

/// The program that renders: the example beside the test program.
pub(crate) fn render_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/registry_child");
    assert!(program.exists(), "{} is missing; `cargo test -p bigdata-registry` builds it", program.display());
    program
}

pub(crate) struct Harness {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    bus: Arc<EmbeddedBus>,
    url: String,
    token: Token,
    http: reqwest::Client,
    pub(crate) tasks: Tasks,
    folder: PathBuf,
}

/// Runs the test on every database there is.
pub(crate) async fn on_every_database<F: AsyncFn(&Harness)>(test: F) {
    let folder = tempfile::tempdir().unwrap();
    for db in databases(folder.path(), MIGRATIONS).await {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let harness = Harness::start(db, clock, folder.path().to_owned()).await;
        test(&harness).await;
        assert!(harness.tasks.shut_down(Duration::from_secs(60)).await, "the registry's tasks end");
    }
}

impl Harness {
    async fn start(db: Db, clock: Clock, folder: PathBuf) -> Self {
        let (bus, tasks, token) = (Arc::new(EmbeddedBus::new()), Tasks::new(), Token::random());
        let deps = Deps {
            db: db.clone(),
            bus: Arc::clone(&bus) as Arc<dyn Bus>,
            clock: clock.clone(),
            tasks: tasks.clone(),
            internal_token: token.clone(),
        };
        let settings = Settings {
            key_file: folder.join("key"),
            program: Some(render_program()),
            timer_interval_ms: 20,
            ..Settings::default()
        };
        let service = build(settings, deps).await.unwrap();
        bigdata_chassis::http::client::install_tls_provider();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self { db, clock, bus, url: service.url(), token, http, tasks, folder }
    }

    /// A second registry on the same database.
    pub(crate) async fn replica(&self) -> Self {
        Self::start(self.db.clone(), self.clock.clone(), self.folder.clone()).await
    }

    pub(crate) fn request_as(&self, user: &str, roles: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(self.token.expose());
        request.header(USER_HEADER, user).header(ROLES_HEADER, roles)
    }

    /// A request of ann, who is a user and a publisher.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.request_as("ann", "user,publisher", method, &format!("{API}{path}"))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<String>) -> (StatusCode, Value) {
        answer(self.request(Method::PUT, path).body(body.into()).send().await.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::DELETE, path).send().await.unwrap()).await
    }

    /// Registers `demo/1.0` with this template, these options and this script.
    pub(crate) async fn product(&self, template: &str, options: &Value, script: Option<&str>) {
        let (status, _) = self.post("/products", json!({"name": "demo", "version": "1.0"})).await;
        assert!(status.is_success(), "{status}");
        for (part, body) in [("template", template.to_owned()), ("options", options.to_string())] {
            let (status, problem) = self.put(&format!("/products/demo/1.0/{part}"), body).await;
            assert_eq!(status, 204, "{part}: {problem}");
        }
        if let Some(script) = script {
            let (status, problem) = self.put("/products/demo/1.0/orchestrator", script).await;
            assert_eq!(status, 204, "{problem}");
        }
    }

    /// Launches `demo/1.0`.
    pub(crate) async fn launch(&self, options: Value) -> ClusterId {
        let (status, body) = self.post("/products/demo/1.0", options).await;
        assert_eq!(status, 202, "{body}");
        body["id"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn state(&self, cluster: &ClusterId) -> ClusterState {
        let request = self.request_as("x", "", Method::GET, &format!("/internal/v1/clusters/{cluster}"));
        request.send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn entry(&self, cluster: &ClusterId) -> Value {
        let (status, entry) = self.get(&format!("/{}", cluster.dn())).await;
        assert_eq!(status, 200, "{entry}");
        entry["data"].clone()
    }

    pub(crate) async fn status(&self, cluster: &ClusterId) -> String {
        self.entry(cluster).await["status"].as_str().unwrap().to_owned()
    }

    /// Sends a fact and waits until it is handled.
    pub(crate) async fn fact(&self, cluster: &ClusterId, event: Event) {
        let id = EventId(uuid::Uuid::now_v7());
        self.envelope(Envelope {
            id,
            cluster_id: cluster.clone(),
            revision: 1,
            at: self.clock.now(),
            request_id: None,
            traceparent: None,
            event,
        })
        .await;
    }

    pub(crate) async fn envelope(&self, envelope: Envelope) {
        self.bus.publish(Arc::new(envelope)).await.unwrap().wait().await.unwrap();
    }

    /// Sends what the framework says of a node.
    pub(crate) async fn node(
        &self,
        cluster: &ClusterId,
        node: &str,
        sequence: u64,
        status: NodeStatus,
        passing: Option<bool>,
    ) {
        self.fact(cluster, Event::NodeHealth(node_fact(self.clock.now(), 1, node, sequence, status, passing))).await;
    }

    /// The run that is wanted now, as the orchestrator would speak of it.
    pub(crate) async fn wanted_run(&self, cluster: &ClusterId) -> RunRef {
        let state = self.state(cluster).await;
        run_ref(state.run.as_ref().expect("a run is wanted"), state.generation)
    }

    /// Sends that a node runs, as the attempt, of the incarnation and the revision that are wanted.
    pub(crate) async fn runs(&self, cluster: &ClusterId, node: &str, sequence: u64, attempt: u32) {
        let wish = self.state(cluster).await.nodes[&node.parse::<Name>().unwrap()];
        self.observes(cluster, node, sequence, |observation| {
            observation.attempt.number = attempt;
            (observation.incarnation, observation.revision) = (wish.incarnation, wish.revision);
        })
        .await;
    }

    /// Sends what the framework says of a node that runs and passes, but for this.
    pub(crate) async fn observes(
        &self,
        cluster: &ClusterId,
        node: &str,
        sequence: u64,
        change: impl FnOnce(&mut NodeObservation),
    ) {
        let mut fact = node_fact(self.clock.now(), 1, node, sequence, NodeStatus::Running, Some(true));
        change(&mut fact.observation);
        self.fact(cluster, Event::NodeHealth(fact)).await;
    }

    /// Asks for a change of a cluster, as the routes do.
    pub(crate) async fn ask(&self, cluster: &ClusterId, wanted: Wanted) -> Result<OperationId, Refused> {
        let mut tx = self.db.begin().await?;
        let held = store::clusters::lock(&mut tx, cluster).await?.unwrap();
        let mut course = Course::new(&mut tx, held, self.clock.now());
        let operation = course.request(wanted).await?;
        course.store().await?;
        tx.commit().await?;
        Ok(operation)
    }

    /// A further revision of a cluster: the first one with its nodes changed.
    pub(crate) async fn revision(&self, cluster: &ClusterId, change: impl FnOnce(&mut Blueprint)) -> Box<NewRevision> {
        let mut tx = self.db.begin().await.unwrap();
        let (mut specification, terms) = store::clusters::revision_in(&mut tx, cluster, 1).await.unwrap().unwrap();
        change(&mut specification.blueprint);
        Box::new(NewRevision { specification, terms: terms.unwrap() })
    }

    pub(crate) async fn operation(&self, id: OperationId) -> Value {
        let (status, operation) = self.get(&format!("/operations/{id}")).await;
        assert_eq!(status, 200, "{operation}");
        operation
    }

    pub(crate) async fn end_run(&self, cluster: &ClusterId, run: &RunRef, result: RunResult) {
        self.fact(cluster, Event::RunEnded { run: run.clone(), result }).await;
    }

    /// The kinds of the events that wait in the outbox, in their order.
    pub(crate) async fn outbox(&self) -> Vec<Envelope> {
        let texts: Vec<String> = on_db!(self.db, pool => sqlx::query_scalar(
            "SELECT envelope FROM outbox ORDER BY event_id").fetch_all(pool).await)
        .unwrap();
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// What the registry finds of its invariants.
    pub(crate) async fn invariants(&self) -> Invariants {
        let request = self.request_as("x", "", Method::GET, "/internal/v1/invariants");
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// Changes the database behind the registry's back.
    pub(crate) async fn execute(&self, query: &'static str) {
        let mut tx = self.db.begin().await.unwrap();
        on_tx!(tx, connection => sqlx::query(query).execute(connection).await.map(drop)).unwrap();
        tx.commit().await.unwrap();
    }

    /// Writes a cluster's record behind the registry's back.
    pub(crate) async fn store_record(&self, cluster: &ClusterId, record: &str) {
        let mut tx = self.db.begin().await.unwrap();
        on_tx!(tx, connection => sqlx::query("UPDATE clusters SET record = $2 WHERE id = $1")
            .bind(cluster.to_string())
            .bind(record)
            .execute(connection)
            .await
            .map(drop))
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// Everything in a column.
    pub(crate) async fn texts(&self, table: &'static str, column: &'static str) -> Vec<String> {
        let query = format!("SELECT {column} FROM {table}");
        on_db!(self.db, pool => sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(pool).await).unwrap()
    }

    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let query = format!("SELECT COUNT(*) FROM {table}");
        on_db!(self.db, pool => sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(pool).await).unwrap()
    }
}

/// A run as the orchestrator would speak of it.
pub(crate) fn run_ref(run: &RunRequest, generation: u32) -> RunRef {
    let (operation, action, step) = (run.operation, run.action.clone(), run.step);
    RunRef { run: RunId(uuid::Uuid::new_v4()), operation, action, step, generation, attempt: 1 }
}

pub(crate) fn node_fact(
    now: Timestamp,
    generation: u32,
    node: &str,
    sequence: u64,
    status: NodeStatus,
    passing: Option<bool>,
) -> NodeFact {
    let gave_up = status == NodeStatus::Failed;
    // Each node has an attempt of its own.
    let attempt = node.bytes().fold(7_u128, |id, byte| id * 256 + u128::from(byte));
    NodeFact {
        node: node.parse::<Name>().unwrap(),
        generation,
        sequence,
        observation: NodeObservation {
            incarnation: 0,
            revision: 0,
            status,
            attempt: AttemptRef { id: AttemptId(uuid::Uuid::from_u128(attempt)), number: 1 },
            agent: "a1".to_owned(),
            host: "host1".to_owned(),
            address: "127.64.0.1".to_owned(),
            interfaces: Vec::new(),
            ports: IndexMap::new(),
            passing,
            observed_at: now,
            restarts: 0,
            reason: gave_up.then(|| "it exited with 3".to_owned()),
            last_lines: if gave_up { vec!["no such file".to_owned()] } else { Vec::new() },
            gave_up,
        },
    }
}

pub(crate) async fn answer(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
    (status, value)
}

/// Waits until a condition holds.
pub(crate) async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One node with health, and one without.
pub(crate) const PAIR: &str = r#"{
  "nodes": {
    "a": {"cpu": 1, "mem": {{ opts['mem'] }}, "command": ["sleep", "9"], "check_ports": "8080", "port": 8080,
          "env": {"PASSWORD": "{{ opts['password'] }}"}},
    "b": {"cpu": 0.5, "mem": 64, "command": "sleep 9", "disks": {"data": {"destination": "/data", "size": 10}},
          "networks": {"eth0": {"networkname": "admin", "type": "dynamic"}}}
  },
  "services": {"web": {"nodes": ["a"], "level": "{{ opts['level'] }}"}, "all": {"nodes": ["a", "b"]}}
}"#;

pub(crate) fn pair_options() -> Value {
    json!({
        "required": {"mem": 128},
        "optional": {"level": "info", "password": ""},
        "schema": {"mem": {"type": "integer", "minimum": 16, "maximum": 4096},
                   "password": {"type": "string", "secret": true, "generate": true}}
    })
}

pub(crate) const SCRIPT: &str = "#!/bin/sh\nexit 0\n";
