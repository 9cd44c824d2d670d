//! The service's routes.

mod internal;
mod public;

use crate::control::ControlKeys;
use crate::driver::{Busy, Handle};
use crate::registry::Registry;
use actix_web::web;
use bigdata_chassis::Clock;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::PREFIX;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Context {
    pub driver: Handle,
    pub registry: Registry,
    pub keys: ControlKeys,
    pub clock: Clock,
}

pub(crate) fn routes(config: &mut web::ServiceConfig, context: &Context) {
    config
        .app_data(web::Data::new(context.clone()))
        .route("/internal/v1/nodes/enrol", web::post().to(internal::enrol))
        .route("/internal/v1/clusters/{id}/nodes/{node}/control", web::post().to(internal::control))
        .route("/internal/v1/fit", web::post().to(internal::fit))
        .route(&format!("{PREFIX}/agents"), web::get().to(public::agents))
        .route(&format!("{PREFIX}/explain/{{id:.+}}"), web::get().to(public::explain));
}

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        Self::unavailable("the framework is starting or busy; try again in a moment", busy)
    }
}
