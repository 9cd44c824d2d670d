//! Backups, for their owners and for the orchestrator.

use super::path::{self, ClusterPath, Query, unknown_cluster};
use crate::backups::{self, view};
use crate::cluster::course::Course;
use crate::registry::Registry;
use crate::store;
use crate::store::backups::{Kept, Scope};
use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use bigdata_chassis::http::{ApiError, Caller, Internal, json};
use bigdata_common::api::PREFIX;
use bigdata_common::api::change::{BackupList, BackupView};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::internal::Backup;
use bigdata_common::{BackupId, ClusterId, Role};

/// Backups that the orchestrator is told to remove at a time.
const REMOVING_MAX: u32 = 500;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/backups").route(web::get().to(list)))
        .service(web::resource("/backups/{id}").route(web::get().to(show)).route(web::delete().to(delete)))
        .service(
            web::resource("/clusters/{user}/{product}/{version}/{number}/backups")
                .route(web::get().to(list_of_cluster)),
        );
}

pub(super) fn internal_routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/backups").route(web::get().to(removing)))
        .service(web::resource("/backups/{id}").route(web::get().to(readable)).route(web::put().to(stored)));
}

fn unknown(id: &str) -> ApiError {
    let detail = format!("there is no backup {id:?} of yours; GET {PREFIX}/backups lists those there are");
    ApiError::new(ProblemCode::UnknownBackup, detail)
}

async fn find(registry: &Registry, caller: &Caller, id: &str) -> Result<Kept, ApiError> {
    let parsed: BackupId = id.parse().map_err(|_| unknown(id))?;
    let kept = store::backups::find(&registry.db, parsed).await?;
    kept.filter(|kept| caller.0.may_see(kept.backup.cluster.dn())).ok_or_else(|| unknown(id))
}

async fn list(registry: Data<Registry>, caller: Caller, query: Query) -> Result<Json<BackupList>, ApiError> {
    let scope = if caller.0.has(Role::Admin) {
        Scope::Everything
    } else {
        caller.require(Role::User)?;
        Scope::User(caller.0.user.clone())
    };
    page(&registry, &scope, &query).await
}

/// Also of a cluster that is destroyed: its backups outlive it.
async fn list_of_cluster(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
    query: Query,
) -> Result<Json<BackupList>, ApiError> {
    let cluster = path::cluster(&registry, &caller, &path).await?;
    page(&registry, &Scope::Cluster(cluster.id), &query).await
}

async fn page(registry: &Registry, scope: &Scope, query: &Query) -> Result<Json<BackupList>, ApiError> {
    let limit = path::limit(query)?;
    let cursor = |text: &String| {
        let (at_ms, id) = text.split_once('.')?;
        Some((at_ms.parse::<i64>().ok()?, id.parse::<BackupId>().ok()?))
    };
    let before = match query.get("after") {
        None => None,
        Some(text) => Some(cursor(text).ok_or_else(|| {
            ApiError::new(ProblemCode::InvalidPath, "the parameter after is the `next` of the page before")
        })?),
    };
    let backups = store::backups::page(&registry.db, scope, before, limit).await?;
    let full = backups.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let last = backups.last().filter(|_| full).map(|kept| &kept.backup);
    let next = last.map(|backup| format!("{}.{}", backup.at.as_millis(), backup.id));
    Ok(Json(BackupList { backups: backups.into_iter().map(view).collect(), next }))
}

async fn show(registry: Data<Registry>, caller: Caller, id: Path<String>) -> Result<Json<BackupView>, ApiError> {
    Ok(Json(view(find(&registry, &caller, &id).await?)))
}

/// The bytes go soon after; nobody finds the backup from now on.
async fn delete(registry: Data<Registry>, caller: Caller, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let kept = find(&registry, &caller, &id).await?;
    let mut tx = registry.db.begin().await?;
    store::backups::remove(&mut tx, kept.backup.id).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `?removing=true`: those whose bytes are to go.
async fn removing(registry: Data<Registry>, _internal: Internal, query: Query) -> Result<Json<Vec<Backup>>, ApiError> {
    if !path::flag(&query, "removing")? {
        return Err(path::wrong("removing", "is true: other lists are for users".to_owned()));
    }
    let removing = store::backups::removing(&registry.db, REMOVING_MAX).await?;
    Ok(Json(removing.into_iter().map(|kept| kept.backup).collect()))
}

/// A backup that is stored, as [`Event::BackupStored`](bigdata_common::event::Event) says it: the orchestrator repeats it here
/// until it is answered. One that is known changes nothing.
async fn stored(
    registry: Data<Registry>,
    _internal: Internal,
    id: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let backup: Backup = json::body(&body)?;
    if backup.id.to_string() != *id {
        return Err(ApiError::new(ProblemCode::InvalidField, "the body is of the backup that the address names"));
    }
    let mut tx = registry.db.begin().await?;
    let held = store::clusters::lock(&mut tx, &backup.cluster).await?;
    let held = held.ok_or_else(|| unknown_cluster(&backup.cluster.to_string()))?;
    let mut course = Course::new(&mut tx, held, registry.clock.now());
    backups::stored(&mut course, &backup).await?;
    course.store().await?;
    tx.commit().await?;
    registry.changed(&backup.cluster);
    Ok(HttpResponse::NoContent().finish())
}

/// `?cluster=ID`: a backup that the cluster's script may read, because it is its owner's, or because an administrator named
/// it in the cluster's options.
async fn readable(
    registry: Data<Registry>,
    _internal: Internal,
    id: Path<String>,
    query: Query,
) -> Result<Json<Backup>, ApiError> {
    let cluster = query.get("cluster").map(String::as_str).unwrap_or_default();
    let cluster: ClusterId = cluster.parse().map_err(|_| unknown_cluster(cluster))?;
    let parsed: BackupId = id.parse().map_err(|_| unknown(&id))?;
    let kept = store::backups::find(&registry.db, parsed).await?.ok_or_else(|| unknown(&id))?;
    let own = kept.backup.cluster.dn().user == cluster.dn().user;
    if own || store::backups::may_read(&registry.db, &cluster, parsed).await? {
        return Ok(Json(kept.backup));
    }
    Err(unknown(&id))
}
