//! What every service does around each request: it knows the request's cause, and counts and times the answer.

use crate::trace::{self, Cause, REQUEST_ID_HEADER, TRACEPARENT_HEADER};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use bigdata_common::api::PREFIX;
use std::time::Instant;

/// Answers the request as caused by what its headers say.
pub(crate) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let cause = Cause {
        request_id: text(REQUEST_ID_HEADER).filter(|id| trace::is_request_id(id)),
        traceparent: text(TRACEPARENT_HEADER).filter(|parent| trace::is_traceparent(parent)),
    };
    let span = tracing::info_span!(
        "request",
        method = request.method().as_str(),
        path = request.path(),
        request_id = cause.request_id,
        trace_id = cause.trace_id(),
    );
    let response = trace::within_span(cause, span.clone(), next.call(request)).await?.map_into_boxed_body();
    let request = response.request();
    // What users ask to be changed can be followed from its first line.
    if !request.method().is_safe() && request.path().starts_with(PREFIX) {
        let status = response.status().as_u16();
        span.in_scope(|| tracing::info!(status, took_ms = began.elapsed().as_secs_f64() * 1000.0, "answered"));
    }
    // The route's pattern, never the address itself, which would make a series per cluster.
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let method = request.method().as_str().to_owned();
    let status = response.status().as_u16().to_string();
    metrics::counter!("bigdata_http_requests_total", "route" => route.clone(), "method" => method, "status" => status)
        .increment(1);
    metrics::histogram!("bigdata_http_answer_seconds", "route" => route).record(began.elapsed().as_secs_f64());
    Ok(response)
}
