//! Everything that the gateway answers, on one screen.

use crate::body::{BODY_MAX, EXEC_MAX, UPLOAD_MAX};
use crate::query::Parameter;
use actix_web::http::Method;

/// One address: what it is for, and who answers it.
#[derive(Debug)]
pub(crate) struct Route {
    /// The methods that it knows. HEAD is answered wherever GET is.
    pub(crate) methods: &'static [Method],
    /// Its path, with the parts that vary in braces; also its name in the metrics.
    pub(crate) path: &'static str,
    /// Who answers.
    pub(crate) target: Target,
}

/// Who answers a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A service, as it stands.
    Service(Upstream),
    /// The registry; with `?dry_run=true` the framework is asked too.
    Launch,
    /// The framework; the registry explains what it does not know.
    Explain,
    /// The executor of a node, at this path of its control channel.
    Node(&'static str),
    /// The gateway itself.
    Own(Own),
}

/// A service behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Products, clusters, operations.
    Registry,
    /// Agents, placement.
    Framework,
    /// Logs of the products' scripts.
    Orchestrator,
}

/// What the gateway answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    Health,
    Ready,
    Metrics,
    Invariants,
    Orphans,
    Parked,
    OpenApi,
    Docs,
    ErrorKinds,
    ErrorKind,
    Index,
    IndexStream,
    ClusterPage,
    Asset,
}

const fn route(methods: &'static [Method], path: &'static str, target: Target) -> Route {
    Route { methods, path, target }
}

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const PUT: &[Method] = &[Method::PUT];
const GET_PUT: &[Method] = &[Method::GET, Method::PUT];
const GET_DELETE: &[Method] = &[Method::GET, Method::DELETE];
const GET_POST_DELETE: &[Method] = &[Method::GET, Method::POST, Method::DELETE];
const REGISTRY: Target = Target::Service(Upstream::Registry);
const FRAMEWORK: Target = Target::Service(Upstream::Framework);
const ORCHESTRATOR: Target = Target::Service(Upstream::Orchestrator);

/// The table; the order does not matter, since no two paths match the same address.
#[rustfmt::skip]
pub(crate) static ROUTES: &[Route] = &[
    route(GET_POST,        "/bigdata/api/v1/products", REGISTRY),
    route(GET,             "/bigdata/api/v1/products/{name}", REGISTRY),
    route(GET_POST_DELETE, "/bigdata/api/v1/products/{name}/{version}", Target::Launch),
    route(GET_PUT,         "/bigdata/api/v1/products/{name}/{version}/template", REGISTRY),
    route(GET_PUT,         "/bigdata/api/v1/products/{name}/{version}/options", REGISTRY),
    route(GET_PUT,         "/bigdata/api/v1/products/{name}/{version}/actions", REGISTRY),
    route(GET_PUT,         "/bigdata/api/v1/products/{name}/{version}/orchestrator", REGISTRY),
    route(GET_PUT,         "/bigdata/api/v1/products/{name}/{version}/orquestrator", REGISTRY),
    route(GET_PUT,         "/bigdata/api/v1/products/{name}/{version}/logo_url", REGISTRY),
    route(GET_PUT,         "/bigdata/api/v1/products/{name}/{version}/reach", REGISTRY),
    route(GET_PUT,         "/bigdata/api/v1/products/{name}/{version}/container-rights", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}", REGISTRY),
    route(GET_DELETE,      "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/services", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/endpoints", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/secrets", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/events", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/operations", REGISTRY),
    route(POST,            "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/retry", REGISTRY),
    route(POST,            "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/scale", REGISTRY),
    route(POST,            "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/upgrade", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/actions", REGISTRY),
    route(POST,            "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/actions/{action}", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/backups", REGISTRY),
    route(PUT,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/termination", REGISTRY),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/logs", ORCHESTRATOR),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}", REGISTRY),
    route(POST,            "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}/replace", REGISTRY),
    route(POST,            "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}/exec", Target::Node("/v1/exec")),
    route(POST,            "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}/start", Target::Node("/v1/start")),
    route(POST,            "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}/stop", Target::Node("/v1/stop")),
    route(POST,            "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}/restart", Target::Node("/v1/restart")),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}/logs", Target::Node("/v1/logs")),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}/stats", Target::Node("/v1/stats")),
    route(GET,             "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}/health", Target::Node("/v1/health")),
    route(GET_PUT,         "/bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/nodes/{node}/files", Target::Node("/v1/files")),
    route(GET,             "/bigdata/api/v1/queue/{id}", REGISTRY),
    route(GET,             "/bigdata/api/v1/operations", REGISTRY),
    route(GET_DELETE,      "/bigdata/api/v1/operations/{id}", REGISTRY),
    route(POST,            "/bigdata/api/v1/operations/{id}/retry", REGISTRY),
    route(GET,             "/bigdata/api/v1/operations/{id}/logs", ORCHESTRATOR),
    route(GET,             "/bigdata/api/v1/backups", REGISTRY),
    route(GET_DELETE,      "/bigdata/api/v1/backups/{id}", REGISTRY),
    route(GET,             "/bigdata/api/v1/agents", FRAMEWORK),
    route(GET,             "/bigdata/api/v1/explain/{id:.+}", Target::Explain),
    route(GET,             "/bigdata/api/v1/admin/invariants", Target::Own(Own::Invariants)),
    route(GET,             "/bigdata/api/v1/admin/orphans", Target::Own(Own::Orphans)),
    route(GET,             "/bigdata/api/v1/admin/parked", Target::Own(Own::Parked)),
    route(GET,             "/health", Target::Own(Own::Health)),
    route(GET,             "/ready", Target::Own(Own::Ready)),
    route(GET,             "/metrics", Target::Own(Own::Metrics)),
    route(GET,             "/openapi.json", Target::Own(Own::OpenApi)),
    route(GET,             "/docs", Target::Own(Own::Docs)),
    route(GET,             "/docs/errors", Target::Own(Own::ErrorKinds)),
    route(GET,             "/docs/errors/{code}", Target::Own(Own::ErrorKind)),
    route(GET,             "/", Target::Own(Own::Index)),
    route(GET,             "/ui/stream", Target::Own(Own::IndexStream)),
    route(GET,             "/ui/clusters/{user}/{product}/{version}/{n}", Target::Own(Own::ClusterPage)),
    route(GET,             "/ui/assets/{file}", Target::Own(Own::Asset)),
];

impl Own {
    /// What its query may say; None: whatever it likes, since probes and browsers add things of their own.
    pub(crate) fn parameters(self) -> Option<&'static [Parameter]> {
        match self {
            Self::Index | Self::IndexStream => Some(&[("destroyed", &["show"])]),
            Self::ClusterPage | Self::Invariants | Self::Orphans | Self::Parked => Some(&[]),
            _ => None,
        }
    }
}

impl Route {
    /// Whether the method is one of this address.
    pub(crate) fn knows(&self, method: &Method) -> bool {
        self.methods.contains(if method == Method::HEAD { &Method::GET } else { method })
    }

    /// The largest request body that it takes, in bytes.
    pub(crate) fn body_max(&self) -> u64 {
        match self.target {
            Target::Node("/v1/files") => UPLOAD_MAX,
            Target::Node("/v1/exec") => EXEC_MAX,
            _ => BODY_MAX,
        }
    }

    /// The methods for an `Allow` header.
    pub(crate) fn allow(&self) -> String {
        self.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
    }
}
