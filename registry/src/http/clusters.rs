//! Clusters: lists, one of them and its parts.

use super::path::{self, ClusterPath, Query};
use super::{changes, secrets, shown};
use crate::changes::Listener;
use crate::cluster::record::Cluster;
use crate::cluster::view;
use crate::registry::Registry;
use crate::store;
use crate::store::clusters::Filter;
use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use bigdata_chassis::http::{ApiError, Caller};
use bigdata_common::Role;
use bigdata_common::api::cluster::{ClusterList, EndpointList, NodeList, ServiceList};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::internal::Specification;
use bigdata_common::status::ClusterStatus;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;
use tokio::time::Instant;

/// The longest `?wait=`, in seconds.
const WAIT_MAX: u64 = 300;
/// A `?wait=` without `timeout`, in seconds.
const WAIT_DEFAULT: u64 = 60;

/// On a list: how many clusters are left out since what is stored of them cannot be read.
const UNREADABLE_HEADER: &str = "x-bigdata-unreadable";

pub(super) fn routes(config: &mut ServiceConfig) {
    let one = |tail: &str| web::resource(format!("/clusters/{{user}}/{{product}}/{{version}}/{{number}}{tail}"));
    config
        .service(web::resource("/clusters").route(web::get().to(list)))
        .service(web::resource("/clusters/{user}").route(web::get().to(list_of_user)))
        .service(web::resource("/clusters/{user}/{product}").route(web::get().to(list_of_product)))
        .service(web::resource("/clusters/{user}/{product}/{version}").route(web::get().to(list_of_version)))
        .service(one("").route(web::get().to(show)).route(web::delete().to(changes::destroy)))
        .service(one("/nodes").route(web::get().to(nodes)))
        .service(one("/nodes/{node}").route(web::get().to(node)))
        .service(one("/services").route(web::get().to(services)))
        .service(one("/endpoints").route(web::get().to(endpoints)))
        .service(one("/secrets").route(web::get().to(secrets::show)))
        .service(one("/termination").route(web::put().to(changes::termination)))
        .service(one("/retry").route(web::post().to(changes::retry)));
}

async fn list(registry: Data<Registry>, caller: Caller, query: Query) -> Result<HttpResponse, ApiError> {
    page(&registry, &caller, Filter::default(), &query).await
}

async fn list_of_user(
    registry: Data<Registry>,
    caller: Caller,
    path: Path<String>,
    query: Query,
) -> Result<HttpResponse, ApiError> {
    let filter = Filter { user: Some(path::name("user", &path)?), ..Filter::default() };
    page(&registry, &caller, filter, &query).await
}

async fn list_of_product(
    registry: Data<Registry>,
    caller: Caller,
    path: Path<(String, String)>,
    query: Query,
) -> Result<HttpResponse, ApiError> {
    let (user, product) = (path::name("user", &path.0)?, path::name("product", &path.1)?);
    page(&registry, &caller, Filter { user: Some(user), product: Some(product), ..Filter::default() }, &query).await
}

async fn list_of_version(
    registry: Data<Registry>,
    caller: Caller,
    path: Path<(String, String, String)>,
    query: Query,
) -> Result<HttpResponse, ApiError> {
    let (user, product) = (path::name("user", &path.0)?, path::name("product", &path.1)?);
    let version = path::name("version", &path.2)?;
    let filter = Filter { user: Some(user), product: Some(product), version: Some(version), ..Filter::default() };
    page(&registry, &caller, filter, &query).await
}

async fn page(
    registry: &Registry,
    caller: &Caller,
    mut filter: Filter,
    query: &Query,
) -> Result<HttpResponse, ApiError> {
    if !caller.0.has(Role::Admin) {
        caller.require(Role::User)?;
        let own = caller.0.user.clone();
        if filter.user.as_ref().is_some_and(|user| *user != own) {
            return Ok(HttpResponse::Ok().json(ClusterList { clusters: Vec::new(), next: None }));
        }
        filter.user = Some(own);
    }
    if let Some(words) = query.get("status") {
        let status = |word: &str| {
            let parsed: Result<ClusterStatus, _> = word.trim().parse();
            parsed.map_err(|error| ApiError::new(ProblemCode::InvalidPath, format!("the parameter status: {error}")))
        };
        filter.statuses = words.split(',').map(status).collect::<Result<_, _>>()?;
    }
    filter.after = query.get("after").cloned();
    let limit = path::limit(query)?;
    let page = store::clusters::page(&registry.db, &filter, limit).await?;
    registry.report_unreadable(&page.unreadable);
    let clusters = shown::entries(registry, &page.clusters).await?;
    let mut response = HttpResponse::Ok();
    if !page.unreadable.is_empty() {
        response.insert_header((UNREADABLE_HEADER, page.unreadable.len()));
    }
    Ok(response.json(ClusterList { clusters, next: page.next }))
}

