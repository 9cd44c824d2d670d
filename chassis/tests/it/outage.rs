//! Postgres that is killed, and comes back.

use crate::{MIGRATIONS, PATIENCE, envelope, eventually};
use bigdata_chassis::bus::Bus;
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::http::{ApiError, server};
use bigdata_chassis::messaging::consumer::{self, HandleError, Handler};
use bigdata_chassis::messaging::parked;
use bigdata_chassis::secret::Token;
use bigdata_chassis::testing::Stalls;
use bigdata_chassis::{Clock, Db, Tasks, testing};
use bigdata_common::event::Envelope;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A server by `deploy/postgres.sh`; ended when it is dropped.
struct Server(PathBuf);

impl Server {
    /// None where the tests have no Postgres.
    fn start(folder: &Path) -> Option<(Self, String)> {
        testing::postgres_url()?;
        // It runs as another user, who must reach its folder.
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let server = Self(folder.join("postgres"));
        let url = server.run("start");
        Some((server, url))
    }

    fn run(&self, action: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres.sh");
        let output = Command::new(script).arg(action).arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run("stop");
    }
}

/// Needs Postgres for what it does, and notices at once when it is away.
struct Asks {
    url: String,
    tried: AtomicUsize,
    handled: AtomicUsize,
}

#[async_trait::async_trait]
impl Handler for Asks {
    async fn handle(&self, _: &Envelope) -> Result<(), HandleError> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        let mut connection = PgConnection::connect(&self.url).await?;
        sqlx::query("SELECT 1").execute(&mut connection).await?;
        self.handled.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// The outage is longer than the tries of an event that is at fault: they take some 6 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_outlives_an_outage_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, url)) = Server::start(folder.path()) else { return };
    let db = Db::open(&url, "outage", MIGRATIONS).await.unwrap();
    let (tasks, bus) = (Tasks::new(), Arc::new(EmbeddedBus::new()));
    let asks = Arc::new(Asks { url, tried: AtomicUsize::new(0), handled: AtomicUsize::new(0) });
    let (handler, queue) = (Arc::clone(&asks) as Arc<dyn Handler>, Arc::clone(&bus) as Arc<dyn Bus>);
    let kinds = &["cluster.registered.v1"];
    consumer::spawn("asks", kinds, &queue, db.clone(), Clock::system(), &tasks, handler).await.unwrap();
    server.run("kill");
    let begun = Instant::now();
    let confirmation = bus.publish(Arc::new(envelope())).await.unwrap();
    let deadline = begun + PATIENCE;
    while begun.elapsed() < Duration::from_secs(15) || asks.tried.load(Ordering::SeqCst) < 9 {
        assert!(Instant::now() < deadline, "it is not tried again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(asks.handled.load(Ordering::SeqCst), 0, "the database is away");
    server.run("start");
    tokio::time::timeout(PATIENCE, confirmation.wait()).await.unwrap().unwrap();
    assert_eq!(asks.handled.load(Ordering::SeqCst), 1, "it was handled afterwards");
    assert_eq!(parked::list(&db, 10).await.unwrap(), []);
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_not_called_busy() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, url)) = Server::start(folder.path()) else { return };
    let db = Db::open(&url, "away", MIGRATIONS).await.unwrap();
    let (tasks, token) = (Tasks::new(), Token::random());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let asked = db.clone();
    let address = server::serve(listener, 1, &token, &tasks, move |routes| {
        let db = asked.clone();
        let answer = move || {
            let db = db.clone();
            async move { db.begin().await.map(|_| "it answers").map_err(ApiError::from) }
        };
        routes.route("/ask", actix_web::web::get().to(answer));
    });
    let url = format!("http://{}/ask", address.unwrap());
    bigdata_chassis::http::client::install_tls_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "it answers");
    assert_eq!(db.waiting_events().await.unwrap(), 0);
    server.run("kill");
    let (stalls, begun) = (Stalls::watch(), Instant::now());
    assert!(db.waiting_events().await.is_err());
    // A look takes a second at most; a connection is waited for longer.
    stalls.assert_kept(Duration::from_secs(4), begun.elapsed(), "a look at a database that was killed");
    // As the watch of a service notes it.
    tasks.readiness().waits_for("database", "it was killed");
    eventually("a request is told so", async || {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 503);
        answer.text().await.unwrap().contains("does not answer")
    })
    .await;
    let answer = client.get(&url).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("does not answer") && !answer.contains("busy"), "{answer}");
    server.run("start");
    eventually("it answers again", async || db.waiting_events().await.is_ok()).await;
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_at_once_share_a_new_schema() {
    let Some(url) = testing::postgres_url() else { return };
    for round in 0..5 {
        let schema: &'static str = Box::leak(format!("race_{}_{round}", std::process::id()).into_boxed_str());
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { Db::open(&url, schema, MIGRATIONS).await.map(drop) })
            })
            .collect();
        for opened in opening {
            opened.await.unwrap().unwrap();
        }
    }
}
