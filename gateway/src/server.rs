//! The listening side: what every request passes on its way in, and every answer on its way out.

use crate::control::channel::look_at_silence;
use crate::door;
use crate::observe::Answered;
use crate::pages;
use crate::proxy::{Asking, Proxy};
use crate::routes::{Own, ROUTES, Route, Target};
use crate::state::State;
use crate::{admin, control, dry_run, explain, headers, query, readiness};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, FromRequest, HttpMessage, HttpRequest, HttpResponse, HttpServer, ResponseError, web};
use bigdata_chassis::Tasks;
use bigdata_chassis::http::server::KEEP_ALIVE;
use bigdata_chassis::http::{ApiError, Caller, Internal};
use bigdata_chassis::secret::Token;
use bigdata_chassis::tasks::ANSWERS_LIMIT;
use bigdata_chassis::trace::{self, Cause, REQUEST_ID_HEADER};
use bigdata_common::Principal;
use bigdata_common::api::problem::ProblemCode;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// For everything but our own pages: whatever a service or a node sends, a browser runs and loads nothing of it.
const POLICY_DATA: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox";

/// The pause between two upkeeps of the metrics.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Serves [`ROUTES`] on `listener` until the tasks end.
pub(crate) fn serve(
    listener: TcpListener,
    workers: usize,
    state: State,
    token: &Token,
    tasks: &Tasks,
) -> std::io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    // Accepted connections have it from the listener: a command ends with its caller, also where that ends with its machine.
    look_at_silence(&listener)?;
    let token = web::Data::new(token.clone());
    let state = web::Data::new(state);
    keep_metrics_small(state.clone(), tasks);
    let server = HttpServer::new(move || {
        let app = App::new()
            .app_data(state.clone())
            .app_data(token.clone())
            .app_data(web::Data::new(Proxy::new()))
            .wrap(from_fn(pass))
            .default_service(web::to(unknown));
        ROUTES.iter().fold(app, |app, route| {
            app.service(
                web::resource(route.path).to(move |request: HttpRequest, payload| answer(route, request, payload)),
            )
        })
    })
    .workers(workers.max(1))
    .disable_signals()
    .shutdown_timeout(ANSWERS_LIMIT.as_secs())
    .keep_alive(KEEP_ALIVE)
    // A client that goes away ends its stream at once, not at the next event.
    .h1_allow_half_closed(false)
    .client_request_timeout(Duration::from_secs(10))
    .listen(listener)?
    .run();
    let handle = server.handle();
    let stop = tasks.token();
    tasks.spawn("gateway", async move {
        tokio::select! {
            result = server => {
                if let Err(error) = result {
                    tracing::error!(%error, "the gateway's server ended");
                }
            }
            () = async { stop.cancelled().await; handle.stop(true).await } => {}
        }
    });
    Ok(address)
}

fn keep_metrics_small(state: web::Data<State>, tasks: &Tasks) {
    let stop = tasks.token();
    tasks.spawn("upkeep of the metrics", async move {
        while tokio::time::timeout(UPKEEP_EVERY, stop.cancelled()).await.is_err() {
            state.metrics.keep_small();
        }
    });
}

/// What every request passes: names, the door, the log, the headers of its answer.
async fn pass(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let cause = Rc::new(headers::cause(request.headers()));
    request.extensions_mut().insert(Rc::clone(&cause));
    let refusal = door::check(request.method(), request.uri(), request.headers())
        .map_err(|why| ApiError::new(ProblemCode::ForeignOrigin, why))
        .and_then(|()| plain_path(request.path()));
    let mut response = match refusal {
        Ok(()) => trace::within((*cause).clone(), next.call(request)).await?.map_into_boxed_body(),
        Err(error) => request.into_response(error.error_response()),
    };
    decorate(response.headers_mut(), &cause);
    let request = response.request();
    if let Some(state) = request.app_data::<web::Data<State>>() {
        state.metrics.answered(&Answered {
            method: request.method().as_str(),
            route: request.extensions().get::<&'static Route>().map_or("none", |route| route.path),
            status: response.status().as_u16(),
            took: started.elapsed(),
            cause: &cause,
            path: request.path(),
        });
    }
    Ok(response)
}

/// Refuses paths that could mean another place to a service than to this table.
fn plain_path(path: &str) -> Result<(), ApiError> {
    let climbs = |segment: &str| {
        let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
        decoded == "." || decoded == ".."
    };
    if path.split(['/', '\\']).any(climbs) {
        return Err(ApiError::new(ProblemCode::InvalidPath, "an address holds no `.` or `..` segment here"));
    }
    Ok(())
}

