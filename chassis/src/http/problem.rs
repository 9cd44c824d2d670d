//! Errors of handlers: what the client is told, and what only the log is.

use crate::condition::Condition;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use bigdata_common::api::problem::{Fault, Problem, ProblemCode};
use std::error::Error;
use std::fmt;

/// A handler's error. Its problem goes to the client; its cause to the log, once, when the answer is made.
#[derive(Debug)]
pub struct ApiError {
    problem: Box<Problem>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// An error of this kind, with what was wrong and what to do.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { problem: Box::new(Problem::new(code, detail)), cause: None }
    }

    /// An error of this kind with every single fault.
    pub fn with_faults(code: ProblemCode, detail: impl Into<String>, faults: Vec<Fault>) -> Self {
        Self { problem: Box::new(Problem::new(code, detail).with_errors(faults)), cause: None }
    }

    /// Something went wrong in here: the client learns only that.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let detail =
            "something went wrong in the service; its log says what. Try again, and tell the operator if it stays";
        Self { problem: Box::new(Problem::new(ProblemCode::Internal, detail)), cause: Some(cause.into()) }
    }

    /// A service that is needed does not answer.
    pub fn unavailable(detail: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let problem = Problem::new(ProblemCode::ServiceUnavailable, detail);
        Self { problem: Box::new(problem), cause: Some(cause.into()) }
    }

    /// Whether no connection to the database was free in time: it is busy, or it does not answer.
    pub(super) fn waited_for_database(&self) -> bool {
        let cause = self.cause.as_ref().and_then(|cause| cause.downcast_ref::<sqlx::Error>());
        matches!(cause, Some(sqlx::Error::PoolTimedOut))
    }

    /// What the client is told.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), cause: None }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match Condition::of(&error) {
            Some(condition) => Self::unavailable(condition.words(), error),
            None => Self::internal(error),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(formatter)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        if let Some(cause) = &self.cause {
            tracing::error!(
                code = self.problem.code.as_str(),
                cause = cause.as_ref() as &dyn Error,
                "a request failed"
            );
        }
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self.problem.status, 429 | 503) {
            response.insert_header(("retry-after", "1"));
        }
        response.content_type("application/problem+json").body(serde_json::to_vec(&self.problem).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shall_ask_later_is_told_when() {
        for (code, told) in [
            (ProblemCode::ServiceUnavailable, true),
            (ProblemCode::TooManyRequests, true),
            (ProblemCode::Internal, false),
        ] {
            let response = ApiError::new(code, "x").error_response();
            assert_eq!(response.headers().contains_key("retry-after"), told, "{code:?}");
        }
    }
}
