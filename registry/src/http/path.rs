//! Parts of paths and queries.

use crate::cluster::record::Cluster;
use crate::registry::Registry;
use crate::store;
use bigdata_chassis::http::{ApiError, Caller};
use bigdata_common::api::PREFIX;
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::{ClusterDn, ClusterId, Name, ProductRef};
use std::collections::HashMap;

/// Entries of a page where nothing is said.
const LIMIT_DEFAULT: u32 = 100;
/// The most entries of a page.
const LIMIT_MAX: u32 = 500;

/// `{user}/{product}/{version}/{number}`.
pub(crate) type ClusterPath = actix_web::web::Path<(String, String, String, String)>;
/// `{name}/{version}`.
pub(crate) type ProductPath = actix_web::web::Path<(String, String)>;
/// A query's parameters.
pub(crate) type Query = actix_web::web::Query<HashMap<String, String>>;

/// A name in a path.
pub(crate) fn name(what: &str, text: &str) -> Result<Name, ApiError> {
    text.parse().map_err(|error: bigdata_common::name::InvalidName| {
        ApiError::new(ProblemCode::InvalidPath, format!("the {what} {text:?} in the address: {error}"))
    })
}

/// A product in a path.
pub(crate) fn product(path: &ProductPath) -> Result<ProductRef, ApiError> {
    Ok(ProductRef { name: name("product", &path.0)?, version: name("version", &path.1)? })
}

/// The cluster of a path, where it exists for the caller.
pub(crate) async fn cluster(registry: &Registry, caller: &Caller, path: &ClusterPath) -> Result<Cluster, ApiError> {
    let id = cluster_id(caller, path)?;
    store::clusters::find(&registry.db, &id).await?.ok_or_else(|| unknown_cluster(&id.dn().to_string()))
}

/// The id of a cluster that the caller may see, if it exists.
pub(crate) fn cluster_id(caller: &Caller, path: &ClusterPath) -> Result<ClusterId, ApiError> {
    let text = format!("clusters/{}/{}/{}/{}", path.0, path.1, path.2, path.3);
    let dn: ClusterDn = text.parse().map_err(|_| unknown_cluster(&text))?;
    if !caller.0.may_see(&dn) {
        return Err(unknown_cluster(&text));
    }
    Ok(dn.into())
}

/// 404 for a cluster that does not exist, or not for the caller.
pub(crate) fn unknown_cluster(dn: &str) -> ApiError {
    let detail = format!("there is no cluster {dn:?} of yours; GET {PREFIX}/clusters lists those there are");
    ApiError::new(ProblemCode::UnknownCluster, detail)
}

/// `limit` of a query.
pub(crate) fn limit(query: &Query) -> Result<u32, ApiError> {
    let Some(limit) = number(query, "limit")? else { return Ok(LIMIT_DEFAULT) };
    match u32::try_from(limit) {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(wrong("limit", format!("is from 1 to {LIMIT_MAX}, not {limit}"))),
    }
}

/// A number of a query.
pub(crate) fn number(query: &Query, key: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = query.get(key) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| wrong(key, format!("is a number, not {text:?}")))
}

/// 400 for a parameter that is not of its form.
pub(crate) fn wrong(key: &str, words: String) -> ApiError {
    let detail = format!("the parameter {key} {words}");
    ApiError::with_faults(ProblemCode::InvalidPath, detail, vec![Fault::new(format!("/{key}"), words)])
}

/// A flag of a query: `?dry_run`, `?dry_run=true`.
pub(crate) fn flag(query: &Query, key: &str) -> Result<bool, ApiError> {
    match query.get(key).map(String::as_str) {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(text) => Err(wrong(key, format!("is true or false, not {text:?}"))),
    }
}
