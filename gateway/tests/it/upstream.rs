//! A server that stands for the services behind the gateway: it demands the internal token as they do, tells what
//! reached it, and answers with samples.

use crate::sample::{self, CLUSTER};
use actix_web::{HttpRequest, HttpResponse, web};
use bigdata_chassis::Tasks;
use bigdata_chassis::http::{ApiError, Caller, Internal, server};
use bigdata_chassis::secret::{Token, sha256_hex};
use bigdata_common::api::PREFIX;
use bigdata_common::api::cluster::ClusterEntry;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::internal::{ControlGrant, ControlRequest};
use bigdata_common::invariants::Invariants;
use bigdata_common::status::ClusterStatus;
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, broadcast};

/// Bytes of the large answer.
pub(crate) const LARGE: usize = 32 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    clusters: Mutex<Vec<ClusterEntry>>,
    grant: Mutex<Option<ControlGrant>>,
    /// How many grants were asked for.
    grants: AtomicU64,
    events: broadcast::Sender<String>,
    watchers: AtomicU64,
    lists: AtomicU64,
    /// Requests to `/products/slow` that wait to be let go.
    held: AtomicU64,
    let_go: Notify,
}

impl Upstream {
    pub(crate) fn start(token: &Token, tasks: &Tasks) -> Self {
        let state = Arc::new(State {
            clusters: Mutex::new(sample::clusters()),
            grant: Mutex::new(None),
            grants: AtomicU64::new(0),
            events: broadcast::channel(64).0,
            watchers: AtomicU64::new(0),
            lists: AtomicU64::new(0),
            held: AtomicU64::new(0),
            let_go: Notify::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let data = web::Data::from(Arc::clone(&state));
        let routes = move |config: &mut web::ServiceConfig| routes(config, &data);
        let address = server::serve(listener, 2, token, tasks, routes).unwrap();
        Self { address, state }
    }

    pub(crate) fn grant(&self, grant: ControlGrant) {
        *self.state.grant.lock().unwrap() = Some(grant);
    }

    pub(crate) fn grants(&self) -> u64 {
        self.state.grants.load(Ordering::SeqCst)
    }

    /// How often the list of clusters was read.
    pub(crate) fn lists(&self) -> u64 {
        self.state.lists.load(Ordering::SeqCst)
    }

    /// How many requests to `/products/slow` have come.
    pub(crate) fn held(&self) -> u64 {
        self.state.held.load(Ordering::SeqCst)
    }

    /// Answers those that wait.
    pub(crate) fn let_go(&self) {
        self.state.let_go.notify_waiters();
    }

    /// How many streams of events are open.
    pub(crate) fn watchers(&self) -> u64 {
        self.state.watchers.load(Ordering::SeqCst)
    }

    /// Sends a piece to every open stream of events; none may be open.
    pub(crate) fn publish(&self, event: &str) {
        let _ = self.state.events.send(event.to_owned());
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<ClusterEntry>)) {
        change(&mut self.state.clusters.lock().unwrap());
    }
}

fn routes(config: &mut web::ServiceConfig, state: &web::Data<State>) {
    let at = |path: &str| format!("{PREFIX}{path}");
    let of_cluster = |part: &str| format!("{PREFIX}/{CLUSTER}{part}");
    config
        .app_data(state.clone())
        .route(&at("/products"), web::post().to(echo))
        .route(&at("/products"), web::get().to(|_: Caller| async { web::Json(sample::products()) }))
        .route(&at("/products/slow"), web::get().to(slow))
        .route(&at("/products/large/1/template"), web::get().to(large))
        .route(&at("/products/{n}/{v}"), web::post().to(launch))
        .route(&at("/queue/{id}"), web::get().to(queue))
        .route(&at("/clusters"), web::get().to(clusters))
        .route(&of_cluster(""), web::get().to(cluster))
        .route(&of_cluster("/nodes"), web::get().to(|_: Caller| async { web::Json(sample::nodes()) }))
        .route(&of_cluster("/services"), web::get().to(|_: Caller| async { web::Json(sample::services()) }))
        .route(&of_cluster("/endpoints"), web::get().to(|_: Caller| async { web::Json(sample::endpoints()) }))
        .route(&of_cluster("/backups"), web::get().to(|_: Caller| async { web::Json(sample::backups()) }))
        .route(&of_cluster("/operations"), web::get().to(|_: Caller| async { web::Json(sample::operations()) }))
        .route(&of_cluster("/events"), web::get().to(events))
        .route(&of_cluster("/logs"), web::get().to(|_: Caller| async { web::Json(sample::log()) }))
        .route(&at("/agents"), web::get().to(|_: Caller| async { web::Json(sample::agents()) }))
        .route(&at("/explain/{id:.+}"), web::get().to(explain))
        .route(&of_cluster("/secrets"), web::get().to(secrets))
        .route("/internal/v1/invariants", web::get().to(invariants))
        .route("/internal/v1/orphans", web::get().to(|_: Internal| async { web::Json(sample::orphans()) }))
        .route("/internal/v1/fit", web::post().to(fit))
        .route("/internal/v1/clusters/{id}/nodes/{node}/control", web::post().to(control));
}

/// Tells what reached it.
async fn echo(caller: Caller, request: HttpRequest, body: Bytes) -> HttpResponse {
    let headers: serde_json::Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    HttpResponse::Created()
        .insert_header(("location", "/bigdata/api/v1/products/a/1"))
        .insert_header(("set-cookie", "stolen=1"))
        .insert_header(("access-control-allow-origin", "*"))
        .json(json!({
            "method": request.method().as_str(), "path": request.uri().to_string(), "headers": headers,
            "user": caller.0.user, "roles": caller.0.roles, "body": String::from_utf8_lossy(&body),
        }))
}

async fn slow(_: Caller, request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    if request.query_string().ends_with("timeout=0") {
        return HttpResponse::Ok().insert_header(("x-bigdata-wait", "timeout")).json(json!({"slow": false}));
    }
    let let_go = state.let_go.notified();
    state.held.fetch_add(1, Ordering::SeqCst);
    let_go.await;
    HttpResponse::Ok().json(json!({"slow": true}))
}

async fn large(_: Caller) -> HttpResponse {
    let pieces = futures_util::stream::iter((0..LARGE / 65_536).map(piece));
    HttpResponse::Ok().content_type("text/html").streaming(pieces.map(Ok::<_, std::io::Error>))
}

fn piece(number: usize) -> Bytes {
    vec![u8::try_from(number % 251).unwrap(); 65_536].into()
}

/// The hash of the large answer.
pub(crate) fn large_hash() -> String {
    let all: Vec<u8> = (0..LARGE / 65_536).flat_map(|number| piece(number).to_vec()).collect();
    sha256_hex(&all)
}

async fn launch(_: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse, ApiError> {
    if !request.query_string().contains("dry_run=true") {
        return Ok(HttpResponse::Accepted().json(json!({"launched": String::from_utf8_lossy(&body)})));
    }
    if body.as_ref() != br#"{"size":3}"# {
        return Err(ApiError::new(ProblemCode::InvalidOptions, "size is missing"));
    }
    Ok(HttpResponse::Ok().json(json!({"blueprint": {"dnsname": "x"}, "options": {"size": 3}, "warnings": []})))
}

async fn fit(_: Internal, body: web::Json<Value>) -> HttpResponse {
    assert_eq!(body.into_inner(), json!({"dnsname": "x"}));
    HttpResponse::Ok().json(json!({"fits": false, "reasons": ["node a: no agent has 64 CPUs"]}))
}

async fn queue(_: Caller) -> HttpResponse {
    HttpResponse::SeeOther().insert_header(("location", format!("{PREFIX}/{CLUSTER}"))).finish()
}

async fn clusters(caller: Caller, request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    state.lists.fetch_add(1, Ordering::SeqCst);
    let clusters: Vec<ClusterEntry> = state.clusters.lock().unwrap().clone();
    let statuses = request.query_string().split('&').find_map(|pair| pair.strip_prefix("status="));
    let is_wanted = |status: &str| statuses.is_none_or(|wanted| wanted.split(',').any(|word| word == status));
    let clusters = clusters.into_iter().filter(|entry| is_wanted(entry.data.status.as_str()));
    let seen: Vec<_> = clusters.filter(|entry| caller.0.may_see(&entry.data.dn)).collect();
    HttpResponse::Ok().json(json!({"clusters": seen, "next": null}))
}

async fn cluster(caller: Caller, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let clusters = state.clusters.lock().unwrap();
    let found = clusters.iter().find(|entry| entry.data.dn.to_string() == CLUSTER && caller.0.may_see(&entry.data.dn));
    let unknown = || ApiError::new(ProblemCode::UnknownCluster, format!("{} sees no {CLUSTER}", caller.0.user));
    found.map(|entry| HttpResponse::Ok().json(entry)).ok_or_else(unknown)
}

/// As the framework: of what is destroyed it knows nothing.
async fn explain(_: Caller, state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let clusters = state.clusters.lock().unwrap();
    if clusters[0].data.status == ClusterStatus::Destroyed {
        return Err(ApiError::new(ProblemCode::UnknownCluster, "the framework knows no such cluster"));
    }
    Ok(HttpResponse::Ok().json(sample::explanation()))
}

async fn secrets(caller: Caller) -> HttpResponse {
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(json!({"secrets": {"of": caller.0.user}}))
}

/// Every cluster shall have a name.
async fn invariants(_: Internal, state: web::Data<State>) -> HttpResponse {
    let clusters = state.clusters.lock().unwrap();
    let nameless = clusters.iter().filter(|entry| entry.data.name.is_empty());
    let mut found = Invariants::default();
    let broken = nameless.map(|entry| (entry.data.id.to_string(), "it has none".to_owned()));
    found.add("every cluster has a name", clusters.len() as u64, broken);
    HttpResponse::Ok().json(found)
}

struct Watching(Arc<State>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn events(_: Caller, request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let accepts = request.headers().get("accept").is_some_and(|accept| accept.as_bytes() == b"text/event-stream");
    if !accepts {
        return HttpResponse::Ok().json(sample::events());
    }
    state.watchers.fetch_add(1, Ordering::SeqCst);
    let receiver = (state.events.subscribe(), Watching(state.into_inner()));
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.0.recv().await.ok()?;
        Some((Ok::<_, std::io::Error>(Bytes::from(event)), receiver))
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(Box::pin(stream))
}

async fn control(
    _: Internal,
    path: web::Path<(String, String)>,
    body: web::Json<ControlRequest>,
    state: web::Data<State>,
) -> Result<HttpResponse, ApiError> {
    assert_eq!((path.0.as_str(), path.1.as_str()), (sample::ID, "db0"));
    state.grants.fetch_add(1, Ordering::SeqCst);
    let gone = || ApiError::new(ProblemCode::NodeUnavailable, format!("db0 has no executor for {}", body.caller));
    let grant = state.grant.lock().unwrap().clone().ok_or_else(gone)?;
    Ok(HttpResponse::Ok().json(grant))
}
