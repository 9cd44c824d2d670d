//! The registry and the gateway, as far as the service asks them.

use actix_web::{HttpRequest, HttpResponse, web};
use bigdata_chassis::Tasks;
use bigdata_chassis::http::server;
use bigdata_chassis::secret::Token;
use bigdata_common::api::cluster::NodeList;
use bigdata_common::internal::{Backup, ClusterPage, ClusterState, Secrets, Specification};
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// One cluster as the registry has it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) state: ClusterState,
    pub(crate) specification: Specification,
    pub(crate) secrets: Secrets,
    pub(crate) nodes: NodeList,
}

/// What came to the gateway: method, address, user, body.
pub(crate) type Forwarded = (String, String, String, Vec<u8>);

/// An old list of clusters, and how often it was given.
pub(crate) type Outdated = (Vec<ClusterState>, u32);

/// The services around the one under test.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    pub(crate) clusters: Arc<Mutex<BTreeMap<String, Cluster>>>,
    pub(crate) forwarded: Arc<Mutex<Vec<Forwarded>>>,
    /// The backups that may be read, and those that shall go.
    pub(crate) backups: Arc<Mutex<Vec<Backup>>>,
    pub(crate) removing: Arc<Mutex<Vec<Backup>>>,
    /// The backups that were told of by calls, and how often that is refused at first.
    pub(crate) stored: Arc<Mutex<Vec<Backup>>>,
    pub(crate) refusals: Arc<Mutex<Vec<u16>>>,
    /// What the list of clusters says in place of the truth.
    pub(crate) outdated: Arc<Mutex<Option<Outdated>>>,
}

impl Surroundings {
    pub(crate) fn serve(&self, token: &Token, tasks: &Tasks) -> String {
        let data = web::Data::new(self.clone());
        let routes = move |config: &mut web::ServiceConfig| {
            config
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(64 << 20))
                .route("/internal/v1/clusters", web::get().to(page))
                .route("/internal/v1/backups", web::get().to(removing))
                .route("/internal/v1/backups/{id}", web::get().to(backup))
                .route("/internal/v1/backups/{id}", web::put().to(stored))
                .route("/internal/v1/clusters/{id}", web::get().to(state))
                .route("/internal/v1/clusters/{id}/revisions/{revision}", web::get().to(specification))
                .route("/internal/v1/clusters/{id}/secrets", web::get().to(secrets))
                .route("/internal/v1/clusters/{id}/secrets/{name}", web::put().to(change_secret))
                .route("/bigdata/api/v1/{dn:clusters/[^/]+/[^/]+/[^/]+/[^/]+}/nodes", web::get().to(nodes))
                .route("/bigdata/api/v1/{dn:clusters/[^/]+/[^/]+/[^/]+/[^/]+}", web::get().to(entry))
                .route("/bigdata/api/v1/operations/{id}", web::get().to(operation))
                .route("/bigdata/api/v1/clusters/{tail:.*}/nodes/{node}/{what}", web::to(forwarded));
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", server::serve(listener, 1, token, tasks, routes).unwrap())
    }

    fn find(&self, id: &str) -> Option<Cluster> {
        self.clusters.lock().unwrap().get(&id.replace('/', "--").replace('.', "__")).cloned()
    }
}

type Data = web::Data<Surroundings>;

fn found(value: Option<impl Serialize>) -> HttpResponse {
    let problem = bigdata_common::api::problem::Problem::new(
        bigdata_common::api::problem::ProblemCode::UnknownCluster,
        "there is no such cluster",
    );
    value.map_or_else(|| HttpResponse::NotFound().json(problem), |value| HttpResponse::Ok().json(value))
}

async fn page(data: Data) -> HttpResponse {
    if let Some((clusters, told)) = data.outdated.lock().unwrap().as_mut() {
        *told += 1;
        return HttpResponse::Ok().json(ClusterPage { clusters: clusters.clone(), next: None });
    }
    let clusters = data.clusters.lock().unwrap().values().map(|cluster| cluster.state.clone()).collect();
    HttpResponse::Ok().json(ClusterPage { clusters, next: None })
}

async fn removing(data: Data) -> HttpResponse {
    HttpResponse::Ok().json(std::mem::take(&mut *data.removing.lock().unwrap()))
}

async fn backup(data: Data, id: web::Path<String>) -> HttpResponse {
    found(data.backups.lock().unwrap().iter().find(|backup| backup.id.to_string() == *id).cloned())
}

async fn stored(data: Data, body: web::Json<Backup>) -> HttpResponse {
    data.stored.lock().unwrap().push(body.into_inner());
    let status = data.refusals.lock().unwrap().pop().unwrap_or(204);
    let status = actix_web::http::StatusCode::from_u16(status).unwrap();
    if status.is_success() { HttpResponse::build(status).finish() } else { found(None::<()>) }
}

async fn state(data: Data, id: web::Path<String>) -> HttpResponse {
    found(data.find(&id).map(|cluster| cluster.state))
}

async fn specification(data: Data, path: web::Path<(String, u32)>) -> HttpResponse {
    found(data.find(&path.0).map(|cluster| cluster.specification).filter(|it| it.revision == path.1))
}

