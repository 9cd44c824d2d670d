//! `POST /products/{name}/{version}?dry_run=true`: what the registry would launch, and whether the framework has a place.

use crate::body;
use crate::control::told_by;
use crate::proxy::Asking;
use crate::routes::Route;
use crate::state::State;
use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use bigdata_chassis::http::{ApiError, ClientError};
use bigdata_common::api::cluster::Fit;
use serde_json::Value;

/// Whether the request asks for a dry run.
pub(crate) fn is_asked(request: &HttpRequest) -> bool {
    request.method() == Method::POST
        && request
            .query_string()
            .split('&')
            .any(|pair| matches!(pair, "dry_run=true" | "dry_run=1" | "dry_run=" | "dry_run"))
}

/// The registry's [`bigdata_common::api::cluster::DryRun`], with `fits` from the framework. A framework that is away
/// costs the answer that one field, and a warning says so.
///
/// # Errors
/// 413, whatever the registry says, 503 where it does not answer.
pub(crate) async fn answer(
    state: &State,
    route: &Route,
    request: &HttpRequest,
    payload: web::Payload,
    asking: &Asking<'_>,
) -> Result<HttpResponse, ApiError> {
    let body = body::whole(request, payload, route).await?.unwrap_or_default();
    let registry = state.registry.client.on_behalf_of(asking.principal);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut call = registry.request(hyper::Method::POST, path).body(body);
    if let Some(kind) = request.headers().get(CONTENT_TYPE) {
        call = call.header(CONTENT_TYPE.as_str(), kind.as_bytes());
    }
    let answer = registry.send(call).await.map_err(|error| told_by("registry", error))?;
    if answer.status() != hyper::StatusCode::OK {
        return Err(ApiError::internal(format!("the registry answered a dry run with {}", answer.status())));
    }
    let mut dry_run: Value = answer.json().await.map_err(ApiError::internal)?;
    let framework = state.framework.client.on_behalf_of(asking.principal);
    let fit: Result<Fit, ClientError> = framework.post("/internal/v1/fit", &dry_run["blueprint"]).await;
    merge(&mut dry_run, fit);
    Ok(HttpResponse::Ok().json(dry_run))
}

fn merge(dry_run: &mut Value, fit: Result<Fit, ClientError>) {
    match fit {
        Ok(fit) => dry_run["fits"] = serde_json::json!(fit),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a dry run could not be fitted");
            let warning = format!("whether it fits now is not known: {error}");
            match &mut dry_run["warnings"] {
                Value::Array(warnings) => warnings.push(warning.into()),
                absent => *absent = serde_json::json!([warning]),
            }
        }
    }
}
