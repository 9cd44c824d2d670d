//! Launches: `POST /products/{name}/{version}`, and what else that address does.

use super::path::{self, ProductPath, Query};
use super::products;
use crate::idempotency::Idempotency;
use crate::launch::{self, LaunchRequest};
use crate::registry::Registry;
use actix_web::http::header::LOCATION;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use bigdata_chassis::http::{ApiError, Caller, json};
use bigdata_chassis::trace::{self, Cause};
use bigdata_common::Role;
use serde_json::{Map, Value};
use tracing::Instrument;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::resource("/products/{name}/{version}")
            .route(web::get().to(products::show))
            .route(web::delete().to(products::delete))
            .route(web::post().to(post)),
    );
}

async fn post(
    registry: Data<Registry>,
    caller: Caller,
    path: ProductPath,
    query: Query,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    caller.require(Role::User)?;
    let product = path::product(&path)?;
    let options: Map<String, Value> = if body.is_empty() { Map::new() } else { json::body(&body)? };
    let key = Idempotency::of(&request, &body)?;
    let administrator = caller.0.has(Role::Admin);
    let wanted = LaunchRequest { user: caller.0.user, administrator, product, options, idempotency: key };
    if path::flag(&query, "dry_run")? {
        return Ok(HttpResponse::Ok().json(launch::dry_run(&registry, wanted).await?));
    }
    let shared = registry.clone().into_inner();
    let launching = async move { launch::launch(&shared, wanted).await };
    let launching = registry.runtime.spawn(trace::within(Cause::current(), launching).in_current_span());
    let launched = launching.await.map_err(ApiError::internal)??;
    let mut body = serde_json::to_value(&launched).map_err(ApiError::internal)?;
    // Beside `dn`, under the name that newer clients look for.
    if let Value::Object(fields) = &mut body {
        fields.insert("cluster".to_owned(), Value::from(launched.dn.to_string()));
    }
    Ok(HttpResponse::Accepted().insert_header((LOCATION, launched.url)).json(body))
}
