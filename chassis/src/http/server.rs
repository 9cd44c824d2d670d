//! Starts an actix server as one of a process's tasks.

use super::ApiError;
use crate::Tasks;
use crate::secret::Token;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use bigdata_common::api::problem::ProblemCode;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// The largest body that services take, in bytes.
pub const BODY_MAX: usize = 1024 * 1024;

/// Serves `routes` on `listener` until the tasks end; answers from when this returns.
///
/// `/health` answers 200 while the process lives. Unknown routes and methods are answered by problems. Routes find the
/// internal token in their data ([`super::Internal`], [`super::Caller`]).
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
    let server = HttpServer::new(move || {
        App::new()
            .app_data(token.clone())
            .app_data(web::PayloadConfig::new(BODY_MAX))
            .wrap(from_fn(super::problem_answers::middleware))
            .route("/health", web::get().to(health))
            .configure(routes.clone())
            .default_service(web::to(unknown))
    })
    .workers(workers)
    .disable_signals()
    // A reader that has gone is noticed at once, not at the next write of its stream.
    .h1_allow_half_closed(false)
    .shutdown_timeout(2)
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

async fn unknown(request: actix_web::HttpRequest) -> Result<String, ApiError> {
    let detail =
        format!("there is nothing at {} {}; docs/api.md lists what there is", request.method(), request.path());
    Err(ApiError::new(ProblemCode::UnknownRoute, detail))
}
