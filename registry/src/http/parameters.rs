//! The parameters that each address takes in its query; what it does not know is refused, so that a mistyped filter does
//! not show everything, and a mistyped `dry_run` does not launch.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Query;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::{Fault, ProblemCode};
use std::collections::BTreeSet;

/// What the address of this pattern takes.
fn known(method: &Method, pattern: &str) -> &'static [&'static str] {
    match (method.as_str(), pattern) {
        ("GET", "/internal/v1/backups") => return &["removing"],
        ("GET", "/internal/v1/backups/{id}") => return &["cluster"],
        _ => {}
    }
    let clusters = pattern.split_once("/clusters").map(|(_, tail)| tail.matches('/').count());
    match (method.as_str(), pattern.rsplit('/').next().unwrap_or_default(), clusters) {
        ("POST", "{version}", None) => &["dry_run"],
        ("GET" | "HEAD", "{number}", _) => &["wait", "timeout"],
        ("DELETE", "{number}", _) => &["force"],
        ("POST", "scale", Some(_)) => &["remove", "dry_run"],
        ("POST", "upgrade", Some(_)) => &["dry_run"],
        ("POST", "replace", Some(_)) => &["elsewhere"],
        ("GET" | "HEAD", "actions", None) => &["parsed"],
        ("GET" | "HEAD", "events" | "operations" | "backups", _) => &["after", "limit"],
        ("GET" | "HEAD", "clusters" | "{user}" | "{product}" | "{version}", Some(_)) => &["status", "after", "limit"],
        _ => &[],
    }
}

/// Answers 400 where a parameter is unknown or stands twice.
pub(super) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if let Some(pattern) = request.match_pattern().filter(|_| !request.query_string().is_empty()) {
        let pairs = Query::<Vec<(String, String)>>::from_query(request.query_string());
        let pairs = pairs.map_err(|error| ApiError::new(ProblemCode::InvalidPath, format!("the query: {error}")))?;
        check(known(request.method(), &pattern), pairs.iter().map(|(name, _)| name.as_str()))?;
    }
    next.call(request).await
}

fn check<'a>(known: &[&str], names: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
    let (mut seen, mut faults) = (BTreeSet::new(), Vec::new());
    for name in names {
        let what = match (known.contains(&name), seen.insert(name)) {
            (true, true) => continue,
            (true, false) => "stands here more than once".to_owned(),
            (false, _) if known.is_empty() => "is unknown; this address takes no parameters".to_owned(),
            (false, _) => format!("is unknown; this address takes {}", known.join(", ")),
        };
        faults.push(Fault::new(format!("/{}", bigdata_chassis::http::json::escape(name)), what));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let words = |fault: &Fault| format!("the parameter {:?} {}", &fault.pointer[1..], fault.detail);
    let detail = faults.iter().map(words).collect::<Vec<_>>().join("; ");
    Err(ApiError::with_faults(ProblemCode::InvalidPath, detail, faults))
}
