//! What users ask of a cluster that is ready: actions, other options, another version, another node.

use super::path::{self, ClusterPath, Query};
use crate::backups::Asker;
use crate::change::asked::Asked;
use crate::change::request::{Request, Unasked};
use crate::idempotency::Idempotency;
use crate::registry::Registry;
use crate::store;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use bigdata_chassis::http::{ApiError, Caller, json};
use bigdata_common::api::change::{ActionList, OperationAccepted};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::{ClusterId, Name, OperationId, Role};
use serde::de::DeserializeOwned;

/// How often a wish is compared anew with a cluster that was changed meanwhile.
const ATTEMPTS: u32 = 3;
/// The most nodes that are named at once.
const REMOVE_MAX: usize = 1000;

/// A cluster's path with one part more.
type LongPath = Path<(String, String, String, String, String)>;

pub(super) fn routes(config: &mut ServiceConfig) {
    let one = |tail: &str| web::resource(format!("/clusters/{{user}}/{{product}}/{{version}}/{{number}}{tail}"));
    config
        .service(one("/actions").route(web::get().to(actions)))
        .service(one("/actions/{action}").route(web::post().to(act)))
        .service(one("/scale").route(web::post().to(scale)))
        .service(one("/upgrade").route(web::post().to(upgrade)))
        .service(one("/nodes/{node}/replace").route(web::post().to(replace)));
}

/// A body that may be left out.
fn read<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, ApiError> {
    if body.is_empty() { Ok(T::default()) } else { json::body(body) }
}

fn split(path: LongPath) -> (ClusterPath, String) {
    let (user, product, version, number, last) = path.into_inner();
    (ClusterPath::from((user, product, version, number)), last)
}

fn accepted(accepted: &OperationAccepted) -> HttpResponse {
    let location = (LOCATION, accepted.url.clone());
    HttpResponse::Accepted().insert_header(location).insert_header((RETRY_AFTER, "1")).json(accepted)
}

async fn actions(registry: Data<Registry>, caller: Caller, path: ClusterPath) -> Result<Json<ActionList>, ApiError> {
    let cluster = path::cluster(&registry, &caller, &path).await?;
    Ok(Json(store::clusters::terms(&registry.db, &cluster).await?.actions.view()))
}

async fn act(
    registry: Data<Registry>,
    caller: Caller,
    path: LongPath,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let (path, action) = split(path);
    let asked = Asked::Action { action, arguments: read(&body)? };
    let wish = Wish { id: path::cluster_id(&caller, &path)?, asked, dry_run: false, retry_of: None };
    wish.begin(&registry, &caller, &request, &body).await
}

async fn replace(
    registry: Data<Registry>,
    caller: Caller,
    path: LongPath,
    query: Query,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let (path, node) = split(path);
    let elsewhere = path::flag(&query, "elsewhere")?;
    let id = path::cluster(&registry, &caller, &path).await?.id;
    let unknown = |_| ApiError::new(ProblemCode::UnknownNode, format!("the cluster has no node {node:?}"));
    let asked = Asked::Replace { node: node.parse().map_err(unknown)?, elsewhere };
    let wish = Wish { id, asked, dry_run: false, retry_of: None };
    wish.begin(&registry, &caller, &request, &body).await
}

async fn scale(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
    query: Query,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let asked = Asked::Scale { options: read(&body)?, remove: named(&query)? };
    let dry_run = path::flag(&query, "dry_run")?;
    let wish = Wish { id: path::cluster_id(&caller, &path)?, asked, dry_run, retry_of: None };
    wish.begin(&registry, &caller, &request, &body).await
}

/// `?remove=node1,node2`.
fn named(query: &Query) -> Result<Vec<Name>, ApiError> {
    let Some(text) = query.get("remove") else { return Ok(Vec::new()) };
    let name = |word: &str| {
        word.trim()
            .parse()
            .map_err(|_| path::wrong("remove", format!("names nodes, separated by commas; not {word:?}")))
    };
    let names: Vec<Name> = text.split(',').map(name).collect::<Result<_, _>>()?;
    if names.len() > REMOVE_MAX {
        return Err(path::wrong("remove", format!("names at most {REMOVE_MAX} nodes")));
    }
    Ok(names)
}

async fn upgrade(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
    query: Query,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let asked = Asked::Upgrade { request: read(&body)? };
    let dry_run = path::flag(&query, "dry_run")?;
    let wish = Wish { id: path::cluster_id(&caller, &path)?, asked, dry_run, retry_of: None };
    wish.begin(&registry, &caller, &request, &body).await
}

/// What is asked of a cluster that the caller may see.
pub(super) struct Wish {
    pub(super) id: ClusterId,
    pub(super) asked: Asked,
    /// Whether it is only shown what would be done.
    pub(super) dry_run: bool,
    /// The operation that is begun again, where one is.
    pub(super) retry_of: Option<OperationId>,
}

impl Wish {
    /// Prepares what is asked, and shows it or asks for it.
    pub(super) async fn begin(
        self,
        registry: &Registry,
        caller: &Caller,
        request: &HttpRequest,
        body: &Bytes,
    ) -> Result<HttpResponse, ApiError> {
        let idempotency = Idempotency::of(request, body)?;
        let user = &caller.0.user;
        let asking = Request { user, idempotency: idempotency.as_ref(), retry_of: self.retry_of };
        let asker = Asker { user, administrator: caller.0.has(Role::Admin) };
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            let cluster = store::clusters::find(&registry.db, &self.id).await?;
            let cluster = cluster.ok_or_else(|| path::unknown_cluster(&self.id.dn().to_string()))?;
            if let Some(reply) = asking.replayed(registry).await? {
                return Ok(accepted(&reply));
            }
            asking.refuse_second(registry).await?;
            let prepared = self.asked.prepare(registry, &cluster, &asker).await?;
            if self.dry_run {
                return Ok(HttpResponse::Ok().json(prepared.plan));
            }
            match asking.ask(registry, &cluster.id, &self.asked, prepared).await {
                Ok(reply) => return Ok(accepted(&reply)),
                Err(Unasked::Meanwhile(error)) => refused = Some(error),
                Err(Unasked::Refused(error)) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| ApiError::internal("a change was never asked for")))
    }
}
