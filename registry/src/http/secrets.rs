//! `GET …/{n}/secrets`: what stands masked everywhere else, for the cluster's owner; and what becomes of it when a script
//! changes it.

use super::path::{self, ClusterPath, unknown_cluster};
use crate::cluster::course::Course;
use crate::launch::secret_place;
use crate::registry::Registry;
use crate::store;
use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use bigdata_chassis::http::{ApiError, Caller};
use bigdata_common::ClusterId;
use bigdata_common::api::cluster::SecretList;
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::internal::{SecretValue, Secrets};
use indexmap::IndexMap;

/// As of an output of a script, in bytes.
const VALUE_MAX: usize = 64 << 10;

/// The cluster's history says first that they were shown, and to whom.
pub(super) async fn show(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
) -> Result<HttpResponse, ApiError> {
    let id = path::cluster_id(&caller, &path)?;
    let secrets = open(&registry, &id).await?;
    let mut tx = registry.db.begin().await?;
    let held = store::clusters::lock(&mut tx, &id).await?;
    let held = held.ok_or_else(|| unknown_cluster(&id.dn().to_string()))?;
    let mut course = Course::new(&mut tx, held, registry.clock.now());
    course.log("operation", None, format!("secrets were shown to {}", caller.0.user));
    course.store().await?;
    tx.commit().await?;
    registry.changed(&id);
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(SecretList { secrets }))
}

/// The values of a cluster's secret options.
pub(super) async fn open(registry: &Registry, cluster: &ClusterId) -> Result<Secrets, ApiError> {
    let mut opened = IndexMap::new();
    for (name, sealed) in store::clusters::secrets(&registry.db, cluster).await? {
        let value = registry.vault.open(&secret_place(cluster, &name), &sealed).map_err(ApiError::internal)?;
        opened.insert(name, value);
    }
    Ok(Secrets(opened))
}

/// Gives a secret option another value. The history says that it was changed, and nothing of the value.
pub(super) async fn change(
    registry: &Registry,
    id: &ClusterId,
    name: &str,
    wanted: &SecretValue,
) -> Result<(), ApiError> {
    let value = wanted.value.as_str();
    if value.len() > VALUE_MAX || value.contains('\0') {
        let words = format!("a secret has at most {VALUE_MAX} bytes and no NUL");
        let faults = vec![Fault::new("/value", words.clone())];
        return Err(ApiError::with_faults(ProblemCode::InvalidField, words, faults));
    }
    let mut tx = registry.db.begin().await?;
    let held = store::clusters::lock(&mut tx, id).await?;
    let held = held.ok_or_else(|| unknown_cluster(&id.to_string()))?;
    let Some(stored) = store::clusters::secret(&mut tx, id, name).await? else {
        let words = format!("the cluster has no secret option {name:?}");
        return Err(ApiError::new(ProblemCode::UnknownRoute, words));
    };
    let place = secret_place(id, name);
    if registry.vault.open(&place, &stored).map_err(ApiError::internal)? == value {
        return Ok(());
    }
    store::clusters::change_secret(&mut tx, id, name, &registry.vault.seal(&place, value)).await?;
    let mut course = Course::new(&mut tx, held, registry.clock.now());
    course.log("operation", None, format!("the secret {name} was changed"));
    course.store().await?;
    tx.commit().await?;
    registry.changed(id);
    Ok(())
}
