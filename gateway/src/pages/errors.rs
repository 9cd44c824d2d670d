//! `/docs/errors`: what every code means, and what to do about it.

use bigdata_common::api::problem::ProblemCode;
use serde::Serialize;

/// The page with all codes.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorKinds {
    errors: Vec<ErrorKind>,
}

/// The page of one code.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorKind {
    code: &'static str,
    status: u16,
    title: &'static str,
    advice: &'static str,
}

impl From<ProblemCode> for ErrorKind {
    fn from(code: ProblemCode) -> Self {
        Self { code: code.as_str(), status: code.status(), title: code.title(), advice: advice(code) }
    }
}

/// Every code.
pub(crate) fn all() -> ErrorKinds {
    ErrorKinds { errors: ProblemCode::ALL.iter().map(|code| (*code).into()).collect() }
}

/// One code; None where there is none of this name.
pub(crate) fn one(code: &str) -> Option<ErrorKind> {
    let known = ProblemCode::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(code));
    known.map(|code| (*code).into())
}

fn advice(code: ProblemCode) -> &'static str {
    match code {
        ProblemCode::MalformedBody => {
            "Send the body as the API describes it: valid JSON without duplicate keys, or the raw text for templates and scripts. The fault's pointer and position say where reading ended."
        }
        ProblemCode::BodyTooLarge => {
            "Send at most 1 MiB, or 64 MiB for a file of a node. Larger data belongs into the cluster itself, through the service that it runs."
        }
        ProblemCode::InvalidField => {
            "Each entry of `errors` names a field and what would be right there. Correct them all and send again."
        }
        ProblemCode::InvalidPath => {
            "Names hold lower-case letters, digits, `.`, `_` and `-`, and begin and end with a letter or digit. Check the address and its query."
        }
        ProblemCode::UnknownRoute => {
            "Check the address; /docs lists every route. All of the API begins with /bigdata/api/v1."
        }
        ProblemCode::MethodNotAllowed => "The `Allow` header of the answer lists the methods of this address.",
        ProblemCode::UnknownProduct => {
            "GET /bigdata/api/v1/products lists the products, and GET …/products/{name} the versions of one."
        }
        ProblemCode::UnknownCluster => {
            "GET /bigdata/api/v1/clusters lists your clusters. A cluster of somebody else is answered the same way as one that is not there."
        }
        ProblemCode::UnknownNode => "GET …/nodes lists the cluster's nodes by name.",
        ProblemCode::UnknownOperation => {
            "Check the id: a launch answers it as `operation`, and GET …/operations lists those of a cluster."
        }
        ProblemCode::ProductExists => {
            "A product of this name and version is there with other contents. Change its parts by PUT, or register another version."
        }
        ProblemCode::ProductInUse => "Destroy the product's clusters first; GET /bigdata/api/v1/clusters shows them.",
        ProblemCode::ProductIncomplete => {
            "PUT what `missing` of the product lists (template, options, orchestrator), then launch again."
        }
        ProblemCode::InvalidOptions => {
            "Each entry of `errors` names an option. GET …/products/{name}/{version}/options tells which there are, with their defaults and descriptions."
        }
        ProblemCode::TemplateFailed => {
            "Mend the product's template where the detail says; a launch with ?dry_run=true tries it without starting anything."
        }
        ProblemCode::InvalidBlueprint => {
            "The template rendered, but what it rendered is no cluster. Each entry of `errors` points into the rendered document."
        }
        ProblemCode::InvalidOrchestrator => {
            "The script must be text with a `#!` line whose interpreter is installed where the orchestrator runs. The detail names what is missing."
        }
        ProblemCode::WrongStatus => {
            "The detail says in which status the cluster is and in which it can be done. Wait for it with GET …?wait=STATUS, or retry or destroy the cluster."
        }
        ProblemCode::TerminationForbidden => {
            "The cluster was launched with `termination` do-not-terminate. Its owner must lift that first."
        }
        ProblemCode::IdempotencyConflict => {
            "Use a new Idempotency-Key for a new request, or send the same request again to get its first answer."
        }
        ProblemCode::Unauthenticated => {
            "Call the gateway, not a service behind it, and show valid credentials where the deployment asks for them."
        }
        ProblemCode::Forbidden => "Ask an administrator for the role that the detail names.",
        ProblemCode::ForeignOrigin => {
            "The gateway answers as localhost or 127.0.0.1, and to its own pages only, since any web page could reach it there. From another machine use an SSH tunnel: ssh -L 5000:127.0.0.1:5000 HOST."
        }
        ProblemCode::NodeUnavailable => {
            "GET …/nodes tells where the node stands. A node that is being placed or replaced answers again by itself; try again in a moment."
        }
        ProblemCode::ServiceUnavailable => {
            "Try again after the time that `Retry-After` says. GET /ready tells which service is missing, or that the catalog is still being loaded; an operator finds the cause in its log."
        }
        ProblemCode::Internal => {
            "Try again; if it stays, give the operator the request's `X-Request-Id`, by which the log tells the cause."
        }
        ProblemCode::TooManyRequests => {
            "Wait as long as `Retry-After` says, and ask less often; the streams of events tell changes without asking."
        }
        ProblemCode::WaitTimedOut => {
            "What was waited for has not happened yet and may still happen. Wait again, with a larger `timeout`, or look at the operation."
        }
        ProblemCode::UnknownAction => {
            "GET the cluster's `actions` (or the product's) to see what its script can be asked for, and with which arguments."
        }
        ProblemCode::ClusterBusy => {
            "Wait for the operation that the detail names, or end it with `DELETE /operations/{id}`, and ask again."
        }
        ProblemCode::UnknownBackup => "GET /backups lists those that you may use.",
        ProblemCode::InvalidActions => {
            "Mend what each entry of `errors` names at its pointer; docs/products.md shows the form."
        }
        ProblemCode::ContainerRightsMissing => {
            "Each entry of `errors` names an option of `docker_opts` that reaches out of its container. An operator who trusts the product gives it the right: `bigdata product allow NAME VERSION RIGHT…`, or PUT …/container-rights. It counts from the next launch on."
        }
        ProblemCode::NoContainerEngine => {
            "Install Podman or Docker on an agent's machine (`bigdata doctor` tells what is found there), or give the node a `command`. `GET /agents` shows which agents have one, as the attribute bigdata_containers."
        }
        ProblemCode::NotRetriable => {
            "Only what a user asked of a ready cluster, and what failed or was cancelled, is begun again. The detail says what leads on instead."
        }
        ProblemCode::NotLeader => {
            "Ask again after the time that `Retry-After` says, or ask the replica that the detail names. The gateway finds the leader by itself."
        }
    }
}
