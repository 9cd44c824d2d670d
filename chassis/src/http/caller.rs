//! Who calls: a service of ours, on behalf of whom.
//!
//! Services are reached by other services alone. Each call shows the deployment's internal token; the gateway adds the
//! principal that it has established. A request without the token is answered 401, whatever its other headers say.

use super::{ApiError, ROLES_HEADER, USER_HEADER};
use crate::secret::Token;
use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::{Principal, Role};
use std::future::{Ready, ready};

/// Proof that the request comes from a service of ours. The token is found in the application's data.
#[derive(Debug, Clone, Copy)]
pub struct Internal;

/// The principal of a request that comes from a service of ours.
#[derive(Debug, Clone)]
pub struct Caller(pub Principal);

impl FromRequest for Internal {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(check_internal(request).map(|()| Self))
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(check_internal(request).and_then(|()| principal(request)).map(Self))
    }
}

impl Caller {
    /// Refuses a caller without this role.
    ///
    /// # Errors
    /// 403 [`ProblemCode::Forbidden`].
    pub fn require(&self, role: Role) -> Result<(), ApiError> {
        if self.0.has(role) {
            return Ok(());
        }
        Err(ApiError::new(ProblemCode::Forbidden, format!("this needs the role {role:?}, which {} lacks", self.0.user)))
    }
}

fn check_internal(request: &HttpRequest) -> Result<(), ApiError> {
    let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let presented = presented.and_then(|value| value.strip_prefix("Bearer "));
    let expected = request.app_data::<web::Data<Token>>();
    match (expected, presented) {
        (Some(expected), Some(presented)) if expected.matches(presented) => Ok(()),
        _ => Err(ApiError::new(
            ProblemCode::Unauthenticated,
            "this address is for the platform's own services; use the gateway",
        )),
    }
}

fn principal(request: &HttpRequest) -> Result<Principal, ApiError> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let unknown = || ApiError::new(ProblemCode::Unauthenticated, "the request names no user; use the gateway");
    let user = header(USER_HEADER).and_then(|user| user.parse().ok()).ok_or_else(unknown)?;
    let roles = header(ROLES_HEADER).unwrap_or_default().split(',').filter_map(parse_role).collect();
    Ok(Principal { user, roles })
}

fn parse_role(word: &str) -> Option<Role> {
    match word.trim() {
        "user" => Some(Role::User),
        "publisher" => Some(Role::Publisher),
        "admin" => Some(Role::Admin),
        _ => None,
    }
}

/// The value of [`ROLES_HEADER`] for a principal.
pub fn roles_header(principal: &Principal) -> String {
    let word = |role: &Role| match role {
        Role::User => "user",
        Role::Publisher => "publisher",
        Role::Admin => "admin",
    };
    principal.roles.iter().map(word).collect::<Vec<_>>().join(",")
}
