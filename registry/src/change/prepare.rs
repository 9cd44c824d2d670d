//! Renders a cluster anew and compares that with what it has. Nothing is stored.

use super::plan::{Comparison, Former, compare};
use super::standing::Standing;
use crate::backups::{self, Asker};
use crate::cluster::record::Cluster;
use crate::cluster::wanted::{NewRevision, Target, Wanted};
use crate::launch::{find_product, plan as launch, rights};
use crate::lifecycle::State;
use crate::product::Product;
use crate::registry::Registry;
use crate::store;
use bigdata_chassis::http::ApiError;
use bigdata_chassis::http::json::escape;
use bigdata_common::api::change::{ChangePlan, UpgradeRequest};
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::blueprint::{Disk, DiskKind};
use bigdata_common::{BackupId, Name, ProductRef};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A change that can be asked for.
pub(crate) struct Prepared {
    /// What is shown of it.
    pub(crate) plan: ChangePlan,
    /// What is asked for.
    pub(crate) wanted: Wanted,
    /// What is stored with it.
    pub(crate) beside: Option<Beside>,
    /// Backups that its options or arguments name.
    pub(crate) backups: Vec<BackupId>,
}

/// What is stored with a new revision.
pub(crate) struct Beside {
    /// The product that it is made of.
    pub(crate) product: Product,
    /// Secrets that the cluster did not have.
    pub(crate) secrets: IndexMap<String, String>,
}

/// Refuses what only a ready cluster can do.
pub(crate) fn must_be_ready(cluster: &Cluster) -> Result<(), ApiError> {
    match &cluster.state {
        State::Ready { .. } => Ok(()),
        other => {
            let detail = format!("only a ready cluster can be asked for this; this one is {}", other.status());
            Err(ApiError::new(ProblemCode::WrongStatus, detail))
        }
    }
}

/// Prepares other options by which nodes come and go, and none is started anew.
pub(crate) async fn scale(
    registry: &Registry,
    cluster: &Cluster,
    options: &Map<String, Value>,
    remove: &[Name],
    asker: &Asker<'_>,
) -> Result<Prepared, ApiError> {
    must_be_ready(cluster)?;
    let standing = Standing::of(registry, cluster).await?;
    let product = rights::as_of_now(registry, standing.product(registry).await?).await?;
    let (revision, comparison, beside, backups) =
        rendered(registry, cluster, &standing, product, options, remove, asker).await?;
    if !comparison.changed.is_empty() {
        return Err(starts_anew(&comparison.changed));
    }
    let plan = shown(&standing.terms.options, &revision.terms.options, &comparison);
    must_change(&plan)?;
    let Comparison { added, removed, .. } = comparison;
    let wanted = Wanted::Scale { revision: Box::new(revision), base: cluster.revision, added, removed };
    Ok(Prepared { plan, wanted, beside: Some(beside), backups })
}

/// Prepares another version, the same one as it is now, or a former revision.
pub(crate) async fn upgrade(
    registry: &Registry,
    cluster: &Cluster,
    request: &UpgradeRequest,
    asker: &Asker<'_>,
) -> Result<Prepared, ApiError> {
    must_be_ready(cluster)?;
    let standing = Standing::of(registry, cluster).await?;
    if let Some(revision) = request.revision {
        return back_to(registry, cluster, &standing, revision, request).await;
    }
    let present = &standing.specification.product;
    let version = request.version.clone().unwrap_or_else(|| present.version.clone());
    let product = find_product(registry, &ProductRef { name: present.name.clone(), version }).await?;
    let same_product = product.revision == standing.specification.product_revision;
    let (revision, comparison, beside, backups) =
        rendered(registry, cluster, &standing, product, &request.options, &[], asker).await?;
    disks_stay(&standing.former, &comparison)?;
    let plan = shown(&standing.terms.options, &revision.terms.options, &comparison);
    if same_product {
        must_change(&plan)?;
    }
    let wanted = upgrade_to(Target::New(Box::new(revision)), cluster.revision, comparison);
    Ok(Prepared { plan, wanted, beside: Some(beside), backups })
}

async fn back_to(
    registry: &Registry,
    cluster: &Cluster,
    standing: &Standing,
    revision: u32,
    request: &UpgradeRequest,
) -> Result<Prepared, ApiError> {
    if request.version.is_some() || !request.options.is_empty() {
        let words = "a former revision has its own version and options; name it alone";
        return Err(ApiError::with_faults(ProblemCode::InvalidField, words, vec![Fault::new("/revision", words)]));
    }
    let Some(specification) = store::clusters::revision(&registry.db, &cluster.id, revision).await? else {
        let words = format!("the cluster has no revision {revision}; its present one is {}", cluster.revision);
        let faults = vec![Fault::new("/revision", words.clone())];
        return Err(ApiError::with_faults(ProblemCode::InvalidField, words, faults));
    };
    rights::still_given(registry, &specification).await?;
    // What stands in another's place is part of that revision's nodes already.
    let former = Former { stand_ins: IndexMap::new(), ..standing.former.clone() };
    let comparison = compare(&former, &specification.blueprint, &[]).map_err(named_wrong)?;
    disks_stay(&former, &comparison)?;
    let mut options = specification.options.clone();
    let masked = standing.terms.options.iter().filter(|(_, value)| value.as_str() == Some(crate::options::MASK));
    options.extend(masked.map(|(name, value)| (name.clone(), value.clone())));
    let plan = shown(&standing.terms.options, &options, &comparison);
    if revision == cluster.revision {
        must_change(&plan)?;
    }
    let wanted = upgrade_to(Target::Stored(revision), cluster.revision, comparison);
    Ok(Prepared { plan, wanted, beside: None, backups: Vec::new() })
}

