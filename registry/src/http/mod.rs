//! What people and services ask, over HTTP.

mod backups;
mod changes;
mod clusters;
mod container_rights;
mod engines;
mod events;
mod heard;
mod internal;
mod launch;
mod operations;
mod parameters;
mod path;
mod product_actions;
mod product_parts;
mod products;
mod secrets;
mod shown;
mod wishes;

pub(crate) use path::unknown_cluster;

use crate::registry::Registry;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use bigdata_chassis::http::parked_routes;
use std::sync::Arc;

/// Every route of the registry.
pub(crate) fn routes(config: &mut ServiceConfig, registry: &Arc<Registry>) {
    config.app_data(Data::from(Arc::clone(registry)));
    config.service(
        web::scope(bigdata_common::api::PREFIX)
            .wrap(from_fn(parameters::middleware))
            .configure(products::routes)
            .configure(product_parts::routes)
            .configure(launch::routes)
            .configure(operations::routes)
            .configure(events::routes)
            .configure(backups::routes)
            .configure(wishes::routes)
            .configure(clusters::routes),
    );
    parked_routes(config, &registry.db);
    config.service(
        web::scope("/internal/v1")
            .wrap(from_fn(parameters::middleware))
            .configure(internal::routes)
            .configure(backups::internal_routes),
    );
}