async fn secrets(data: Data, id: web::Path<String>) -> HttpResponse {
    found(data.find(&id).map(|cluster| cluster.secrets))
}

async fn change_secret(
    data: Data,
    path: web::Path<(String, String)>,
    body: web::Json<bigdata_common::internal::SecretValue>,
) -> HttpResponse {
    let id = path.0.replace('/', "--").replace('.', "__");
    let mut clusters = data.clusters.lock().unwrap();
    match clusters.get_mut(&id).and_then(|cluster| cluster.secrets.0.get_mut(&path.1)) {
        Some(value) => {
            value.clone_from(&body.value);
            HttpResponse::NoContent().finish()
        }
        None => found(None::<()>),
    }
}

async fn nodes(data: Data, caller: bigdata_chassis::http::Caller, dn: web::Path<String>) -> HttpResponse {
    let dn: bigdata_common::ClusterDn = dn.parse().unwrap();
    found(data.find(&dn.to_string()).filter(|_| caller.0.may_see(&dn)).map(|cluster| cluster.nodes))
}

async fn entry(data: Data, dn: web::Path<String>) -> HttpResponse {
    found(data.find(&dn).map(|cluster| cluster.state))
}

/// An operation that is under way, to whoever may see its cluster.
async fn operation(data: Data, caller: bigdata_chassis::http::Caller, id: web::Path<String>) -> HttpResponse {
    let clusters = data.clusters.lock().unwrap();
    let wanted = clusters.values().filter(|it| caller.0.may_see(it.state.cluster.dn())).find_map(|it| {
        let run = it.state.run.as_ref().filter(|run| run.operation.to_string() == *id)?;
        let (cluster, action) = (it.state.cluster.dn(), &run.action);
        Some(json!({
            "id": run.operation, "kind": "action", "action": action, "cluster": cluster, "status": "running", "steps": [],
            "error": null, "created_at": run.deadline, "ended_at": null, "deadline": run.deadline, "url": "",
        }))
    });
    found(wanted)
}

/// The gateway's part: an exec's frames come one after the other, everything else says how much came.
async fn forwarded(
    data: Data,
    caller: bigdata_chassis::http::Caller,
    request: HttpRequest,
    mut payload: web::Payload,
) -> HttpResponse {
    let mut body = Vec::new();
    while let Some(piece) = payload.next().await {
        body.extend_from_slice(&piece.unwrap());
    }
    let length = body.len();
    let entry = (request.method().to_string(), request.uri().to_string(), caller.0.user.to_string(), body);
    data.forwarded.lock().unwrap().push(entry);
    if request.path().ends_with("/exec") {
        let frames = [json!({"stdout": "aGk="}), json!({"exit": 3})];
        let frames = frames.map(|frame| Ok::<_, std::io::Error>(bytes::Bytes::from(format!("{frame}\n"))));
        return HttpResponse::Ok().content_type("application/x-ndjson").streaming(futures_util::stream::iter(frames));
    }
    HttpResponse::Ok().json(json!({ "length": length }))
}

/// A cluster of two nodes and a service, with a secret.
pub(crate) fn sample(number: u32, script: &str) -> Cluster {
    let id = format!("clusters--ann--mysql--8__0--{number}");
    let state = json!({
        "cluster": id, "revision": 1, "generation": 1, "status": "configuring", "desired": "run",
        "termination": "wipe", "force": false, "placement_deadline": null, "run": null,
    });
    let specification = json!({
        "cluster": id, "revision": 1, "product": {"name": "mysql", "version": "8.0"}, "product_revision": "r",
        "blueprint": {
            "dnsname": "db",
            "nodes": {
                "mysql0": {"cpu": 1.0, "mem": 512, "properties": {"server_id": 1, "dsn": "root:@{secret:password}@@{x}"},
                    "disks": {"data": {"destination": "/data", "size": 100, "persistent": true, "type": "volume"}}},
                "mysql1": {"cpu": 1.0, "mem": 512},
            },
            "services": {"writer": {"nodes": ["mysql0"], "properties": {"at": "@{address:mysql0}"}}},
        },
        "options": {"size": 2}, "orchestrator": script, "reach_network": false, "run_deadline_ms": 60000,
    });
    let node = |name: &str, address: &str| {
        json!({
            "dn": format!("clusters/ann/mysql/8.0/{number}/nodes/{name}"), "name": name, "cpu": 1.0, "mem": 512,
            "host": "agent-1", "status": "running", "health": "unknown", "address": address,
            "ports": {"sql": 3306}, "attempt": 1, "restarts": 0, "reason": null, "observed_at": null,
            "disks": [], "networks": [{"name": "eth0", "networkname": "admin", "address": address}],
        })
    };
    Cluster {
        state: serde_json::from_value(state).unwrap(),
        specification: serde_json::from_value(specification).unwrap(),
        secrets: serde_json::from_value(json!({"password": "hunter2-canary"})).unwrap(),
        nodes: serde_json::from_value(json!({"nodes": [node("mysql0", "127.64.0.1"), node("mysql1", "127.64.0.2")]}))
            .unwrap(),
    }
}
