//! Starts an actix server as one of a process's tasks.

use super::ApiError;
use crate::secret::Token;
use crate::tasks::ANSWERS_LIMIT;
use crate::{Readiness, Tasks, measures};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bigdata_common::api::problem::ProblemCode;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// The largest body that services take, in bytes.
pub const BODY_MAX: usize = 1024 * 1024;
/// How long a server keeps a connection on which nothing is asked. Longer than any client of ours keeps one: who closes first must
/// not be the one that may be sent a request at that very moment.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Serves `routes` on `listener` until the tasks end; answers from when this returns. Requests that are under way then have
/// [`ANSWERS_LIMIT`] to be answered; connections on which nothing is asked are closed.
///
/// `/health` answers 200 while the process lives, `/ready` while it takes requests, else 503, both with what it waits for
/// ([`Readiness`]), and `/metrics` in Prometheus's text format where the process keeps its measures. Unknown routes and
/// methods are answered by problems. Routes find the internal token in their data ([`super::Internal`],
/// [`super::Caller`]).
///
/// # Errors
/// When the server cannot use the listener.
pub fn serve(
    listener: TcpListener,
    workers: usize,
    token: &Token,
    tasks: &Tasks,
    routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> std::io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    let token = web::Data::new(token.clone());
    let readiness = web::Data::new(tasks.readiness().clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(token.clone())
            .app_data(web::PayloadConfig::new(BODY_MAX))
            .app_data(readiness.clone())
            .wrap(from_fn(super::problem_answers::middleware))
            .wrap(from_fn(super::observe::middleware))
            .route("/health", web::get().to(health))
            .route("/ready", web::get().to(ready))
            .route("/metrics", web::get().to(metrics))
            .default_service(web::to(unknown))
            .configure(routes.clone())
    })
    .workers(workers)
    .disable_signals()
    // A reader that has gone is noticed at once, not at the next write of its stream.
    .h1_allow_half_closed(false)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(ANSWERS_LIMIT.as_secs())
    .client_request_timeout(Duration::from_secs(10))
    .listen(listener)?
    .run();
    let handle = server.handle();
    let stop = tasks.token();
    tasks.spawn("http server", async move {
        tokio::select! {
            result = server => {
                if let Err(error) = result {
                    tracing::error!(%error, "the HTTP server ended");
                }
            }
            () = async { stop.cancelled().await; handle.stop(true).await } => {}
        }
    });
    Ok(address)
}

async fn health() -> &'static str {
    "ok\n"
}

async fn ready(readiness: web::Data<Readiness>) -> HttpResponse {
    let ready = readiness.takes_requests();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !ready {
        response.insert_header(("retry-after", "1"));
    }
    response.json(serde_json::json!({"ready": ready, "waits_for": readiness.awaited()}))
}

async fn metrics(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    match measures::render() {
        Some(text) => Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)),
        None => Err(nothing_at(&request)),
    }
}

async fn unknown(request: HttpRequest) -> Result<String, ApiError> {
    Err(nothing_at(&request))
}

fn nothing_at(request: &HttpRequest) -> ApiError {
    let detail =
        format!("there is nothing at {} {}; docs/api.md lists what there is", request.method(), request.path());
    ApiError::new(ProblemCode::UnknownRoute, detail)
}
