//! Wishes that change a cluster: destroy, retry, termination policy.

use super::path::{self, ClusterPath, Query, unknown_cluster};
use crate::cluster::course::Course;
use crate::lifecycle::{Fact, State};
use crate::registry::Registry;
use crate::store;
use actix_web::HttpResponse;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::web::{Bytes, Data};
use bigdata_chassis::http::{ApiError, Caller, json};
use bigdata_common::api::PREFIX;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::status::{ClusterStatus, NodeStatus, Termination};
use bigdata_common::{ClusterId, OperationId};
use serde::Deserialize;

pub(super) async fn destroy(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
    query: Query,
) -> Result<HttpResponse, ApiError> {
    let id = path::cluster_id(&caller, &path)?;
    let force = path::flag(&query, "force")?;
    let mut tx = registry.db.begin().await?;
    let held = store::clusters::lock(&mut tx, &id).await?;
    let held = held.ok_or_else(|| unknown_cluster(&id.dn().to_string()))?;
    let down = matches!(held.state, State::Destroying { .. } | State::Destroyed { .. });
    if held.termination == Termination::DoNotTerminate && !down {
        let detail = "its termination policy is do-not-terminate; change that first (PUT …/termination, or \
            bigdata cluster termination)";
        return Err(ApiError::new(ProblemCode::TerminationForbidden, detail));
    }
    let nodes = store::nodes::all_in(&mut tx, &id).await?;
    let alive = nodes.iter().any(|node| node.status == NodeStatus::Running);
    let was_scheduled = held.has_reached(ClusterStatus::Scheduled);
    let mut course = Course::new(&mut tx, held, registry.clock.now());
    course.apply(Fact::DestroyRequested { force, was_scheduled, alive }).await?;
    let cluster = course.store().await?;
    tx.commit().await?;
    registry.changed(&id);
    let operation = match cluster.operation {
        Some(operation) => Some(operation),
        // Destroyed already: the operation that did it.
        None => last_operation(&registry, &id).await?,
    };
    let url = operation.map(|operation| format!("{PREFIX}/operations/{operation}"));
    let status = cluster.state.status();
    Ok(HttpResponse::Ok()
        .json(serde_json::json!({"message": "success", "operation": operation, "url": url, "status": status})))
}

/// Body of `PUT …/termination`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TerminationRequest {
    termination: Termination,
}

/// Changes what happens to the cluster's data when it is destroyed, and whether it may be.
pub(super) async fn termination(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    let id = path::cluster_id(&caller, &path)?;
    let TerminationRequest { termination } = json::body(&body)?;
    let mut tx = registry.db.begin().await?;
    let held = store::clusters::lock(&mut tx, &id).await?;
    let held = held.ok_or_else(|| unknown_cluster(&id.dn().to_string()))?;
    if matches!(held.state, State::Destroying { .. } | State::Destroyed { .. }) {
        let detail =
            format!("it is too late to change what happens to its data: the cluster is {}", held.state.status());
        return Err(ApiError::new(ProblemCode::WrongStatus, detail));
    }
    if held.termination != termination {
        let mut course = Course::new(&mut tx, held, registry.clock.now());
        course.cluster.termination = termination;
        course.log("operation", None, format!("the termination policy is {termination} now"));
        course.store().await?;
        tx.commit().await?;
        registry.changed(&id);
    }
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn retry(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
) -> Result<HttpResponse, ApiError> {
    let id = path::cluster_id(&caller, &path)?;
    let mut tx = registry.db.begin().await?;
    let held = store::clusters::lock(&mut tx, &id).await?;
    let held = held.ok_or_else(|| unknown_cluster(&id.dn().to_string()))?;
    if !matches!(held.state, State::Failed { .. }) {
        let detail = format!("only a failed cluster is taken up again; this one is {}", held.state.status());
        return Err(ApiError::new(ProblemCode::WrongStatus, detail));
    }
    let (summary, _) = store::nodes::summary(&mut tx, &id, held.generation, None).await?;
    let mut course = Course::new(&mut tx, held, registry.clock.now());
    course.apply(Fact::RetryRequested(summary)).await?;
    let cluster = course.store().await?;
    tx.commit().await?;
    registry.changed(&id);
    let Some(operation) = cluster.operation.or(last_operation(&registry, &id).await?) else {
        return Err(ApiError::internal("a retry has no operation"));
    };
    let operation = store::operations::find(&registry.db, operation).await?;
    let operation = operation.ok_or_else(|| ApiError::internal("a retry's operation is not stored"))?;
    let location = operation.url.clone();
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).insert_header((RETRY_AFTER, "1")).json(operation))
}

async fn last_operation(registry: &Registry, id: &ClusterId) -> Result<Option<OperationId>, ApiError> {
    let scope = store::operations::Scope::Cluster(id.clone());
    Ok(store::operations::page(&registry.db, &scope, None, 1).await?.pop().map(|operation| operation.id))
}
