//! What every service does around each request: it knows the request's cause, and counts and times the answer.

use crate::trace::{self, Cause, REQUEST_ID_HEADER, TRACEPARENT_HEADER};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use std::time::Instant;
use tracing::Instrument;

/// Answers the request as caused by what its headers say.
pub(crate) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let cause = Cause { request_id: text(REQUEST_ID_HEADER), traceparent: text(TRACEPARENT_HEADER) };
    let span = tracing::info_span!(
        "request",
        method = request.method().as_str(),
        path = request.path(),
        request_id = cause.request_id,
        traceparent = cause.traceparent
    );
    let response = trace::within(cause, next.call(request)).instrument(span).await?.map_into_boxed_body();
    let request = response.request();
    // The route's pattern, never the address itself, which would make a series per cluster.
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let method = request.method().as_str().to_owned();
    let status = response.status().as_u16().to_string();
    metrics::counter!("bigdata_http_requests_total", "route" => route.clone(), "method" => method, "status" => status)
        .increment(1);
    metrics::histogram!("bigdata_http_answer_seconds", "route" => route).record(began.elapsed().as_secs_f64());
    Ok(response)
}
