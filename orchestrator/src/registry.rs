//! What the service asks of the registry.

use bigdata_chassis::http::{ClientError, InternalClient};
use bigdata_common::api::PREFIX;
use bigdata_common::api::cluster::NodeList;
use bigdata_common::internal::{Backup, ClusterPage, ClusterState, SecretValue, Secrets, Specification};
use bigdata_common::status::ClusterStatus;
use bigdata_common::{BackupId, ClusterDn, ClusterId, Principal, Role};
use reqwest::Method;
use std::collections::{BTreeMap, BTreeSet};

/// Clusters asked for at a time.
const PAGE: u32 = 200;

/// A client of the registry.
#[derive(Debug, Clone)]
pub(crate) struct Registry(pub(crate) InternalClient);

/// All that a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Material {
    /// The run's own revision.
    pub(crate) specification: Specification,
    pub(crate) secrets: Secrets,
    /// What is known of the nodes.
    pub(crate) nodes: NodeList,
    /// What is wanted of them.
    pub(crate) state: ClusterState,
    /// Other revisions that describe nodes which are wanted, or leave.
    pub(crate) others: BTreeMap<u32, Specification>,
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

    /// All that a run of this revision is made of.
    pub(crate) async fn material(&self, cluster: &ClusterId, revision: u32) -> Result<Material, ClientError> {
        let path = format!("/internal/v1/clusters/{cluster}");
        let owners = self.0.on_behalf_of(&owner(cluster.dn()));
        let nodes_path = format!("{PREFIX}/{}/nodes", cluster.dn());
        let specification_path = |revision: u32| format!("{path}/revisions/{revision}");
        let (own_path, secrets_path) = (specification_path(revision), format!("{path}/secrets"));
        let (specification, secrets, nodes, state): (Specification, _, _, ClusterState) = tokio::try_join!(
            self.0.get(&own_path),
            self.0.get(&secrets_path),
            owners.get(&nodes_path),
            self.0.get(&path)
        )?;
        let mut others = BTreeMap::new();
        for other in other_revisions(&specification, &state) {
            match self.0.get(&specification_path(other)).await {
                Ok(described) => drop(others.insert(other, described)),
                // A node is shown with what is known of it.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Material { specification, secrets, nodes, state, others })
    }
}

impl Registry {
    /// Gives a cluster's secret option another value; nothing where it has no option of that name.
    pub(crate) async fn change_secret(&self, cluster: &ClusterId, name: &str, value: &str) -> Result<(), ClientError> {
        let path = format!("/internal/v1/clusters/{cluster}/secrets/{name}");
        let request = self.0.request(Method::PUT, &path).json(&SecretValue { value: value.to_owned() });
        match self.0.send(request).await {
            Err(error) if error.is_not_found() => Ok(()),
            answered => answered.map(drop),
        }
    }

    /// A backup that the owner of this cluster may have.
    pub(crate) async fn backup(&self, backup: BackupId, cluster: &ClusterId) -> Result<Backup, ClientError> {
        self.0.get(&format!("/internal/v1/backups/{backup}?cluster={cluster}")).await
    }

    /// Tells of a backup that is stored; whether the registry knows of it from now on. One that knows no such call, or not the
    /// cluster, does not.
    pub(crate) async fn backup_is_stored(&self, backup: &Backup) -> Result<bool, ClientError> {
        let request = self.0.request(Method::PUT, &format!("/internal/v1/backups/{}", backup.id)).json(backup);
        match self.0.send(request).await {
            Ok(_) => Ok(true),
            Err(ClientError::Problem(problem)) if matches!(problem.status, 404 | 405) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The backups whose bytes shall go. A registry that knows no backups wants none to go.
    pub(crate) async fn backups_to_remove(&self) -> Result<Vec<Backup>, ClientError> {
        match self.0.get("/internal/v1/backups?removing=true").await {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            answered => answered,
        }
    }
}

/// The revisions beside a run's own that describe a node which is wanted, or leaves. Pure.
fn other_revisions(own: &Specification, state: &ClusterState) -> BTreeSet<u32> {
    let mut revisions: BTreeSet<u32> = state.nodes.values().map(|wish| wish.revision).collect();
    // Its wish is gone already: the revision before has it.
    if state.leaving.iter().any(|name| !own.blueprint.nodes.contains_key(name)) {
        revisions.extend(own.revision.checked_sub(1).filter(|before| *before > 0));
    }
    revisions.remove(&own.revision);
    revisions
}

/// The principal on whose behalf a cluster's script acts: its owner, with the role of a user and no other.
pub(crate) fn owner(dn: &ClusterDn) -> Principal {
    Principal { user: dn.user.clone(), roles: BTreeSet::from([Role::User]) }
}
