//! The truth about clusters, read from the registry: on events, and on a timer that takes no input.

mod engines;
mod heard;

use crate::core::output::Input;
use crate::driver::{Handle, Unavailable};
use bigdata_chassis::Tasks;
use bigdata_chassis::http::{ClientError, InternalClient};
use bigdata_chassis::messaging::consumer::{HandleError, Handler};
use bigdata_common::ClusterId;
use bigdata_common::event::Envelope;
use bigdata_common::internal::{ClusterPage, ClusterState, Secrets, Specification};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use uuid::Uuid;

/// Clusters per page.
const PAGE: u32 = 100;
/// Clusters of a page that are taken in at the same time: the driver stores what comes of several in one transaction.
const TOGETHER: usize = 16;
/// The wait after a registry that did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Readers of different clusters seldom wait for each other.
const STRIPES: usize = 64;

/// Why a cluster could not be taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
    #[error("the registry cannot be asked")]
    Registry(#[from] ClientError),
    #[error("the framework cannot take it in now")]
    Unavailable(#[from] Unavailable),
}

/// Reads the registry, and hands what it says to the core.
#[derive(Clone)]
pub(crate) struct Registry {
    client: InternalClient,
    driver: Handle,
    /// Held from the reading of a cluster until it is taken in: what was read first is taken in first.
    turns: Arc<[Mutex<()>; STRIPES]>,
}

impl Registry {
    pub(crate) fn new(client: InternalClient, driver: Handle) -> Self {
        Self { client, driver, turns: Arc::new(std::array::from_fn(|_| Mutex::new(()))) }
    }

    /// The registry's id.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn id(client: &InternalClient) -> Result<Uuid, ClientError> {
        #[derive(Deserialize)]
        struct Identity {
            id: Uuid,
        }
        let identity: Identity = client.get("/internal/v1/registry").await?;
        Ok(identity.id)
    }

    /// The values of a cluster's secret options: never stored here.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub(crate) async fn secrets(&self, cluster: &ClusterId) -> Result<Secrets, ClientError> {
        self.client.get(&format!("/internal/v1/clusters/{cluster}/secrets")).await
    }

    fn turn(&self, cluster: &ClusterId) -> &Mutex<()> {
        let mut hasher = std::hash::DefaultHasher::new();
        cluster.hash(&mut hasher);
        let stripe = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or_default();
        &self.turns[stripe]
    }

    /// Reads a cluster, and takes it in.
    async fn refresh(&self, cluster: &ClusterId, hinted: bool) -> Result<(), RefreshError> {
        let _turn = self.turn(cluster).lock().await;
        let state: ClusterState = match self.client.get(&format!("/internal/v1/clusters/{cluster}")).await {
            Ok(state) => state,
            // It was destroyed and forgotten: nothing can be wanted of it.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.take_in(state, hinted).await
    }

    /// Takes in what a page said of a cluster; it may be older than what was read of the cluster alone since.
    async fn take_listed(&self, state: ClusterState) -> Result<(), RefreshError> {
        let turn = self.turn(&state.cluster).lock().await;
        let listed = state.clone();
        if self.driver.ask(move |core, _| core.is_news(&listed)).await? {
            drop(turn);
            return self.refresh(&state.cluster, false).await;
        }
        self.take_in(state, false).await
    }

    async fn take_in(&self, state: ClusterState, hinted: bool) -> Result<(), RefreshError> {
        let asked = state.clone();
        let wanted = self.driver.ask(move |core, _| core.revisions_wanted(&asked)).await?;
        let mut specifications = Vec::with_capacity(wanted.len());
        for revision in wanted {
            let path = format!("/internal/v1/clusters/{}/revisions/{revision}", state.cluster);
            specifications.push(Arc::new(self.client.get::<Specification>(&path).await?));
        }
        Ok(self.driver.step(Input::Wanted { state: Box::new(state), specifications, hinted }).await?)
    }

    async fn take_in_listed(&self, state: ClusterState) -> ClusterId {
        let id = state.cluster.clone();
        if let Err(error) = self.take_listed(state).await {
            tracing::warn!(cluster = %id, error = &error as &dyn std::error::Error, "a cluster is read again later");
        }
        id
    }

    async fn refresh_all(&self) -> Result<(), RefreshError> {
        let mut listed = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let cursor = after.map(|after| format!("&after={after}")).unwrap_or_default();
            let page: ClusterPage = self.client.get(&format!("/internal/v1/clusters?limit={PAGE}{cursor}")).await?;
            let taken_in = page.clusters.into_iter().map(|state| self.take_in_listed(state));
            let ids: Vec<ClusterId> = stream::iter(taken_in).buffer_unordered(TOGETHER).collect().await;
            listed.extend(ids);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(self.driver.step(Input::Listed(listed)).await?)
    }

    /// Reads everything now and then, until the tasks end.
    pub(crate) fn spawn_timer(self, every: Duration, tasks: &Tasks) {
        let token = tasks.token();
        tasks.spawn("registry reconciliation", async move {
            loop {
                let wait = tokio::select! {
                    () = token.cancelled() => return,
                    result = self.refresh_all() => match result {
                        Ok(()) => every,
                        Err(error) => {
                            tracing::warn!(error = &error as &dyn std::error::Error, "the registry is asked again");
                            RETRY
                        }
                    },
                };
                tokio::select! {
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        });
    }
}

#[async_trait::async_trait]
impl Handler for Registry {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        Ok(self.refresh(&envelope.cluster_id, true).await?)
    }
}

impl From<RefreshError> for HandleError {
    fn from(error: RefreshError) -> Self {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let words = format!("{error}{source}");
        match error {
            RefreshError::Unavailable(_) => Self::Unavailable(words),
            RefreshError::Registry(error) if is_away(&error) => Self::Unavailable(words),
            RefreshError::Registry(_) => Self::Retry(words),
        }
    }
}

/// Whether the registry is to blame as a whole, and not what it says of one cluster.
fn is_away(error: &ClientError) -> bool {
    const GATEWAY_ANSWERS: std::ops::RangeInclusive<u16> = 502..=504;
    match error {
        ClientError::Problem(problem) => problem.status == 429 || GATEWAY_ANSWERS.contains(&problem.status),
        ClientError::Unreachable { source, .. } => {
            !source.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_decode)
        }
    }
}
