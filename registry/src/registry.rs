//! What the registry's parts share.

use crate::template::Renderer;
use crate::{BuildError, Settings, store};
use bigdata_chassis::secret::Vault;
use bigdata_chassis::{Clock, Db, Deps};
use bigdata_common::ClusterId;
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::{Mutex, MutexGuard, broadcast};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Changes that may wait for a listener; one that falls behind looks anew.
const CHANGES_KEPT: usize = 1024;
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
    changes: broadcast::Sender<ClusterId>,
    lanes: Vec<Mutex<()>>,
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
            changes: broadcast::channel(CHANGES_KEPT).0,
            lanes: (0..LAUNCH_LANES).map(|_| Mutex::new(())).collect(),
        })
    }

    /// Tells whoever waits in this process that a cluster has changed; call it after the commit.
    pub(crate) fn changed(&self, cluster: &ClusterId) {
        // Nobody waits: nobody is told.
        let _ = self.changes.send(cluster.clone());
    }

    /// Hears of changes from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<ClusterId> {
        self.changes.subscribe()
    }

    /// Launches with the same key follow one another in this process, so that their numbers rarely collide.
    pub(crate) async fn lane(&self, key: impl Hash) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LAUNCH_LANES as u64).unwrap_or(0);
        self.lanes[lane].lock().await
    }
}

/// Waits for a change of this cluster, at most a second: other replicas' changes are not heard of.
pub(crate) async fn next_change(changes: &mut broadcast::Receiver<ClusterId>, cluster: &ClusterId) {
    let heard = async {
        loop {
            match changes.recv().await {
                Ok(changed) if changed == *cluster => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    // Running out of time is one of the two ways to go on.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), heard).await;
}
