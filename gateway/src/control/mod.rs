//! Node control: the gateway asks the registry whether the caller may see the cluster, the framework how its node's
//! executor is reached, and then speaks to the executor itself.

pub(crate) mod channel;
pub(crate) mod grants;

use crate::body::{self, TooLarge, Upload};
use crate::headers;
use crate::proxy::{self, Answer, Asking, NoAnswer};
use crate::routes::Route;
use crate::state::State;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use bigdata_chassis::http::{ApiError, ClientError, Internal};
use bigdata_common::api::PREFIX;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::internal::{ControlGrant, ControlRequest, RUN_ATTEMPT_HEADER};
use bigdata_common::{ClusterDn, ClusterId, Name};
use channel::Channel;
use grants::Key;
use hyper::Uri;
use serde::de::IgnoredAny;
use std::time::Duration;

/// The longest wait for the head of an answer to a command: a stop may take its time.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Passes a request on to the executor of the node that its path names, at `path` of the control channel.
///
/// # Errors
/// Whatever the registry and the framework say against it; 413; 503 BD0024 where the executor cannot be reached.
pub(crate) async fn call(
    state: &State,
    route: &Route,
    path: &str,
    request: &HttpRequest,
    payload: web::Payload,
    asking: &Asking<'_>,
) -> Result<HttpResponse, ApiError> {
    let (cluster, node) = target(request)?;
    let registry = state.registry.client.on_behalf_of(asking.principal);
    registry
        .get::<IgnoredAny>(&format!("{PREFIX}/{}", cluster.dn()))
        .await
        .map_err(|error| told_by("registry", error))?;
    let key = Key { cluster, node, caller: asking.principal.user.clone() };
    let upload = Upload::begin(request, payload, route.body_max()).map_err(|TooLarge| body::too_large(route))?;
    let too_large_after_all = upload.watch();
    let (grant, channel) = open(state, &key, asking).await?;

    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    let unavailable = |why: NoAnswer| not_reached(&key, why);
    let uri = Uri::builder().path_and_query(format!("{path}{query}")).build();
    let uri = uri.map_err(|error| unavailable(NoAnswer::Broken(error.into())))?;
    let mut outgoing = proxy::outgoing(request, uri, upload.body, upload.length).map_err(unavailable)?;
    headers::name(outgoing.headers_mut(), asking.cause);
    if Internal::extract(request).await.is_ok() {
        headers::pass(outgoing.headers_mut(), request.headers(), RUN_ATTEMPT_HEADER);
    }
    let limit = if request.method().is_safe() { asking.answer_timeout } else { COMMAND_TIMEOUT };
    let answered = async { Answer::take(channel.send(outgoing, &grant).await?).await };
    let answer = proxy::within(limit, upload.sent, answered).await.and_then(|answer| answer);
    match answer {
        Ok(answer) if answer.status() == hyper::StatusCode::UNAUTHORIZED => {
            state.grants.forget(&key);
            Err(not_reached(&key, NoAnswer::Broken("its executor refused the gateway's token".into())))
        }
        Ok(answer) => Ok(proxy::relay(request, answer, &asking.end)),
        Err(_) if too_large_after_all() => Err(body::too_large(route)),
        Err(why) => {
            state.grants.forget(&key);
            Err(not_reached(&key, why))
        }
    }
}

/// A channel to the node's executor: by a grant of a moment ago if it still leads there, else by a new one.
async fn open(state: &State, key: &Key, asking: &Asking<'_>) -> Result<(ControlGrant, Channel), ApiError> {
    if let Some(grant) = state.grants.get(key, state.clock.now()) {
        match Channel::open(&grant).await {
            Ok(channel) => return Ok((grant, channel)),
            Err(error) => {
                tracing::debug!(node = %key.node, error = &error as &dyn std::error::Error, "a grant leads nowhere any more");
                state.grants.forget(key);
            }
        }
    }
    let framework = state.framework.client.on_behalf_of(asking.principal);
    let path = format!("/internal/v1/clusters/{}/nodes/{}/control", key.cluster, key.node);
    let body = ControlRequest { caller: key.caller.clone() };
    let grant: ControlGrant = framework.post(&path, &body).await.map_err(|error| told_by("framework", error))?;
    let channel = Channel::open(&grant).await.map_err(|error| not_reached(key, NoAnswer::Broken(Box::new(error))))?;
    state.grants.keep(key.clone(), grant.clone(), state.clock.now());
    Ok((grant, channel))
}

fn target(request: &HttpRequest) -> Result<(ClusterId, Name), ApiError> {
    let part = |name: &str| request.match_info().get(name).unwrap_or_default();
    let dn = format!("clusters/{}/{}/{}/{}", part("user"), part("product"), part("version"), part("n"));
    let cluster: ClusterDn = dn
        .parse()
        .map_err(|error| ApiError::new(ProblemCode::UnknownCluster, format!("there is no cluster {dn:?}: {error}")))?;
    let node = part("node").parse().map_err(|error| {
        ApiError::new(ProblemCode::UnknownNode, format!("there is no node {:?}: {error}", part("node")))
    })?;
    Ok((cluster.into(), node))
}

/// A service's own words where it has some.
pub(crate) fn told_by(service: &str, error: ClientError) -> ApiError {
    match error {
        ClientError::Problem(problem) => ApiError::from(*problem),
        unreachable => {
            ApiError::unavailable(format!("the {service} does not answer now; try again in a moment"), unreachable)
        }
    }
}

fn not_reached(key: &Key, why: NoAnswer) -> ApiError {
    let why = match why {
        NoAnswer::Late(limit) => format!("its executor did not answer within {} s", limit.as_secs()),
        NoAnswer::Broken(error) => error.to_string(),
    };
    tracing::warn!(cluster = %key.cluster, node = %key.node, why, "a node cannot be reached");
    let detail = format!("the node {} cannot be reached: {why}; `GET …/nodes` tells where it stands", key.node);
    ApiError::new(ProblemCode::NodeUnavailable, detail)
}
