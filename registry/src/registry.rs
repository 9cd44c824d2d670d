//! What the registry's parts share.

use crate::changes::Changes;
use crate::template::Renderer;
use crate::{BuildError, Settings, store};
use bigdata_chassis::secret::Vault;
use bigdata_chassis::{Clock, Db, Deps, Readiness};
use bigdata_common::ClusterId;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::PoisonError;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Launches of different products rarely wait for each other.
const LAUNCH_LANES: usize = 64;

/// The registry.
pub(crate) struct Registry {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) vault: Vault,
    pub(crate) renderer: Renderer,
    pub(crate) settings: Settings,
    pub(crate) id: Uuid,
    /// Cancelled when the process ends: streams end with it.
    pub(crate) end: CancellationToken,
    /// What this process waits for.
    pub(crate) readiness: Readiness,
    pub(crate) changes: Changes,
    /// Clusters that could not be read, each of which the log has named.
    unreadable: std::sync::Mutex<BTreeSet<String>>,
    /// Held by a launch that renders while it holds its number.
    pub(crate) holding: Mutex<()>,
    lanes: Vec<Mutex<()>>,
    /// Where the service's connections are served: what talks to the database at length is faster there than on the
    /// threads of its HTTP server.
    pub(crate) runtime: Handle,
}

impl Registry {
    pub(crate) async fn open(settings: &Settings, deps: &Deps) -> Result<Self, BuildError> {
        let program = match &settings.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(BuildError::Program)?,
        };
        Ok(Self {
            db: deps.db.clone(),
            clock: deps.clock.clone(),
            vault: Vault::open_or_create(&settings.key_file)?,
            renderer: Renderer::new(program, settings.render_concurrency),
            settings: settings.clone(),
            id: store::identity::registry_id(&deps.db).await?,
            end: deps.tasks.token(),
            readiness: deps.tasks.readiness().clone(),
            changes: Changes::new(),
            unreadable: std::sync::Mutex::default(),
            holding: Mutex::new(()),
            runtime: Handle::current(),
            lanes: (0..LAUNCH_LANES).map(|_| Mutex::new(())).collect(),
        })
    }

    /// Tells whoever waits in this process that a cluster has changed; call it after the commit.
    pub(crate) fn changed(&self, cluster: &ClusterId) {
        self.changes.tell(cluster);
    }

    /// Names clusters that cannot be read in the log, once each; lists go on without them.
    pub(crate) fn report_unreadable(&self, unreadable: &[(String, sqlx::Error)]) {
        let mut named = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, error) in unreadable {
            if named.insert(id.clone()) {
                let error = error as &dyn std::error::Error;
                tracing::error!(cluster = id, error, "a stored cluster cannot be read; lists leave it out");
            }
        }
    }

    /// Launches with the same key follow one another in this process, so that their numbers rarely collide.
    pub(crate) async fn lane(&self, key: impl Hash) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LAUNCH_LANES as u64).unwrap_or(0);
        self.lanes[lane].lock().await
    }
}
