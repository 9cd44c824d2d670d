//! What people and services ask, over HTTP.

mod changes;
mod clusters;
mod events;
mod internal;
mod launch;
mod operations;
mod path;
mod product_parts;
mod products;

use crate::registry::Registry;
use actix_web::web::{self, Data, ServiceConfig};
use std::sync::Arc;

/// Every route of the registry.
pub(crate) fn routes(config: &mut ServiceConfig, registry: &Arc<Registry>) {
    config.app_data(Data::from(Arc::clone(registry)));
    config.service(
        web::scope(bigdata_common::api::PREFIX)
            .configure(products::routes)
            .configure(product_parts::routes)
            .configure(launch::routes)
            .configure(operations::routes)
            .configure(events::routes)
            .configure(clusters::routes),
    );
    config.service(web::scope("/internal/v1").configure(internal::routes));
}
