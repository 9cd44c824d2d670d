//! What the service asks of the registry.

use bigdata_chassis::http::{ClientError, InternalClient};
use bigdata_common::api::PREFIX;
use bigdata_common::api::cluster::NodeList;
use bigdata_common::internal::{ClusterPage, ClusterState, Secrets, Specification};
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterDn, ClusterId, Principal, Role};
use std::collections::BTreeSet;

/// Clusters asked for at a time.
const PAGE: u32 = 200;

/// A client of the registry.
#[derive(Debug, Clone)]
pub(crate) struct Registry(pub(crate) InternalClient);

/// All that a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Material {
    pub(crate) specification: Specification,
    pub(crate) secrets: Secrets,
    pub(crate) nodes: NodeList,
}

impl Registry {
    /// Where a cluster stands; None where there is no such cluster.
    pub(crate) async fn state(&self, cluster: &ClusterId) -> Result<Option<ClusterState>, ClientError> {
        match self.0.get(&format!("/internal/v1/clusters/{cluster}")).await {
            Ok(state) => Ok(Some(state)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether nothing is left of a cluster.
    pub(crate) async fn is_gone(&self, cluster: &ClusterId) -> Result<bool, ClientError> {
        Ok(self.state(cluster).await?.is_none_or(|state| state.status == ClusterStatus::Destroyed))
    }

    /// Every cluster that is not destroyed, page by page.
    pub(crate) async fn page(&self, after: Option<&str>) -> Result<ClusterPage, ClientError> {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        self.0.get(&format!("/internal/v1/clusters?limit={PAGE}{after}")).await
    }

    /// Specification, secrets and nodes of a cluster.
    pub(crate) async fn material(&self, cluster: &ClusterId, revision: u32) -> Result<Material, ClientError> {
        let path = format!("/internal/v1/clusters/{cluster}");
        let owners = self.0.on_behalf_of(&owner(cluster.dn()));
        let nodes_path = format!("{PREFIX}/{}/nodes", cluster.dn());
        let (specification_path, secrets_path) = (format!("{path}/revisions/{revision}"), format!("{path}/secrets"));
        let (specification, secrets, nodes) =
            tokio::try_join!(self.0.get(&specification_path), self.0.get(&secrets_path), owners.get(&nodes_path),)?;
        Ok(Material { specification, secrets, nodes })
    }
}

/// The principal on whose behalf a cluster's script acts: its owner, with the role of a user and no other.
pub(crate) fn owner(dn: &ClusterDn) -> Principal {
    Principal { user: dn.user.clone(), roles: BTreeSet::from([Role::User]) }
}