/// `?wait=STATUS&timeout=SECONDS` answers as soon as the cluster is there or can no longer get there, and otherwise with
/// where it stands when the time is over; the header `x-bigdata-wait` says which (`met`, `missed`, `timeout`).
async fn show(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
    query: Query,
) -> Result<HttpResponse, ApiError> {
    let Some(word) = query.get("wait") else {
        let cluster = path::cluster(&registry, &caller, &path).await?;
        return Ok(HttpResponse::Ok().json(shown::entry(&registry, cluster).await?));
    };
    let wanted: ClusterStatus = word.parse().map_err(|error: bigdata_common::status::UnknownWord| {
        ApiError::new(ProblemCode::InvalidPath, format!("the parameter wait: {error}"))
    })?;
    let timeout = path::number(&query, "timeout")?.unwrap_or(WAIT_DEFAULT).min(WAIT_MAX);
    let end = Instant::now() + Duration::from_secs(timeout);
    let mut changes = Listener::new(registry.clone().into_inner(), path::cluster_id(&caller, &path)?);
    loop {
        let cluster = path::cluster(&registry, &caller, &path).await?;
        let outcome = wait_outcome(&cluster, wanted);
        let over = Instant::now() >= end || registry.end.is_cancelled();
        if let Some(outcome) = outcome.or(over.then_some("timeout")) {
            let entry = shown::entry(&registry, cluster).await?;
            return Ok(HttpResponse::Ok().insert_header(("x-bigdata-wait", outcome)).json(entry));
        }
        tokio::select! {
            () = changes.next() => {}
            () = tokio::time::sleep_until(end) => {}
            () = registry.end.cancelled() => {}
        }
    }
}

fn wait_outcome(cluster: &Cluster, wanted: ClusterStatus) -> Option<&'static str> {
    let status = cluster.state.status();
    let passed = cluster.has_reached(wanted)
        && wanted.is_launching()
        && (status.is_launching() || status == ClusterStatus::Ready);
    if status == wanted || passed {
        return Some("met");
    }
    let missed = match status {
        ClusterStatus::Destroyed => true,
        // From here only taking down leads on.
        ClusterStatus::Failed | ClusterStatus::Destroying | ClusterStatus::Ready => {
            wanted.is_launching() || matches!(wanted, ClusterStatus::Ready | ClusterStatus::Failed)
        }
        ClusterStatus::Registered
        | ClusterStatus::Scheduling
        | ClusterStatus::Scheduled
        | ClusterStatus::Configuring
        | ClusterStatus::Configured => false,
    };
    missed.then_some("missed")
}

async fn specification(registry: &Registry, cluster: &Cluster) -> Result<Specification, ApiError> {
    let found = store::clusters::revision(&registry.db, &cluster.id, cluster.revision).await?;
    found.ok_or_else(|| ApiError::internal("a cluster has no revision"))
}

async fn nodes(registry: Data<Registry>, caller: Caller, path: ClusterPath) -> Result<Json<NodeList>, ApiError> {
    let cluster = path::cluster(&registry, &caller, &path).await?;
    let rows = store::nodes::all(&registry.db, &cluster.id).await?;
    let now = registry.clock.now();
    let mut revisions: BTreeMap<u32, Specification> = BTreeMap::new();
    let mut list = NodeList { nodes: Vec::new() };
    for row in &rows {
        // On the way from one revision to another they differ; one that leaves stays what it was.
        let revision = match revisions.entry(row.wish.revision) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let number = *entry.key();
                let found = store::clusters::revision(&registry.db, &cluster.id, number).await?;
                entry.insert(found.ok_or_else(|| ApiError::internal("a node's revision is not stored"))?)
            }
        };
        let declared = revision.blueprint.nodes.get(&row.name);
        list.nodes.extend(declared.map(|declared| view::node(cluster.id.dn(), declared, row, now)));
    }
    Ok(Json(list))
}

async fn node(
    registry: Data<Registry>,
    caller: Caller,
    path: Path<(String, String, String, String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (user, product, version, number, name) = path.into_inner();
    let list = nodes(registry, caller, ClusterPath::from((user, product, version, number))).await?;
    let found = list.0.nodes.into_iter().find(|node| node.name.as_str() == name);
    let unknown = || ApiError::new(ProblemCode::UnknownNode, format!("the cluster has no node {name:?}"));
    Ok(HttpResponse::Ok().json(found.ok_or_else(unknown)?))
}

async fn services(registry: Data<Registry>, caller: Caller, path: ClusterPath) -> Result<Json<ServiceList>, ApiError> {
    let cluster = path::cluster(&registry, &caller, &path).await?;
    let specification = specification(&registry, &cluster).await?;
    let rows = store::nodes::all(&registry.db, &cluster.id).await?;
    Ok(Json(ServiceList { services: view::services(&cluster, &specification.blueprint, &rows) }))
}

async fn endpoints(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
) -> Result<Json<EndpointList>, ApiError> {
    let cluster = path::cluster(&registry, &caller, &path).await?;
    Ok(Json(view::endpoints(cluster.id.dn(), &store::outputs::all(&registry.db, &cluster.id).await?)))
}
