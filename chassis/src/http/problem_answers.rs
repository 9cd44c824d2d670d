//! Turns the framework's own error answers (bad paths, wrong methods, oversized bodies) into problems, and says of a
//! database what the process knows of it by then.

use super::ApiError;
use crate::Readiness;
use crate::condition::Condition;
use actix_web::ResponseError;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::middleware::Next;
use actix_web::web::Data;
use bigdata_common::api::problem::ProblemCode;

/// Leaves an answer as it is where a handler made it; words it as a problem where actix made it.
pub(crate) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let readiness = request.app_data::<Data<Readiness>>().cloned();
    let response = next.call(request).await?.map_into_boxed_body();
    let status = response.status();
    let failed = response.response().error().and_then(|error| error.as_error::<ApiError>());
    if failed.is_some_and(ApiError::waited_for_database) && readiness.is_some_and(|it| it.lacks("database")) {
        let (request, _) = response.into_parts();
        let problem = ApiError::new(ProblemCode::ServiceUnavailable, Condition::Away.words());
        return Ok(ServiceResponse::new(request, problem.error_response()));
    }
    let ours = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/"));
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return Ok(response);
    }
    let detail = response.response().error().map(ToString::to_string).unwrap_or_default();
    let code = match status {
        StatusCode::NOT_FOUND => ProblemCode::UnknownRoute,
        StatusCode::METHOD_NOT_ALLOWED => ProblemCode::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::BodyTooLarge,
        _ if status.is_client_error() => ProblemCode::InvalidPath,
        _ => ProblemCode::Internal,
    };
    let detail = if detail.is_empty() { code.title().to_owned() } else { detail };
    let (request, _) = response.into_parts();
    Ok(ServiceResponse::new(request, ApiError::new(code, detail).error_response()))
}
