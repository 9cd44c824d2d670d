//! Errors as the API tells them: RFC 9457 problem details with a stable code, and the older system's fields beside them.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// A kind of error that a client can tell apart. A code is never given a new meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)+
        }

        impl ProblemCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable code (`BD0001`).
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The HTTP status that it is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// What kind of error it is, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    /// The body is not the JSON (or YAML) that it should be.
    MalformedBody = "BD0001", 400, "the body cannot be read";
    /// The body is larger than the service takes.
    BodyTooLarge = "BD0002", 413, "the body is too large";
    /// A field is missing, unknown, or of the wrong type or form.
    InvalidField = "BD0003", 400, "a field is not as it should be";
    /// A part of the path or query is not of its form.
    InvalidPath = "BD0004", 400, "the address is not of its form";
    /// There is no such route.
    UnknownRoute = "BD0005", 404, "there is nothing at this address";
    /// The method is not one of this address.
    MethodNotAllowed = "BD0006", 405, "the method is not one of this address";
    /// There is no such product.
    UnknownProduct = "BD0007", 404, "there is no such product";
    /// There is no such cluster, or it is not the caller's.
    UnknownCluster = "BD0008", 404, "there is no such cluster";
    /// There is no such node in the cluster.
    UnknownNode = "BD0009", 404, "there is no such node";
    /// There is no such operation.
    UnknownOperation = "BD0010", 404, "there is no such operation";
    /// A product of that name and version exists and differs.
    ProductExists = "BD0011", 409, "the product exists and differs";
    /// The product has clusters.
    ProductInUse = "BD0012", 409, "clusters use the product";
    /// The product lacks what a launch needs.
    ProductIncomplete = "BD0013", 409, "the product is not complete";
    /// Options of a launch are missing, unknown or wrong.
    InvalidOptions = "BD0014", 400, "the options are not as the product wants them";
    /// The template does not parse or does not render.
    TemplateFailed = "BD0015", 422, "the template does not render";
    /// The rendered document is no blueprint.
    InvalidBlueprint = "BD0016", 422, "the template does not describe a cluster";
    /// The orchestrator script cannot be run.
    InvalidOrchestrator = "BD0017", 422, "the orchestrator script cannot be run";
    /// The cluster's status does not allow it.
    WrongStatus = "BD0018", 409, "the cluster's status does not allow it";
    /// The cluster's termination policy forbids it.
    TerminationForbidden = "BD0019", 409, "the cluster is protected from termination";
    /// The same idempotency key came with another request.
    IdempotencyConflict = "BD0020", 409, "the idempotency key belongs to another request";
    /// No or bad credentials.
    Unauthenticated = "BD0021", 401, "the caller is not known";
    /// The caller's roles do not allow it.
    Forbidden = "BD0022", 403, "the caller may not do this";
    /// The request came from a web page of another origin, or names another host.
    ForeignOrigin = "BD0023", 403, "requests of other origins are refused";
    /// A node cannot be reached now.
    NodeUnavailable = "BD0024", 503, "the node cannot be reached";
    /// A service that the request needs does not answer now.
    ServiceUnavailable = "BD0025", 503, "a service does not answer";
    /// Something in the service went wrong; its log says what.
    Internal = "BD0026", 500, "the service failed";
    /// The service has too much to do.
    TooManyRequests = "BD0027", 429, "too many requests";
    /// A wait ended before its condition was met.
    WaitTimedOut = "BD0028", 504, "the wait ended before its time";
    /// Another replica of the service leads.
    NotLeader = "BD0029", 503, "another replica of the service leads";
    /// The product declares no such action, or none that users may call.
    UnknownAction = "BD0030", 404, "there is no such action";
    /// Another operation changes the cluster, and the product does not want this one to wait.
    ClusterBusy = "BD0031", 409, "another operation changes the cluster";
    /// There is no such backup, or it belongs to somebody else.
    UnknownBackup = "BD0032", 404, "there is no such backup";
    /// The declaration of a product's actions has faults.
    InvalidActions = "BD0033", 422, "the declaration of actions is not as it should be";
    /// The product's containers would do on the machine what no operator has allowed the product.
    ContainerRightsMissing = "BD0034", 403, "the product lacks container rights";
    /// A node can run as a container only, and no agent has a container engine.
    NoContainerEngine = "BD0035", 409, "no agent has a container engine";
    /// The operation has not ended, ended well, was begun by the platform, or is taken up again another way.
    NotRetriable = "BD0036", 409, "the operation is not to be begun again";
}

/// One fault among several: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// RFC 6901 pointer into the body (or the rendered document).
    pub pointer: String,
    /// What is wrong there, and what would be right.
    pub detail: String,
}

impl Fault {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// An `application/problem+json` body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI reference that names the kind: `/docs/errors/BD0001`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong this time, and what to do.
    pub detail: String,
    /// The stable code.
    pub code: ProblemCode,
    /// Every single fault, where there are several places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// The older system's field: the kind.
    pub error: String,
    /// The older system's field: what was wrong.
    pub message: String,
}

impl Problem {
    /// A problem of this kind, with what was wrong this time and what to do.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            kind: format!("/docs/errors/{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            message: detail.clone(),
            detail,
            code,
            errors: Vec::new(),
            error: code.title().to_owned(),
        }
    }

    /// The same with every single fault.
    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.detail, self.code.as_str())
    }
}

impl std::error::Error for Problem {}
