//! Products as wholes: register, list, show, delete.

use super::path::{self, ProductPath};
use crate::launch::{find_product, unknown_product, unless_it_comes};
use crate::product::{Product, version};
use crate::registry::Registry;
use crate::store;
use crate::store::products::Listed;
use actix_web::http::header::LOCATION;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpResponse, web::Json};
use bigdata_chassis::http::{ApiError, Caller, json};
use bigdata_common::api::PREFIX;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::api::product::{ProductList, ProductRequest, ProductView, VersionList};
use bigdata_common::{ProductRef, Role};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/products").route(web::get().to(list)).route(web::post().to(register)))
        .service(web::resource("/products/{name}").route(web::get().to(versions)));
}

/// The longest description and logo address, in bytes.
const TEXT_MAX: usize = 4096;

async fn register(registry: Data<Registry>, caller: Caller, body: Bytes) -> Result<HttpResponse, ApiError> {
    caller.require(Role::Publisher)?;
    let request: ProductRequest = json::body(&body)?;
    for text in [&request.description, &request.logo_url].into_iter().flatten() {
        if text.len() > TEXT_MAX || text.contains('\0') {
            let detail = format!("description and logo_url have at most {TEXT_MAX} bytes, and no NUL");
            return Err(ApiError::new(ProblemCode::InvalidField, detail));
        }
    }
    let reference = ProductRef { name: request.name.clone(), version: request.version.clone() };
    let location = format!("{PREFIX}/products/{reference}");
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let product = Product::new(reference.clone(), text(&request.description), text(&request.logo_url));
    let mut tx = registry.db.begin().await?;
    // Of several that register it at once, one does: what it has is never reset.
    if store::products::insert(&mut tx, &product).await? {
        tx.commit().await?;
        return Ok(HttpResponse::Created().insert_header((LOCATION, location)).finish());
    }
    drop(tx);
    let existing = find_product(&registry, &reference).await?;
    let agrees = request.description.is_none_or(|description| description == existing.description)
        && request.logo_url.is_none_or(|logo_url| logo_url == existing.logo_url);
    if agrees {
        return Ok(HttpResponse::Ok().insert_header((LOCATION, location)).finish());
    }
    let detail = format!("the product {reference} exists with another description or logo_url; choose another version");
    Err(ApiError::new(ProblemCode::ProductExists, detail))
}

async fn list(registry: Data<Registry>, _caller: Caller) -> Result<Json<ProductList>, ApiError> {
    let mut listed = store::products::list(&registry.db, None, None).await?;
    listed.sort_by(|left, right| {
        let by_name = left.reference.name.cmp(&right.reference.name);
        by_name.then_with(|| by_version(left, right))
    });
    let mut products: Vec<_> = listed.iter().map(|product| product.reference.name.clone()).collect();
    products.dedup();
    Ok(Json(ProductList { products, entries: listed.into_iter().map(view).collect() }))
}

async fn versions(
    registry: Data<Registry>,
    _caller: Caller,
    name: web::Path<String>,
) -> Result<Json<VersionList>, ApiError> {
    let name = path::name("product", &name)?;
    let mut listed = store::products::list(&registry.db, Some(&name), None).await?;
    if listed.is_empty() {
        let detail = format!("there is no product {name}; GET {PREFIX}/products lists those there are");
        return Err(unless_it_comes(&registry, ApiError::new(ProblemCode::UnknownProduct, detail)));
    }
    listed.sort_by(by_version);
    Ok(Json(VersionList { versions: listed.into_iter().map(|product| product.reference.version).collect() }))
}

fn by_version(left: &Listed, right: &Listed) -> std::cmp::Ordering {
    version::compare(left.reference.version.as_str(), right.reference.version.as_str())
}

pub(super) async fn show(
    registry: Data<Registry>,
    _caller: Caller,
    path: ProductPath,
) -> Result<Json<ProductView>, ApiError> {
    let reference = path::product(&path)?;
    let listed = store::products::list(&registry.db, Some(&reference.name), Some(&reference.version)).await?;
    listed.into_iter().next().map(|listed| Json(view(listed))).ok_or_else(|| unknown_product(&registry, &reference))
}

fn view(listed: Listed) -> ProductView {
    ProductView {
        dn: format!("products/{}", listed.reference),
        name: listed.reference.name,
        version: listed.reference.version,
        description: listed.description,
        logo_url: listed.logo_url,
        revision: listed.revision,
        missing: if listed.has_template { Vec::new() } else { vec!["template".to_owned()] },
        clusters: listed.clusters,
        container_rights: listed.container_rights,
    }
}

pub(super) async fn delete(
    registry: Data<Registry>,
    caller: Caller,
    path: ProductPath,
) -> Result<HttpResponse, ApiError> {
    caller.require(Role::Publisher)?;
    let reference = path::product(&path)?;
    let mut tx = registry.db.begin().await?;
    if store::products::lock(&mut tx, &reference).await?.is_none() {
        drop(tx);
        return Err(find_product(&registry, &reference)
            .await
            .err()
            .unwrap_or_else(|| unknown_product(&registry, &reference)));
    }
    let clusters = store::clusters::count_of_product(&mut tx, &reference).await?;
    if clusters > 0 {
        let detail = format!("{clusters} cluster(s) of {reference} are not destroyed; destroy them first");
        return Err(ApiError::new(ProblemCode::ProductInUse, detail));
    }
    store::products::delete(&mut tx, &reference).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