fn decorate(headers: &mut HeaderMap, cause: &Cause) {
    let mut set = |name: &'static str, value: &'static str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    set("x-content-type-options", "nosniff");
    set("x-frame-options", "DENY");
    set("referrer-policy", "no-referrer");
    set("cross-origin-resource-policy", "same-origin");
    set("cross-origin-opener-policy", "same-origin");
    if let Some(Ok(id)) = cause.request_id.as_deref().map(HeaderValue::from_str) {
        headers.insert(HeaderName::from_static(REQUEST_ID_HEADER), id);
    }
    // Our pages bring a policy of their own; an upstream's is overwritten, see `answer`.
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY_DATA));
    }
}

async fn unknown(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let detail = format!("there is nothing at {} {}; /docs lists what there is", request.method(), request.path());
    Err(ApiError::new(ProblemCode::UnknownRoute, detail))
}

async fn answer(route: &'static Route, request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    request.extensions_mut().insert(route);
    if !route.knows(request.method()) {
        return Ok(wrong_method(route, &request));
    }
    let state = request.app_data::<web::Data<State>>().cloned().ok_or_else(|| ApiError::internal("no state"))?;
    let cause = request.extensions().get::<Rc<Cause>>().cloned().ok_or_else(|| ApiError::internal("no request id"))?;
    let principal = principal(&request).await?;
    let signature = &state.signature;
    let (answer_timeout, end) = (state.answer_timeout, state.tasks.token());
    let asking = Asking { principal: &principal, cause: &cause, signature, answer_timeout, end };
    let mut response = match route.target {
        Target::Own(own) => return answer_own(own, &state, &request, &principal).await,
        Target::Node(path) => control::call(&state, route, path, &request, payload, &asking).await?,
        Target::Launch if dry_run::is_asked(&request) => {
            dry_run::answer(&state, route, &request, payload, &asking).await?
        }
        Target::Explain => {
            let answer = forward(route, &state.framework, &request, payload, &asking).await?;
            if answer.status() == StatusCode::NOT_FOUND {
                explain::by_registry(&state, &request, &asking).await?
            } else {
                answer
            }
        }
        Target::Launch => forward(route, &state.registry, &request, payload, &asking).await?,
        Target::Service(upstream) => forward(route, state.upstream(upstream), &request, payload, &asking).await?,
    };
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY_DATA));
    Ok(response)
}

async fn forward(
    route: &Route,
    service: &crate::state::Service,
    request: &HttpRequest,
    payload: web::Payload,
    asking: &Asking<'_>,
) -> Result<HttpResponse, ApiError> {
    let proxy = request.app_data::<web::Data<Proxy>>().ok_or_else(|| ApiError::internal("no proxy"))?;
    proxy.forward(route, service, request, payload, asking).await
}

async fn answer_own(
    own: Own,
    state: &web::Data<State>,
    request: &HttpRequest,
    principal: &Principal,
) -> Result<HttpResponse, ApiError> {
    match (query::check(own.parameters(), request.query_string()), own) {
        (Ok(()), _) => {}
        (Err(error), Own::Index | Own::ClusterPage) => return state.pages.problem(error.problem()),
        (Err(error), _) => return Err(error),
    }
    match own {
        Own::Invariants => admin::invariants(state, principal).await,
        Own::Orphans => admin::orphans(state, principal).await,
        Own::Parked => admin::parked(state, principal).await,
        Own::Health => Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")),
        Own::Ready => Ok(readiness::answer(state).await),
        Own::Metrics => {
            Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(state.metrics.render()))
        }
        page => pages::answer(page, state, request, principal).await,
    }
}

/// Who asks: a service of ours says on whose behalf; everybody else is the local user, since there is no authentication.
async fn principal(request: &HttpRequest) -> Result<Principal, ApiError> {
    if Internal::extract(request).await.is_err() {
        return Ok(Principal::local());
    }
    Caller::extract(request).await.map(|caller| caller.0)
}

fn wrong_method(route: &Route, request: &HttpRequest) -> HttpResponse {
    let allow = route.allow();
    let detail = format!("{} is not a method of {}; it takes {allow}", request.method(), request.path());
    let mut response = ApiError::new(ProblemCode::MethodNotAllowed, detail).error_response();
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
