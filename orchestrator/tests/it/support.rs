//! A service between a registry, a gateway and a bus that the test drives.

use crate::surroundings::{Cluster, Surroundings, sample};
use bigdata_chassis::bus::Bus;
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::http::{ClientError, InternalClient};
use bigdata_chassis::messaging::relay::Relay;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Db, Deps, Tasks, testing};
use bigdata_common::api::cluster::{LogLine, LogPage};
use bigdata_common::event::{Envelope, Event, RunResult, subscriptions};
use bigdata_common::internal::RunRequest;
use bigdata_common::{ClusterId, EventId, OperationId, Principal};
use bigdata_orchestrator::{MIGRATIONS, Settings};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// Beyond any honest duration; reached only by a fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain waited for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All that a service needs to be built, here or in another process.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Seat {
    pub(crate) folder: PathBuf,
    /// The database's URL, and its schema on Postgres.
    pub(crate) database: (String, String),
    pub(crate) registry: String,
    pub(crate) gateway: String,
    pub(crate) token: String,
}

pub(crate) struct Built {
    pub(crate) url: String,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) tasks: Tasks,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Built {
    /// What its relay has published.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

impl Seat {
    pub(crate) async fn build(&self, change: impl FnOnce(&mut Settings)) -> Built {
        self.build_with(change, Clock::system()).await
    }

    /// A service on the same seat in a process of its own.
    pub(crate) fn elsewhere(&self, lease_ms: u64) -> std::process::Child {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["role", "service", &serde_json::to_string(self).unwrap(), &lease_ms.to_string()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The service's database, as somebody else sees it.
    pub(crate) async fn database(&self) -> Db {
        let (url, schema) = self.database.clone();
        Db::open(&url, Box::leak(schema.into_boxed_str()), MIGRATIONS).await.unwrap()
    }

    pub(crate) async fn build_with(&self, change: impl FnOnce(&mut Settings), clock: Clock) -> Built {
        let mut settings = Settings {
            listen: "127.0.0.1:0".into(),
            registry: self.registry.clone(),
            gateway: self.gateway.clone(),
            work_dir: self.folder.join("work"),
            program: std::env::current_exe().unwrap(),
            vault_key: self.folder.join("key"),
            reconcile_interval_ms: 200,
            ..Settings::default()
        };
        change(&mut settings);
        let db = self.database().await;
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::new());
        let tasks = Tasks::new();
        // The bus keeps nothing for who comes later: what is told from the service's beginning on is to be seen.
        let events = collect(&bus, &tasks).await;
        let internal_token = Token::from_text(&self.token);
        let deps =
            Deps { db: db.clone(), bus: bus.clone(), clock: clock.clone(), tasks: tasks.clone(), internal_token };
        let service = bigdata_orchestrator::build(settings, deps).await.unwrap();
        Relay::new(db, bus.clone(), clock).spawn(&tasks);
        Built { url: service.url(), bus, tasks, events }
    }
}

/// A service under test with everything around it.
pub(crate) struct World {
    /// Held for as long as the world is.
    _folder: TempDir,
    pub(crate) seat: Seat,
    pub(crate) surroundings: Surroundings,
    pub(crate) outer_tasks: Tasks,
    pub(crate) built: Built,
}

impl World {
    pub(crate) async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_clock(change, Clock::system()).await
    }

    /// A world on each engine: SQLite, and Postgres where the tests are given one.
    pub(crate) async fn on_each_engine() -> Vec<Self> {
        let mut worlds = vec![Self::new(|_| {}).await];
        worlds.extend(Self::on_postgres(|_| {}).await);
        worlds
    }

    /// A world on Postgres, where the tests are given one.
    pub(crate) async fn on_postgres(change: impl FnOnce(&mut Settings)) -> Option<Self> {
        let Ok(url) = std::env::var(testing::POSTGRES_URL) else {
            assert_ne!(std::env::var(testing::POSTGRES_REQUIRED).as_deref(), Ok("1"), "Postgres is required");
            println!("SKIPPED on Postgres: {} is not set", testing::POSTGRES_URL);
            return None;
        };
        let (folder, mut seat, surroundings, outer_tasks) = Self::around();
        seat.database = (url, format!("test_{}", Uuid::new_v4().simple()));
        let built = seat.build(change).await;
        Some(Self { _folder: folder, seat, surroundings, outer_tasks, built })
    }

    pub(crate) async fn with_clock(change: impl FnOnce(&mut Settings), clock: Clock) -> Self {
        let (folder, seat, surroundings, outer_tasks) = Self::around();
        let built = seat.build_with(change, clock).await;
        Self { _folder: folder, seat, surroundings, outer_tasks, built }
    }

    /// Everything but the service.
    fn around() -> (TempDir, Seat, Surroundings, Tasks) {
        let folder = tempfile::tempdir().unwrap();
        // Scripts run as other users where this is root, and must be able to pass.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let (surroundings, outer_tasks, token) = (Surroundings::default(), Tasks::new(), Token::random());
        let url = surroundings.serve(&token, &outer_tasks);
        let token = token.expose().to_owned();
        let database = format!("sqlite:{}", folder.path().join("orchestrator.db").display());
        let database = (database, "orchestrator".to_owned());
        let seat = Seat { database, folder: folder.path().to_owned(), registry: url.clone(), gateway: url, token };
        (folder, seat, surroundings, outer_tasks)
    }

    /// Builds the service again, on the same database.
    pub(crate) async fn rebuild(&mut self, change: impl FnOnce(&mut Settings)) {
        self.built = self.seat.build(change).await;
    }

    /// Puts a cluster with this script into the registry, with no run yet.
    pub(crate) fn cluster(&self, number: u32, script: &str) -> ClusterId {
        let cluster = sample(number, script);
        let id = cluster.state.cluster.clone();
        self.surroundings.clusters.lock().unwrap().insert(id.to_string(), cluster);
        id
    }

    pub(crate) fn change(&self, cluster: &ClusterId, change: impl FnOnce(&mut Cluster)) {
        change(self.surroundings.clusters.lock().unwrap().get_mut(&cluster.to_string()).unwrap());
    }

    /// The registry wants a run, and the event says so.
    pub(crate) async fn want(&self, cluster: &ClusterId, action: &str, required: bool, limit_ms: i64) -> OperationId {
        let operation = self.request_run(cluster, action, required, limit_ms);
        self.hint(cluster).await;
        operation
    }

    /// The registry wants a run, and nobody says so.
    pub(crate) fn request_run(&self, cluster: &ClusterId, action: &str, required: bool, limit_ms: i64) -> OperationId {
        let operation = OperationId(Uuid::now_v7());
        let deadline = Clock::system().now().plus_millis(limit_ms);
        self.change(cluster, |it| {
            it.state.run = Some(RunRequest {
                operation,
                origin: None,
                action: action.into(),
                step: 0,
                required,
                deadline,
                event: None,
                arguments: Default::default(),
            });
        });
        operation
    }

    /// The registry wants no run any more.
    pub(crate) async fn want_nothing(&self, cluster: &ClusterId) {
        self.change(cluster, |it| it.state.run = None);
        self.hint(cluster).await;
    }

    async fn hint(&self, cluster: &ClusterId) {
        Self::hint_at(&self.built, cluster).await;
    }

    /// The event that says something of a cluster is to be looked at, to one replica.
    pub(crate) async fn hint_at(built: &Built, cluster: &ClusterId) {
        let event = Event::ClusterDestroying {};
        let (id, at) = (EventId(Uuid::now_v7()), Clock::system().now());
        let envelope =
            Envelope { id, cluster_id: cluster.clone(), revision: 1, at, request_id: None, traceparent: None, event };
        built.bus.publish(Arc::new(envelope)).await.unwrap().wait().await.unwrap();
    }

    /// A cluster whose script runs its action `start` to the end: its result.
    pub(crate) async fn run(&self, script: &str) -> (ClusterId, RunResult) {
        let cluster = self.cluster(1, script);
        let operation = self.want(&cluster, "start", true, 60_000).await;
        let result = self.ended(operation).await;
        (cluster, result)
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.built.events()
    }

    /// How the run of an operation ends.
    pub(crate) async fn ended(&self, operation: OperationId) -> RunResult {
        self.ended_beside(operation, &[]).await
    }

    /// How the run of an operation ends, where the other replicas' relays may tell of it, too.
    pub(crate) async fn ended_beside(&self, operation: OperationId, others: &[&Built]) -> RunResult {
        until("the end of a run", async || {
            let mut events = others.iter().flat_map(|other| other.events()).chain(self.events());
            events.find_map(|event| match event {
                Event::RunEnded { run, result } if run.operation == operation => Some(result),
                _ => None,
            })
        })
        .await
    }

    pub(crate) fn client(&self) -> InternalClient {
        InternalClient::new(self.built.url.clone(), Token::from_text(&self.seat.token)).unwrap()
    }

    /// A client on behalf of a user.
    pub(crate) fn client_of(&self, user: &str) -> InternalClient {
        let roles = [bigdata_common::Role::User].into();
        self.client().on_behalf_of(&Principal { user: user.parse().unwrap(), roles })
    }

    pub(crate) fn log_path(cluster: &ClusterId) -> String {
        format!("/bigdata/api/v1/{}/logs", cluster.dn())
    }

    pub(crate) async fn log(&self, cluster: &ClusterId) -> Vec<LogLine> {
        self.try_log(cluster).await.unwrap()
    }

    async fn try_log(&self, cluster: &ClusterId) -> Result<Vec<LogLine>, ClientError> {
        let (mut lines, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("{}?limit=10000&after={after}", Self::log_path(cluster));
            let page: LogPage = self.client_of("ann").get(&path).await?;
            lines.extend(page.lines);
            match page.next {
                Some(next) => after = next,
                None => return Ok(lines),
            }
        }
    }

    /// The script's own lines.
    pub(crate) async fn output(&self, cluster: &ClusterId) -> Vec<String> {
        let lines = self.log(cluster).await;
        lines.into_iter().filter(|line| line.stream != "platform").map(|line| line.line).collect()
    }

    /// Waits for a line that begins so; its rest.
    pub(crate) async fn line(&self, cluster: &ClusterId, begin: &str) -> String {
        until(&format!("a line {begin:?}"), async || {
            let lines = self.try_log(cluster).await.ok()?;
            lines.iter().find_map(|line| line.line.strip_prefix(begin).map(str::to_owned))
        })
        .await
    }

    /// The directory of a run, by its id without dashes.
    pub(crate) fn run_folder(&self, run: &str) -> PathBuf {
        let work = std::fs::canonicalize(self.seat.folder.join("work")).unwrap();
        work.join("runs").join(run)
    }

    pub(crate) async fn end(self) {
        assert!(self.built.tasks.shut_down(PATIENCE).await, "the service ends");
        assert!(self.outer_tasks.shut_down(PATIENCE).await);
    }
}

async fn collect(bus: &Arc<dyn Bus>, tasks: &Tasks) -> Arc<Mutex<Vec<Event>>> {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let mut subscription = bus.subscribe("test", subscriptions::REGISTRY).await.unwrap();
    let (seen, stop) = (Arc::clone(&events), tasks.token());
    tasks.spawn("test events", async move {
        loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => return,
                delivery = subscription.next() => delivery,
            };
            let Some(delivery) = delivery else { return };
            seen.lock().unwrap().push(delivery.envelope().event.clone());
            delivery.ack().await;
        }
    });
    events
}

/// The living processes that were started for a run.
pub(crate) fn processes_of_run(run: &str) -> usize {
    bigdata_sandbox::processes_with_environment("BIGDATA_RUN", run).unwrap().len()
}

pub(crate) fn is_alive(pid: i32) -> bool {
    bigdata_sandbox::Process::read(pid).is_some_and(|process| process.is_alive())
}

/// Runs a test's body to its end.
pub(crate) fn block_on(body: impl Future<Output = ()>) {
    runtime().block_on(async { tokio::time::timeout(PATIENCE * 3, body).await.expect("the test ends") });
}
