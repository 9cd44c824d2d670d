//! The framework's service as a process that can be killed: this program, started again with its task in the environment.

use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::messaging::relay::Relay;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Db, Deps, Tasks, on_db};
use bigdata_framework::{MIGRATIONS, Settings, build};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Where the database is, and the service.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    url: String,
    /// Of Postgres; on SQLite only a name.
    schema: String,
    /// Where the service answers in each of its lives.
    listen: String,
}

const VARIABLES: [&str; 6] = [
    "BENCH_RESTART_DATABASE",
    "BENCH_RESTART_SCHEMA",
    "BENCH_RESTART_LISTEN",
    "BENCH_RESTART_MASTER",
    "BENCH_RESTART_REGISTRY",
    "BENCH_RESTART_TOKEN",
];

/// Where a database that is open can be opened again.
pub(crate) async fn place_of(db: &Db) -> Place {
    let sql = if db.is_postgres() { "SELECT current_schema()::TEXT" } else { "SELECT file FROM pragma_database_list" };
    let (found,): (String,) =
        on_db!(db, pool => sqlx::query_as(sql).fetch_one(pool).await).expect("the database says where it is");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (url, schema) = if db.is_postgres() {
        let url = std::env::var(bigdata_chassis::testing::POSTGRES_URL).expect("the database is from there");
        (url, found)
    } else {
        (format!("sqlite:{found}"), "framework".to_owned())
    };
    Place { url, schema, listen: free.to_string() }
}

/// The running process. Dropping it kills it with SIGKILL.
pub(crate) struct Service {
    child: Child,
    listen: String,
}

impl Service {
    pub(crate) fn spawn(place: &Place, master: &str, registry: &str, token: &Token) -> Self {
        let values = [&place.url, &place.schema, &place.listen, master, registry, token.expose()];
        let child = Command::new(std::env::current_exe().expect("this program"))
            .envs(VARIABLES.into_iter().zip(values))
            .stdin(Stdio::null())
            .spawn()
            .expect("this program can be started again");
        Self { child, listen: place.listen.clone() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("the service can be killed");
    }
}

/// Whether this process is to be the service.
pub(crate) fn is_requested() -> bool {
    std::env::var_os(VARIABLES[0]).is_some()
}

/// Is the service, until it is killed.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let [url, schema, listen, master, registry, token] =
            VARIABLES.map(|name| std::env::var(name).expect("the bench sets every variable"));
        // It must live as long as the pool.
        let db = Db::open(&url, Box::leak(schema.into_boxed_str()), MIGRATIONS).await.expect("the database opens");
        let tasks = Tasks::new();
        let deps = Deps {
            db: db.clone(),
            bus: Arc::new(EmbeddedBus::new()),
            clock: Clock::system(),
            tasks: tasks.clone(),
            internal_token: Token::from_text(&token),
        };
        let relay = Relay::new(db, Arc::clone(&deps.bus), Clock::system());
        let settings = Settings {
            listen,
            registry,
            masters: vec![master],
            control_key: Some(Token::from_text("a key for the bench")),
            ..Settings::default()
        };
        build(settings, deps).await.expect("the service starts");
        relay.spawn(&tasks);
        std::future::pending::<()>().await;
    });
}
