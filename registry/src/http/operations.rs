//! Operations, and the older system's queue.

use super::path::{self, ClusterPath, Query, unknown_cluster};
use super::wishes::Wish;
use crate::change::asked::{self, Asked};
use crate::cluster::course::Course;
use crate::registry::Registry;
use crate::store;
use crate::store::operations::Scope;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use bigdata_chassis::http::{ApiError, Caller};
use bigdata_common::api::PREFIX;
use bigdata_common::api::operation::{OperationList, OperationView};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::status::{OperationKind, OperationStatus};
use bigdata_common::{ClusterId, OperationId, Role};
use serde_json::json;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/queue/{id}").route(web::get().to(queue)))
        .service(web::resource("/operations").route(web::get().to(list)))
        .service(web::resource("/operations/{id}").route(web::get().to(show)).route(web::delete().to(cancel)))
        .service(web::resource("/operations/{id}/retry").route(web::post().to(retry)))
        .service(
            web::resource("/clusters/{user}/{product}/{version}/{number}/operations")
                .route(web::get().to(list_of_cluster)),
        );
}

async fn find(registry: &Registry, caller: &Caller, id: &str) -> Result<OperationView, ApiError> {
    let unknown = || {
        let detail = format!("there is no operation {id:?} of yours; GET {PREFIX}/operations lists those there are");
        ApiError::new(ProblemCode::UnknownOperation, detail)
    };
    let parsed: OperationId = id.parse().map_err(|_| unknown())?;
    let operation = store::operations::find(&registry.db, parsed).await?.ok_or_else(unknown)?;
    if caller.0.may_see(&operation.cluster) { Ok(operation) } else { Err(unknown()) }
}

async fn queue(registry: Data<Registry>, caller: Caller, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let operation = find(&registry, &caller, &id).await?;
    let url = format!("{PREFIX}/{}", operation.cluster);
    // A launch is registered before it is answered: no job is ever pending.
    let body = json!({"status": "registered", "url": url});
    Ok(HttpResponse::SeeOther().insert_header((LOCATION, url)).json(body))
}

async fn show(registry: Data<Registry>, caller: Caller, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let operation = find(&registry, &caller, &id).await?;
    Ok(answer(operation))
}

fn answer(operation: OperationView) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if !operation.status.is_final() {
        response.insert_header((RETRY_AFTER, "1"));
    }
    response.json(operation)
}

async fn list(registry: Data<Registry>, caller: Caller, query: Query) -> Result<Json<OperationList>, ApiError> {
    let scope = if caller.0.has(Role::Admin) { Scope::Everything } else { Scope::User(caller.0.user.clone()) };
    if !caller.0.has(Role::Admin) {
        caller.require(Role::User)?;
    }
    page(&registry, scope, &query).await
}

async fn list_of_cluster(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
    query: Query,
) -> Result<Json<OperationList>, ApiError> {
    let cluster = path::cluster(&registry, &caller, &path).await?;
    page(&registry, Scope::Cluster(cluster.id), &query).await
}

async fn page(registry: &Registry, scope: Scope, query: &Query) -> Result<Json<OperationList>, ApiError> {
    let limit = path::limit(query)?;
    let after = match query.get("after") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            ApiError::new(ProblemCode::InvalidPath, "the parameter after is the `next` of the page before")
        })?),
    };
    let operations = store::operations::page(&registry.db, &scope, after, limit).await?;
    let full = operations.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = operations.last().filter(|_| full).map(|operation| operation.id.to_string());
    Ok(Json(OperationList { operations, next }))
}

async fn cancel(registry: Data<Registry>, caller: Caller, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let operation = find(&registry, &caller, &id).await?;
    if operation.status.is_final() {
        return Ok(answer(operation));
    }
    if operation.kind == OperationKind::Destroy {
        let detail = "a cluster that is being destroyed cannot be brought back";
        return Err(ApiError::new(ProblemCode::WrongStatus, detail));
    }
    let cluster = ClusterId::from(operation.cluster.clone());
    let mut tx = registry.db.begin().await?;
    let held = store::clusters::lock(&mut tx, &cluster).await?;
    let held = held.ok_or_else(|| unknown_cluster(&operation.cluster.to_string()))?;
    let mut course = Course::new(&mut tx, held, registry.clock.now());
    // It may have ended, and another begun, since it was looked at.
    if course.cancel(operation.id, format!("cancelled by {}", caller.0.user)).await? {
        course.store().await?;
        tx.commit().await?;
        registry.changed(&cluster);
    } else {
        drop(tx);
    }
    Ok(answer(find(&registry, &caller, &id).await?))
}

/// Begins what failed or was cancelled again: the same request, as it comes out for the cluster as it is now.
async fn retry(
    registry: Data<Registry>,
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let operation = find(&registry, &caller, &id).await?;
    let not_retriable = |detail: String| ApiError::new(ProblemCode::NotRetriable, detail);
    if let Some(detail) = no_retry(&operation) {
        return Err(not_retriable(detail));
    }
    if !body.is_empty() && body.as_ref() != b"{}" {
        let detail = "a retry asks for the same as before, and takes nothing; ask anew for something else";
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    let Some(sealed) = store::operations::asked(&registry.db, operation.id).await? else {
        let detail = format!("what was asked for with operation {} is not kept; ask for it anew", operation.id);
        return Err(not_retriable(detail));
    };
    let text = registry.vault.open(&asked::place(operation.id), &sealed).map_err(|error| {
        tracing::error!(operation = %operation.id, error = &error as &dyn std::error::Error, "a request cannot be opened");
        not_retriable("what was asked for was sealed with another key; ask for it anew".to_owned())
    })?;
    let asked: Asked = serde_json::from_str(&text).map_err(ApiError::internal)?;
    let wish = Wish { id: operation.cluster.into(), asked, dry_run: false, retry_of: Some(operation.id) };
    wish.begin(&registry, &caller, &request, &body).await
}

/// Why an operation is not begun again, with what leads on.
fn no_retry(operation: &OperationView) -> Option<String> {
    let (id, dn) = (operation.id, &operation.cluster);
    match (operation.status, operation.kind) {
        (OperationStatus::Pending | OperationStatus::Running, _) => Some(format!(
            "operation {id} is {} and has not ended; wait for that, or cancel it first (DELETE …/operations/{id}, or \
             bigdata operation cancel {id})",
            operation.status
        )),
        (OperationStatus::Succeeded, _) => Some(format!("operation {id} succeeded; ask anew for the same once more")),
        (_, OperationKind::Launch | OperationKind::Retry) => Some(format!(
            "a launch is taken up again with its cluster: POST …/{dn}/retry, or bigdata cluster retry {dn}"
        )),
        (_, OperationKind::Destroy) => Some(format!(
            "a cluster that is being destroyed is destroyed again: DELETE …/{dn}, or bigdata cluster destroy {dn}"
        )),
        (_, kind) if operation.cause.is_some() || kind == OperationKind::Reconfigure => Some(format!(
            "the platform began operation {id} by itself ({}), and begins another when there is new reason to",
            operation.cause.as_deref().unwrap_or("nodes were started anew")
        )),
        (
            OperationStatus::Failed | OperationStatus::Cancelled,
            OperationKind::Reconfigure
            | OperationKind::Action
            | OperationKind::Scale
            | OperationKind::Upgrade
            | OperationKind::Replace,
        ) => None,
    }
}
