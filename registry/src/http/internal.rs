//! What the other services ask.

use super::path::{self, Query, unknown_cluster};
use super::{engines, heard, secrets};
use crate::cluster::record::Cluster;
use crate::invariants;
use crate::registry::Registry;
use crate::store;
use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use bigdata_chassis::http::{ApiError, Internal, json};
use bigdata_common::ClusterId;
use bigdata_common::internal::{ClusterPage, ClusterState, Secrets, Specification};
use bigdata_common::invariants::Invariants;
use serde_json::Value;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/registry").route(web::get().to(identity)))
        .service(web::resource("/clusters").route(web::get().to(page)))
        .service(web::resource("/clusters/{id}").route(web::get().to(state)))
        .service(web::resource("/clusters/{id}/revisions/{revision}").route(web::get().to(revision)))
        .service(web::resource("/clusters/{id}/secrets").route(web::get().to(secrets_of)))
        .service(web::resource("/clusters/{id}/secrets/{name}").route(web::put().to(change_secret)))
        .service(web::resource("/invariants").route(web::get().to(invariants_now)))
        .service(web::resource("/engines").route(web::put().to(engines::put)))
        .service(web::resource("/heard").route(web::post().to(heard::post)));
}

async fn identity(registry: Data<Registry>, _internal: Internal) -> Json<Value> {
    Json(serde_json::json!({"id": registry.id}))
}

async fn invariants_now(registry: Data<Registry>, _internal: Internal) -> Result<Json<Invariants>, ApiError> {
    Ok(Json(invariants::check(&registry).await?))
}

async fn states(registry: &Registry, clusters: Vec<Cluster>) -> Result<Vec<ClusterState>, ApiError> {
    let (Some(first), Some(last)) = (clusters.first(), clusters.last()) else { return Ok(Vec::new()) };
    let mut told = store::wishes::told(&registry.db, &first.id, &last.id).await?;
    let mut nodes_of = |cluster: &Cluster| told.swap_remove(&cluster.id.to_string()).unwrap_or_default();
    Ok(clusters.iter().map(|cluster| cluster.to_state(nodes_of(cluster))).collect())
}

async fn page(registry: Data<Registry>, _internal: Internal, query: Query) -> Result<Json<ClusterPage>, ApiError> {
    let limit = path::limit(&query)?;
    let after = query.get("after").map(String::as_str).unwrap_or_default();
    let page = store::clusters::page_alive(&registry.db, after, limit).await?;
    registry.report_unreadable(&page.unreadable);
    Ok(Json(ClusterPage { clusters: states(&registry, page.clusters).await?, next: page.next }))
}

fn parse(id: &str) -> Result<ClusterId, ApiError> {
    id.parse().map_err(|_| unknown_cluster(id))
}

async fn state(
    registry: Data<Registry>,
    _internal: Internal,
    id: Path<String>,
) -> Result<Json<ClusterState>, ApiError> {
    let cluster = store::clusters::find(&registry.db, &parse(&id)?).await?.ok_or_else(|| unknown_cluster(&id))?;
    let mut states = states(&registry, vec![cluster]).await?;
    states.pop().map(Json).ok_or_else(|| unknown_cluster(&id))
}

async fn revision(
    registry: Data<Registry>,
    _internal: Internal,
    path: Path<(String, u32)>,
) -> Result<Json<Specification>, ApiError> {
    let specification = store::clusters::revision(&registry.db, &parse(&path.0)?, path.1).await?;
    specification.map(Json).ok_or_else(|| unknown_cluster(&path.0))
}

async fn secrets_of(
    registry: Data<Registry>,
    _internal: Internal,
    id: Path<String>,
) -> Result<Json<Secrets>, ApiError> {
    let cluster = parse(&id)?;
    if store::clusters::find(&registry.db, &cluster).await?.is_none() {
        return Err(unknown_cluster(&id));
    }
    secrets::open(&registry, &cluster).await.map(Json)
}

async fn change_secret(
    registry: Data<Registry>,
    _internal: Internal,
    path: Path<(String, String)>,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    secrets::change(&registry, &parse(&path.0)?, &path.1, &json::body(&body)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
