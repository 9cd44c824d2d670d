//! The truth about clusters, read from the registry: on events, and on a timer that takes no input.

mod heard;

use crate::core::output::Input;
use crate::driver::{Handle, Unavailable};
use bigdata_chassis::Tasks;
use bigdata_chassis::http::{ClientError, InternalClient};
use bigdata_chassis::messaging::consumer::{HandleError, Handler};
use bigdata_common::ClusterId;
use bigdata_common::event::Envelope;
use bigdata_common::internal::{ClusterPage, ClusterState, Desired, Secrets, Specification};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Clusters per page.
const PAGE: u32 = 100;
/// The wait after a registry that did not answer.
const RETRY: Duration = Duration::from_secs(1);

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
}

impl Registry {
    pub(crate) fn new(client: InternalClient, driver: Handle) -> Self {
        Self { client, driver }
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

    async fn refresh(&self, cluster: &ClusterId) -> Result<(), RefreshError> {
        let state: ClusterState = match self.client.get(&format!("/internal/v1/clusters/{cluster}")).await {
            Ok(state) => state,
            // It was destroyed and forgotten: nothing can be wanted of it.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.take_in(state, true).await
    }

    async fn take_in(&self, state: ClusterState, hinted: bool) -> Result<(), RefreshError> {
        let id = state.cluster.clone();
        let known = self
            .driver
            .ask(move |core, _| {
                let cluster = core.state.clusters.get(&id)?;
                cluster.specification.as_ref().map(|specification| specification.revision)
            })
            .await?;
        let specification = if state.desired == Desired::Run && known.is_none_or(|known| known < state.revision) {
            let path = format!("/internal/v1/clusters/{}/revisions/{}", state.cluster, state.revision);
            Some(Arc::new(self.client.get::<Specification>(&path).await?))
        } else {
            None
        };
        Ok(self.driver.step(Input::Wanted { state: Box::new(state), specification, hinted }).await?)
    }

    async fn refresh_all(&self) -> Result<(), RefreshError> {
        let mut listed = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let cursor = after.map(|after| format!("&after={after}")).unwrap_or_default();
            let page: ClusterPage = self.client.get(&format!("/internal/v1/clusters?limit={PAGE}{cursor}")).await?;
            for state in page.clusters {
                let id = state.cluster.clone();
                if let Err(error) = self.take_in(state, false).await {
                    tracing::warn!(cluster = %id, error = &error as &dyn std::error::Error, "a cluster is read again later");
                }
                listed.insert(id);
            }
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
        self.refresh(&envelope.cluster_id).await.map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            HandleError::Retry(format!("{error}{source}"))
        })
    }
}
