//! A registry that says page by page that every cluster is as it was, and takes what it is told.

use actix_web::web::{Data, Json, Query};
use actix_web::{HttpResponse, web};
use bigdata_chassis::Tasks;
use bigdata_chassis::http::server;
use bigdata_chassis::secret::Token;
use bigdata_common::internal::ClusterPage;
use bigdata_framework::simulation::Filled;
use serde::Deserialize;
use serde_json::json;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Instant;

struct State {
    filled: Arc<Filled>,
    /// When the last page was asked for.
    listed: Mutex<Option<Instant>>,
}

pub(crate) struct Registry {
    state: Arc<State>,
    url: String,
}

#[derive(Deserialize)]
struct Cursor {
    limit: usize,
    after: Option<usize>,
}

impl Registry {
    pub(crate) fn serve(filled: Arc<Filled>, token: &Token, tasks: &Tasks) -> Self {
        let state = Arc::new(State { filled, listed: Mutex::new(None) });
        let data = Data::from(Arc::clone(&state));
        let routes = move |config: &mut web::ServiceConfig| {
            config
                .app_data(data.clone())
                .route("/internal/v1/registry", web::get().to(identity))
                .route("/internal/v1/clusters", web::get().to(page))
                .route("/internal/v1/heard", web::post().to(HttpResponse::NoContent));
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = server::serve(listener, 1, token, tasks, routes).expect("the registry listens");
        Self { state, url: format!("http://{address}") }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// When the last page was asked for: those before it have been taken in.
    pub(crate) fn listed(&self) -> Option<Instant> {
        *self.state.listed.lock().expect("no holder panics")
    }
}

async fn identity(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"id": state.filled.registry}))
}

async fn page(cursor: Query<Cursor>, state: Data<State>) -> Json<ClusterPage> {
    let all = &state.filled.clusters;
    let first = cursor.after.unwrap_or(0).min(all.len());
    let next = (first + cursor.limit).min(all.len());
    if first == all.len() {
        state.listed.lock().expect("no holder panics").get_or_insert_with(Instant::now);
    }
    // A last page without clusters shows that those of the page before were taken in.
    let more = first < all.len();
    Json(ClusterPage { clusters: all[first..next].to_vec(), next: more.then(|| next.to_string()) })
}
