//! What a product's template renders to with the defaults and examples of its own options: publishers are told at once of
//! containers that nobody may have.

use super::plan::{declaration, read};
use super::rights;
use crate::options::Group;
use crate::product::Product;
use crate::registry::Registry;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::container_options::ContainerRights;
use bigdata_common::{ClusterDn, Name};
use serde_json::{Map, Value};

/// Where `docker_opts` stand.
const PLACE: &str = "/docker_opts";

/// The container rights that the product takes; None where it cannot be said, since it does not render with these values.
///
/// # Errors
/// Every `docker_opts` that no right would help.
pub(crate) async fn trial(
    registry: &Registry,
    product: &Product,
    by: &Name,
) -> Result<Option<ContainerRights>, ApiError> {
    let Ok(declaration) = declaration(product) else { return Ok(None) };
    let required = declaration.options.iter().filter(|(_, declared)| declared.group == Group::Required);
    let examples: Map<String, Value> =
        required.map(|(name, declared)| (name.clone(), declared.default.clone())).collect();
    let Ok(options) = declaration.resolve(&examples) else { return Ok(None) };
    let id = ClusterDn { user: by.clone(), product: product.reference.clone(), number: 1 }.into();
    match read(registry, product, &declaration, &options, &id).await {
        Ok(read) => {
            rights::written_out(product, &read.needed)?;
            Ok(Some(read.needed.iter().map(|needed| needed.option.right).collect()))
        }
        Err(error) => {
            let faults = error.problem().errors.iter().filter(|fault| fault.pointer.ends_with(PLACE));
            refused(faults.cloned().collect()).map_or(Ok(None), Err)
        }
    }
}

fn refused(faults: Vec<Fault>) -> Option<ApiError> {
    let first = faults.first()?;
    let detail = format!(
        "with the options' defaults, the template asks for a container that nobody may have, at {}: {}",
        first.pointer, first.detail
    );
    Some(ApiError::with_faults(ProblemCode::InvalidBlueprint, detail, faults))
}
