//! What a cluster has now, as it is stored.

use super::plan::{Former, Present};
use crate::cluster::record::Cluster;
use crate::cluster::wanted::Terms;
use crate::product::Product;
use crate::registry::Registry;
use crate::store;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::blueprint::Blueprint;
use bigdata_common::internal::Specification;
use indexmap::IndexMap;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a cluster has now.
pub(super) struct Standing {
    pub(super) former: Former,
    pub(super) specification: Specification,
    pub(super) terms: Terms,
}

impl Standing {
    /// The nodes as they are wanted now, each as the revision that it follows describes it.
    pub(super) async fn of(registry: &Registry, cluster: &Cluster) -> Result<Self, ApiError> {
        let lost = || ApiError::internal("a cluster's revision is not stored");
        let terms = store::clusters::terms(&registry.db, cluster).await?;
        let present = store::clusters::revision(&registry.db, &cluster.id, cluster.revision).await?.ok_or_else(lost)?;
        let mut told = store::wishes::told(&registry.db, &cluster.id, &cluster.id).await?;
        let wishes = told.swap_remove(&cluster.id.to_string()).unwrap_or_default().wishes;
        let mut blueprints: BTreeMap<u32, Blueprint> = BTreeMap::from([(present.revision, present.blueprint.clone())]);
        let mut nodes = IndexMap::new();
        for (name, wish) in &wishes {
            let blueprint = match blueprints.entry(wish.revision) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let found = store::clusters::revision(&registry.db, &cluster.id, wish.revision).await?;
                    entry.insert(found.ok_or_else(lost)?.blueprint)
                }
            };
            let node = blueprint.nodes.get(name).ok_or_else(lost)?.clone();
            nodes.insert(name.clone(), Present { node, peers: blueprint.nodes.keys().cloned().collect() });
        }
        let services = present.blueprint.services.clone();
        let former = Former { nodes, services, stand_ins: terms.stand_ins.clone() };
        Ok(Self { former, specification: present, terms })
    }

    /// The product that it is made of. Of a cluster that is older than the keeping of products it is the catalog's, if that is
    /// still the same.
    pub(super) async fn product(&self, registry: &Registry) -> Result<Product, ApiError> {
        let Specification { product, product_revision, .. } = &self.specification;
        if let Some(kept) = store::products::content(&registry.db, product_revision).await? {
            return Ok(kept);
        }
        let found = store::products::find(&registry.db, product).await?;
        found.filter(|found| found.revision == *product_revision).ok_or_else(|| {
        let detail = format!(
            "the product {product} has changed since the cluster was made of it, and was not kept then; upgrade the \
             cluster first"
        );
        ApiError::new(ProblemCode::ProductIncomplete, detail)
    })
    }
}
