//! `…/container-rights`: what a product's containers may do on the machine. An operator says so, not the publisher.

use super::path::{self, ProductPath};
use super::product_parts::{change, text};
use crate::launch::find_product;
use crate::registry::Registry;
use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Json};
use bigdata_chassis::http::{ApiError, Caller, json};
use bigdata_common::Role;
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::api::product::ProductRights;
use bigdata_common::container_options::{ContainerRight, ContainerRights};

/// The longest body, in bytes.
const BODY_MAX: usize = 1024;

pub(super) async fn get(
    registry: Data<Registry>,
    _caller: Caller,
    path: ProductPath,
) -> Result<Json<ProductRights>, ApiError> {
    Ok(Json(find_product(&registry, &path::product(&path)?).await?.container_rights))
}

/// Takes the whole list; an empty one takes every right away, from the next launch on.
pub(super) async fn put(
    registry: Data<Registry>,
    caller: Caller,
    path: ProductPath,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    caller.require(Role::Admin)?;
    text(&body, BODY_MAX)?;
    let given = read(&json::body::<Vec<String>>(&body)?)?;
    let product = find_product(&registry, &path::product(&path)?).await?;
    if product.template.is_none() && !given.is_empty() {
        let detail = format!("the product {} has no template yet; look at it, and then allow it", product.reference);
        return Err(ApiError::new(ProblemCode::ProductIncomplete, detail));
    }
    let (by, now) = (caller.0.user, registry.clock.now());
    tracing::info!(product = %product.reference, user = %by, rights = ?given, "container rights are set");
    change(&registry, &path, |product| {
        let needed = std::mem::take(&mut product.container_rights.needed);
        product.container_rights = ProductRights { needed, given, by: Some(by), at: Some(now), lapsed_at: None };
    })
    .await
}

fn read(names: &[String]) -> Result<ContainerRights, ApiError> {
    let (mut given, mut faults) = (ContainerRights::new(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        match name.parse::<ContainerRight>() {
            Ok(right) => drop(given.insert(right)),
            Err(error) => faults.push(Fault::new(format!("/{index}"), error.to_string())),
        }
    }
    match faults.first() {
        None => Ok(given),
        Some(first) => Err(ApiError::with_faults(ProblemCode::InvalidField, first.detail.clone(), faults.clone())),
    }
}
