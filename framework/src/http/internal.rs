//! What executors and the gateway ask.

use super::Context;
use crate::core::EnrolRefusal;
use crate::core::view::NoControl;
use actix_web::web::{Bytes, Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use bigdata_chassis::http::{ApiError, Internal, json};
use bigdata_common::api::cluster::Fit;
use bigdata_common::api::orphan::OrphanList;
use bigdata_common::api::problem::{Problem, ProblemCode};
use bigdata_common::blueprint::Blueprint;
use bigdata_common::internal::{ControlGrant, ControlRequest, EnrolRequest, NodeSpecification, Peers};
use bigdata_common::invariants::Invariants;
use bigdata_common::{ClusterId, Name};

/// `POST /internal/v1/nodes/enrol`: the token in the body proves the executor.
pub(super) async fn enrol(body: Bytes, context: Data<Context>) -> Result<HttpResponse, ApiError> {
    let request: EnrolRequest = json::body(&body)?;
    let attempt = request.attempt;
    if request.fingerprint.len() != 64 || !request.fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let detail = "/fingerprint: a SHA-256 in hexadecimal is wanted";
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    if request.control.parse::<std::net::SocketAddr>().is_err() {
        return Err(ApiError::new(ProblemCode::InvalidField, "/control: an address and port is wanted"));
    }
    let mut specification: NodeSpecification = match context.driver.enrol(request).await? {
        Ok(specification) => specification,
        Err(refusal) => return Ok(refused(refusal)),
    };
    specification.secrets = context.registry.secrets(&specification.cluster).await.map_err(|error| {
        ApiError::unavailable("the registry, which has the cluster's secrets, does not answer; try again", error)
    })?;
    specification.control_key = context.keys.in_base64(attempt);
    Ok(HttpResponse::Ok().json(specification))
}

/// `GET /internal/v1/nodes/peers`, with a token that the executor makes with its control key: see [`Peers`].
pub(super) async fn peers(request: HttpRequest, context: Data<Context>) -> Result<HttpResponse, ApiError> {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer "));
    let attempt = token.and_then(|token| context.keys.attempt_of(token, context.clock.now())).ok_or_else(|| {
        ApiError::new(ProblemCode::Unauthenticated, "a token that is made with the attempt's control key is wanted")
    })?;
    Ok(match context.driver.ask(move |core, _| core.peers(attempt)).await? {
        Ok(peers) => HttpResponse::Ok().json(Peers { peers }),
        Err(refusal) => refused(refusal),
    })
}

fn refused(refusal: EnrolRefusal) -> HttpResponse {
    let (status, code) = match refusal {
        EnrolRefusal::Unknown => (404, ProblemCode::UnknownNode),
        EnrolRefusal::Ended => (410, ProblemCode::UnknownNode),
        EnrolRefusal::Token | EnrolRefusal::Other => (403, ProblemCode::Forbidden),
    };
    let problem = Problem { status, ..Problem::new(code, refusal.to_string()) };
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or(actix_web::http::StatusCode::FORBIDDEN);
    HttpResponse::build(status).content_type("application/problem+json").json(problem)
}

/// `POST /internal/v1/clusters/{id}/nodes/{node}/control`.
pub(super) async fn control(
    _internal: Internal,
    path: Path<(String, String)>,
    body: Bytes,
    context: Data<Context>,
) -> Result<Json<ControlGrant>, ApiError> {
    let (id, node) = path.into_inner();
    let invalid = |error: String| ApiError::new(ProblemCode::InvalidPath, error);
    let id = ClusterId::parse_any(&id).map_err(|error| invalid(error.to_string()))?;
    let node: Name = node.parse().map_err(|error: bigdata_common::name::InvalidName| invalid(error.to_string()))?;
    let request: ControlRequest = json::body(&body)?;
    let asked = (id.clone(), node.clone());
    let found = context
        .driver
        .ask(move |core, _| core.controlled(&asked.0, &asked.1).map(|task| (task.id, task.enrolled.clone())))
        .await?;
    let (attempt, enrolled) = found.map_err(|reason| not_controlled(reason, &id, &node))?;
    let enrolled = enrolled.ok_or_else(|| not_controlled(NoControl::NotEnrolled, &id, &node))?;
    Ok(Json(ControlGrant {
        control: enrolled.control,
        fingerprint: enrolled.fingerprint,
        attempt,
        token: context.keys.token(attempt, &request.caller, context.clock.now()),
    }))
}

fn not_controlled(reason: NoControl, id: &ClusterId, node: &Name) -> ApiError {
    match reason {
        NoControl::UnknownCluster => {
            ApiError::new(ProblemCode::UnknownCluster, format!("there is no cluster {} here", id.dn()))
        }
        NoControl::UnknownNode => {
            ApiError::new(ProblemCode::UnknownNode, format!("the cluster {} has no node {node}", id.dn()))
        }
        NoControl::NotEnrolled => ApiError::new(
            ProblemCode::NodeUnavailable,
            format!("the node {node} has no executor that has enrolled; wait until it runs"),
        ),
    }
}

/// `POST /internal/v1/fit`.
pub(super) async fn fit(_internal: Internal, body: Bytes, context: Data<Context>) -> Result<Json<Fit>, ApiError> {
    let blueprint: Blueprint = json::body(&body)?;
    Ok(Json(context.driver.ask(move |core, _| core.fit(&blueprint)).await?))
}

/// `GET /internal/v1/orphans`.
pub(super) async fn orphans(_internal: Internal, context: Data<Context>) -> Result<Json<OrphanList>, ApiError> {
    Ok(Json(OrphanList { orphans: context.driver.ask(|core, _| core.orphans()).await? }))
}

/// `GET /internal/v1/invariants`.
pub(super) async fn invariants(_internal: Internal, context: Data<Context>) -> Result<Json<Invariants>, ApiError> {
    Ok(Json(context.driver.ask(|core, _| core.invariants()).await?))
}
