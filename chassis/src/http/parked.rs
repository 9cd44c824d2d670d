//! What a service could not handle, for the operator: told, and brought back into handling.

use super::{ApiError, Internal};
use crate::Db;
use crate::messaging::parked::{self, Parked};
use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use bigdata_common::Timestamp;
use bigdata_common::api::problem::ProblemCode;
use serde::Serialize;
use serde_json::{Value, json};

/// The most that is listed.
const LIST_MAX: u32 = 1_000;

/// Registers `GET /internal/v1/parked`, which answers `{"parked": [{event_id, parked_at, reason, envelope}]}`, the newest
/// first, and `POST /internal/v1/parked/{event_id}/retry`, which answers 204, or 404 where nothing is parked by this id.
/// Register it before a scope of `/internal/v1`.
pub fn parked_routes(config: &mut ServiceConfig, db: &Db) {
    let db = Data::new(db.clone());
    let list = web::resource("/internal/v1/parked").app_data(db.clone()).route(web::get().to(list));
    let retry = web::resource("/internal/v1/parked/{event_id}/retry").app_data(db).route(web::post().to(retry));
    config.service(list).service(retry);
}

/// A parked event in a reply.
#[derive(Debug, Serialize)]
struct ParkedView {
    event_id: String,
    parked_at: Timestamp,
    reason: String,
    /// The event; a text where it is no JSON.
    envelope: Value,
}

impl From<Parked> for ParkedView {
    fn from(parked: Parked) -> Self {
        let Parked { event_id, envelope, reason, parked_at_ms } = parked;
        let envelope = serde_json::from_str(&envelope).unwrap_or(Value::String(envelope));
        Self { event_id, parked_at: Timestamp::from_millis(parked_at_ms), reason, envelope }
    }
}

async fn list(db: Data<Db>, _internal: Internal) -> Result<Json<Value>, ApiError> {
    let parked: Vec<ParkedView> = parked::list(&db, LIST_MAX).await?.into_iter().map(ParkedView::from).collect();
    Ok(Json(json!({"parked": parked})))
}

async fn retry(db: Data<Db>, _internal: Internal, event_id: Path<String>) -> Result<HttpResponse, ApiError> {
    if parked::retry(&db, &event_id).await? {
        return Ok(HttpResponse::NoContent().finish());
    }
    let detail = format!("no event {event_id} is parked here; GET /internal/v1/parked lists those that are");
    Err(ApiError::new(ProblemCode::UnknownRoute, detail))
}
