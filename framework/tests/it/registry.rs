//! A registry as a driver of tests: it answers what the test has set.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, web};
use bigdata_chassis::Tasks;
use bigdata_chassis::http::{Internal, server};
use bigdata_chassis::secret::Token;
use bigdata_common::api::problem::{Problem, ProblemCode};
use bigdata_common::internal::{ClusterPage, ClusterState, Engines, Heard, HeardNode, Secrets, Specification};
use bigdata_common::{ClusterId, Timestamp};
use indexmap::IndexMap;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

#[derive(Default)]
pub(crate) struct Truth {
    /// The registry's own: tests on one master must not take one another's nodes for theirs.
    pub id: Uuid,
    pub clusters: BTreeMap<ClusterId, (ClusterState, Specification)>,
    /// It is there, and answers as one whose database is not.
    pub is_away: bool,
    /// How often it was asked for one cluster meanwhile.
    pub asked_in_vain: u32,
    /// Later revisions than a cluster's first.
    pub revisions: BTreeMap<(ClusterId, u32), Specification>,
    /// Nodes of which there was word again.
    pub heard: Vec<HeardNode>,
    /// The last word of the agents' container engines.
    pub engines: Option<Engines>,
}

pub(crate) type Shared = Arc<Mutex<Truth>>;

/// Serves the registry's internal routes; its URL.
pub(crate) fn serve(truth: &Shared, token: &Token, tasks: &Tasks) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let truth = Data::from(Arc::clone(truth));
    let routes = move |config: &mut web::ServiceConfig| {
        config
            .app_data(truth.clone())
            .route("/internal/v1/registry", web::get().to(identity))
            .route("/internal/v1/clusters", web::get().to(page))
            .route("/internal/v1/heard", web::post().to(heard))
            .route("/internal/v1/engines", web::put().to(engines))
            .route("/internal/v1/clusters/{id}", web::get().to(state))
            .route("/internal/v1/clusters/{id}/revisions/{revision}", web::get().to(revision))
            .route("/internal/v1/clusters/{id}/secrets", web::get().to(secrets));
    };
    format!("http://{}", server::serve(listener, 1, token, tasks, routes).unwrap())
}

async fn identity(_internal: Internal, truth: Data<Mutex<Truth>>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"id": truth.lock().unwrap().id}))
}

async fn page(_internal: Internal, truth: Data<Mutex<Truth>>) -> Json<ClusterPage> {
    let truth = truth.lock().unwrap();
    let clusters = truth.clusters.values().map(|(state, _)| state.clone()).collect();
    Json(ClusterPage { clusters, next: None })
}

async fn state(_internal: Internal, id: Path<String>, truth: Data<Mutex<Truth>>) -> HttpResponse {
    let mut truth = truth.lock().unwrap();
    if truth.is_away {
        truth.asked_in_vain += 1;
        return HttpResponse::ServiceUnavailable()
            .json(Problem::new(ProblemCode::ServiceUnavailable, "the database is away"));
    }
    match truth.clusters.get(&id.parse::<ClusterId>().unwrap()) {
        Some((state, _)) => HttpResponse::Ok().json(state),
        None => not_found(),
    }
}

async fn revision(_internal: Internal, path: Path<(String, u32)>, truth: Data<Mutex<Truth>>) -> HttpResponse {
    let (id, truth) = (path.0.parse::<ClusterId>().unwrap(), truth.lock().unwrap());
    if let Some(later) = truth.revisions.get(&(id.clone(), path.1)) {
        return HttpResponse::Ok().json(later);
    }
    match truth.clusters.get(&id) {
        Some((_, specification)) => HttpResponse::Ok().json(specification),
        None => not_found(),
    }
}

async fn secrets(_internal: Internal, _id: Path<String>) -> Json<Secrets> {
    Json(Secrets(IndexMap::from([("password".to_owned(), "canary".to_owned())])))
}

async fn heard(_internal: Internal, body: Json<Heard>, truth: Data<Mutex<Truth>>) -> HttpResponse {
    truth.lock().unwrap().heard.extend(body.into_inner().nodes);
    HttpResponse::NoContent().finish()
}

async fn engines(_internal: Internal, body: Json<Engines>, truth: Data<Mutex<Truth>>) -> HttpResponse {
    truth.lock().unwrap().engines = Some(body.into_inner());
    HttpResponse::NoContent().finish()
}

fn not_found() -> HttpResponse {
    HttpResponse::NotFound()
        .json(Problem::new(ProblemCode::UnknownCluster, format!("none at {}", Timestamp::from_millis(0))))
}