fn upgrade_to(target: Target, base: u32, comparison: Comparison) -> Wanted {
    let Comparison { added, removed, changed, .. } = comparison;
    Wanted::Upgrade { target, base, changed: changed.into_keys().collect(), added, removed }
}

async fn rendered(
    registry: &Registry,
    cluster: &Cluster,
    standing: &Standing,
    product: Product,
    options: &Map<String, Value>,
    remove: &[Name],
    asker: &Asker<'_>,
) -> Result<(NewRevision, Comparison, Beside, Vec<BackupId>), ApiError> {
    let declaration = launch::declaration(&product)?;
    let stored = store::clusters::secrets(&registry.db, &cluster.id).await?;
    let stored: BTreeSet<String> = stored.into_iter().map(|(name, _)| name).collect();
    let resolved = declaration
        .resolve_change(&standing.specification.options, &stored, options)
        .map_err(launch::invalid_options)?;
    let backups = backups::named(registry, &declaration, options, &product.reference.name, asker).await?;
    let actions = launch::actions(&product, &declaration, &resolved)?;
    let mut read = launch::render(registry, &product, &declaration, &resolved, &cluster.id).await?;
    // The name under which its nodes are found stays for the cluster's life.
    read.blueprint.dnsname.clone_from(&cluster.dnsname);
    let comparison = compare(&standing.former, &read.blueprint, remove).map_err(named_wrong)?;
    read.blueprint.clone_from(&comparison.blueprint);
    let mut revision = launch::revision(&cluster.id, &product, &resolved, &read, actions);
    revision.terms.stand_ins.clone_from(&comparison.stand_ins);
    Ok((revision, comparison, Beside { product, secrets: resolved.secrets }, backups))
}

fn named_wrong(faults: Vec<Fault>) -> ApiError {
    let words: Vec<String> = faults.iter().map(|fault| fault.detail.clone()).collect();
    ApiError::with_faults(ProblemCode::InvalidField, words.join("; "), faults)
}

fn starts_anew(changed: &IndexMap<Name, Vec<String>>) -> ApiError {
    let fault = |(node, place): (&Name, &String)| {
        let pointer = format!("/nodes/{}{place}", escape(node.as_str()));
        Fault::new(pointer, format!("{node} stays, and would be started anew for this"))
    };
    let places = changed.iter().flat_map(|(node, places)| places.iter().map(move |place| (node, place)));
    let names: Vec<&str> = changed.keys().map(Name::as_str).collect();
    let detail = format!(
        "these options change nodes that stay ({}); that is an upgrade: POST …/upgrade with the same options",
        names.join(", ")
    );
    ApiError::with_faults(ProblemCode::InvalidField, detail, places.map(fault).collect())
}

/// A node's persistent disks stay as they are from one revision to the next.
fn disks_stay(former: &Former, comparison: &Comparison) -> Result<(), ApiError> {
    let persistent = |disks: &IndexMap<Name, Disk>| -> BTreeMap<Name, (u64, bool)> {
        let kept = disks.iter().filter(|(_, disk)| disk.persistent);
        kept.map(|(name, disk)| (name.clone(), (disk.size, disk.kind == DiskKind::Whole))).collect()
    };
    let differs = |name: &&Name| {
        let (before, after) = (&former.nodes[*name].node, &comparison.blueprint.nodes[*name]);
        persistent(&before.disks) != persistent(&after.disks)
    };
    let fault = |name: &Name| {
        let words = format!("{name} would have other persistent disks, and a node keeps those that it has");
        Fault::new(format!("/nodes/{}/disks", escape(name.as_str())), words)
    };
    let faults: Vec<Fault> = comparison.changed.keys().filter(differs).map(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(named_wrong(faults)) }
}

fn shown(before: &Map<String, Value>, after: &Map<String, Value>, comparison: &Comparison) -> ChangePlan {
    let mut options = IndexMap::new();
    for name in before.keys().chain(after.keys()) {
        let values = [before, after].map(|values| values.get(name).cloned().unwrap_or_default());
        if values[0] != values[1] {
            options.insert(name.clone(), values);
        }
    }
    ChangePlan {
        added: comparison.added.clone(),
        removed: comparison.removed.clone(),
        changed: comparison.changed.clone(),
        unchanged: comparison.unchanged.clone(),
        options,
    }
}

fn must_change(plan: &ChangePlan) -> Result<(), ApiError> {
    let nothing =
        plan.added.is_empty() && plan.removed.is_empty() && plan.changed.is_empty() && plan.options.is_empty();
    if !nothing {
        return Ok(());
    }
    Err(ApiError::new(ProblemCode::InvalidField, "the cluster is so already: nothing would change"))
}
