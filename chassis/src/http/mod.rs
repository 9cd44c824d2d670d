//! HTTP between the services and towards the public: server, errors, strict bodies, who calls, client.

pub mod caller;
pub mod client;
pub mod json;
mod observe;
mod parked;
pub mod problem;
mod problem_answers;
pub mod server;
pub mod upstreams;

pub use caller::{Caller, Internal};
pub use client::{ClientBuildError, ClientError, InternalClient};
pub use parked::parked_routes;
pub use problem::ApiError;
pub use upstreams::Upstreams;

/// The header that names the user on whose behalf one service calls another.
pub const USER_HEADER: &str = "x-bigdata-user";
/// The header that lists its roles, separated by commas.
pub const ROLES_HEADER: &str = "x-bigdata-roles";
