//! The service's routes.

mod internal;
mod public;
mod quota;

use crate::control::ControlKeys;
use crate::driver::{Handle, MesosSettings, Unavailable};
use crate::registry::Registry;
use actix_web::web;
use bigdata_chassis::http::{ApiError, parked_routes};
use bigdata_chassis::{Clock, Db};
use bigdata_common::api::PREFIX;
use bigdata_common::api::problem::ProblemCode;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Context {
    pub driver: Handle,
    pub registry: Registry,
    pub keys: ControlKeys,
    pub clock: Clock,
    pub mesos: MesosSettings,
}

pub(crate) fn routes(config: &mut web::ServiceConfig, context: &Context, db: &Db) {
    parked_routes(config, db);
    config
        .app_data(web::Data::new(context.clone()))
        .route("/internal/v1/nodes/enrol", web::post().to(internal::enrol))
        .route("/internal/v1/nodes/peers", web::get().to(internal::peers))
        .route("/internal/v1/clusters/{id}/nodes/{node}/control", web::post().to(internal::control))
        .route("/internal/v1/fit", web::post().to(internal::fit))
        .route("/internal/v1/orphans", web::get().to(internal::orphans))
        .route("/internal/v1/invariants", web::get().to(internal::invariants))
        .route(&format!("{PREFIX}/agents"), web::get().to(public::agents))
        .route(&format!("{PREFIX}/explain/{{id:.+}}"), web::get().to(public::explain));
}

impl From<Unavailable> for ApiError {
    fn from(reason: Unavailable) -> Self {
        match reason {
            Unavailable::Busy => {
                Self::unavailable("the framework is starting or busy; try again in a moment", Unavailable::Busy)
            }
            Unavailable::NotLeader(Some(leader)) => {
                Self::new(ProblemCode::NotLeader, format!("{leader} leads the framework; ask there"))
            }
            Unavailable::NotLeader(None) => {
                Self::new(ProblemCode::NotLeader, "no replica of the framework is known to lead; try again in a moment")
            }
        }
    }
}
