//! The container engine of this machine, for the platform and its executors.

use bigdata_chassis::Tasks;
use bigdata_executor::container::{self, Engine, Settings};
use bigdata_mesos::v1::Attribute;
use std::path::PathBuf;
use std::time::Duration;

/// How long an engine may take to answer before the platform starts without it: for its whole life, and one that is there at
/// all answers, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often containers without an executor are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// The agent's attribute that says that it has an engine, and which.
const ATTRIBUTE: &str = "bigdata_containers";

/// The engine, where there is one, and what executors are told of it.
pub(crate) struct Containers {
    settings: Settings,
    engine: Option<Engine>,
}

impl Containers {
    /// Looks for it as the environment says.
    pub(crate) async fn find() -> Self {
        let mut settings = Settings::from_environment();
        let engine = Engine::find(&settings, PATIENCE).await;
        let engine = engine.inspect_err(|reason| tracing::info!(reason, "nodes run as processes only")).ok();
        // The executors' environment says nothing else of where it is.
        settings.socket = Some(engine.as_ref().map_or("none".to_owned(), |it| it.socket.display().to_string()));
        Self { settings, engine }
    }

    /// For the environment of executors.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        self.settings.variables()
    }

    /// What the agent says of it.
    pub(crate) fn attribute(&self) -> Option<Attribute> {
        self.engine.as_ref().map(|engine| Attribute::text(ATTRIBUTE, &engine.name.replace(' ', "-")))
    }

    /// Removes, from time to time, what executors below this folder that were killed have left to the engine.
    pub(crate) fn keep_tidy(&self, tasks: &Tasks, folder: PathBuf) {
        let Some(engine) = self.engine.clone() else { return };
        let until = tasks.clone();
        tasks.spawn("containers", async move {
            let tidying = async {
                loop {
                    container::remove_orphans_below(&engine, folder.clone()).await;
                    tokio::time::sleep(TIDY_EVERY).await;
                }
            };
            tokio::select! {
                () = tidying => {}
                () = until.cancelled() => {}
            }
        });
    }
}
