//! A master with one agent: the engine, or a real Mesos.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use bigdata_mesos::engine::{Engine, Settings, Shutdown};
use bigdata_mesos::v1::{Attribute, Resource};
use tempfile::TempDir;

use super::framework::{PRINCIPAL, SECRET};
use super::mesos::Mesos;

/// Of an engine's address.
static NUMBER: AtomicU8 = AtomicU8::new(1);

pub(crate) enum Cluster {
    Engine(Box<EngineCluster>),
    Mesos(Mesos),
}

pub(crate) struct EngineCluster {
    pub(crate) settings: Settings,
    engine: Option<Engine>,
    directory: TempDir,
}

/// The same on both: what the script gives each agent.
fn resources() -> Vec<Resource> {
    vec![
        Resource::scalar("cpus", 4.0),
        Resource::scalar("mem", 4096.0),
        Resource::scalar("disk", 10000.0),
        Resource::ports([(31000, 32000)]),
    ]
}

impl EngineCluster {
    pub(crate) async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Nobody else takes a port of this address while the engine is away.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let listen = SocketAddr::from(([127, u8::try_from(std::process::id() % 200).unwrap() + 20, 255, number], 0));
        let mut settings = Settings::new(listen, directory.path().join("work"));
        settings.attributes = vec![Attribute::text("rack", "r1")];
        settings.resources = Some(resources());
        settings.credential = Some((PRINCIPAL.to_owned(), SECRET.to_owned()));
        change(&mut settings);
        let engine = Engine::start(settings.clone()).await.unwrap();
        settings.listen = engine.address();
        EngineCluster { settings, engine: Some(engine), directory }
    }

    pub(crate) fn work_dir(&self) -> std::path::PathBuf {
        self.directory.path().join("work")
    }

    pub(crate) async fn shutdown(&mut self, shutdown: Shutdown) {
        self.engine.take().unwrap().shutdown(shutdown).await;
    }

    pub(crate) async fn start_again(&mut self) {
        self.engine = Some(Engine::start(self.settings.clone()).await.unwrap());
    }
}

impl Drop for EngineCluster {
    fn drop(&mut self) {
        // A failed test must not leave executors behind.
        let sandboxes = self.work_dir().join("sandboxes");
        super::mesos::kill_those_in(&sandboxes);
    }
}

impl Cluster {
    pub(crate) async fn engine() -> Self {
        Cluster::Engine(Box::new(EngineCluster::start(|_| {}).await))
    }

    /// `None`, with a loud reason, where there can be no Mesos and none is demanded.
    pub(crate) async fn mesos() -> Option<Self> {
        Some(Cluster::Mesos(Mesos::start(Vec::new()).await?))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Cluster::Engine(cluster) => format!("http://{}", cluster.settings.listen),
            Cluster::Mesos(mesos) => mesos.url(),
        }
    }

    /// Ends the agent without a warning.
    pub(crate) async fn kill_agent(&mut self) {
        match self {
            Cluster::Engine(cluster) => cluster.shutdown(Shutdown::KeepExecutors).await,
            Cluster::Mesos(mesos) => mesos.run(&["kill", "agent1"]).await.unwrap(),
        }
    }

    /// Starts the agent again, where it was and with what it knew.
    pub(crate) async fn start_agent(&mut self) {
        match self {
            Cluster::Engine(cluster) => cluster.start_again().await,
            Cluster::Mesos(mesos) => mesos.run(&["start", "agent1"]).await.unwrap(),
        }
    }
}
