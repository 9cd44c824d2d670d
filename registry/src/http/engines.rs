//! `PUT /internal/v1/engines`: how many agents have a container engine.

use crate::registry::Registry;
use crate::store;
use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use bigdata_chassis::http::{ApiError, Internal, json};
use bigdata_common::internal::Engines;

pub(super) async fn put(registry: Data<Registry>, _internal: Internal, body: Bytes) -> Result<HttpResponse, ApiError> {
    let engines: Engines = json::body(&body)?;
    let mut tx = registry.db.begin().await?;
    store::engines::hear(&mut tx, &engines, registry.clock.now()).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
