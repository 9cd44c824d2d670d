//! The part `actions` of a product.

use super::path::{self, ProductPath, Query};
use super::product_parts::{answer, change, text, wants_text};
use crate::actions::{ACTIONS_MAX, Actions};
use crate::launch::find_product;
use crate::registry::Registry;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use bigdata_chassis::http::{ApiError, Caller};
use bigdata_common::Role;
use bigdata_common::api::problem::ProblemCode;
use serde_json::Value;

pub(super) async fn put(
    registry: Data<Registry>,
    caller: Caller,
    path: ProductPath,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    caller.require(Role::Publisher)?;
    let actions = text(&body, ACTIONS_MAX)?;
    if actions.trim().is_empty() {
        return change(&registry, &path, |product| product.actions = None).await;
    }
    if let Err(faults) = Actions::parse(&actions) {
        let first = faults.first().map(|fault| format!("{} {}", fault.pointer, fault.detail)).unwrap_or_default();
        let detail = format!("the actions are no declaration: {first}");
        return Err(ApiError::with_faults(ProblemCode::InvalidActions, detail, faults));
    }
    change(&registry, &path, |product| product.actions = Some(actions)).await
}

/// The declaration as it was sent; `?parsed=true` as clients see a cluster's, with the options' defaults.
pub(super) async fn get(
    registry: Data<Registry>,
    _caller: Caller,
    path: ProductPath,
    query: Query,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let product = find_product(&registry, &path::product(&path)?).await?;
    if path::flag(&query, "parsed")? {
        let actions = product.actions.as_deref().map_or_else(|| Ok(Actions::default()), Actions::parse);
        let actions = actions.map_err(|_| ApiError::internal("stored actions are no declaration"))?;
        let declared = product.declaration().unwrap_or_default().options;
        let defaults = declared.into_iter().map(|(name, declared)| (name, declared.default)).collect();
        // An example of a required option may be no time: then it is not said how often.
        let actions = actions.clone().resolve(&defaults).unwrap_or(actions);
        return Ok(HttpResponse::Ok().json(actions.view()));
    }
    let actions = product.actions.unwrap_or_else(|| "{}".to_owned());
    if wants_text(&request) {
        return Ok(answer(&request, actions));
    }
    let actions: Value = serde_json::from_str(&actions).map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().json(actions))
}
