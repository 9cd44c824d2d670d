//! `GET /explain/{id}` of a cluster that the framework does not know: the registry knows why.

use crate::control::told_by;
use crate::proxy::Asking;
use crate::state::State;
use actix_web::{HttpRequest, HttpResponse};
use bigdata_chassis::http::ApiError;
use bigdata_common::ClusterId;
use bigdata_common::api::PREFIX;
use bigdata_common::api::cluster::{ClusterEntry, ClusterView};
use bigdata_common::api::explain::Explanation;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::status::ClusterStatus;

/// Explains a cluster from what the registry says of it.
///
/// # Errors
/// Whatever the registry says against it: 404 where it knows no such cluster of the caller either.
pub(crate) async fn by_registry(
    state: &State,
    request: &HttpRequest,
    asking: &Asking<'_>,
) -> Result<HttpResponse, ApiError> {
    let id = request.match_info().get("id").unwrap_or_default();
    let id = ClusterId::parse_any(id).map_err(|error| ApiError::new(ProblemCode::InvalidPath, error.to_string()))?;
    let registry = state.registry.client.on_behalf_of(asking.principal);
    let entry: ClusterEntry =
        registry.get(&format!("{PREFIX}/{}", id.dn())).await.map_err(|error| told_by("registry", error))?;
    Ok(HttpResponse::Ok().json(explanation(&entry.data)))
}

fn explanation(cluster: &ClusterView) -> Explanation {
    let summary = match cluster.status {
        ClusterStatus::Destroyed if cluster.leftovers.is_empty() => {
            "it was destroyed; nothing of it is left".to_owned()
        }
        ClusterStatus::Destroyed => format!("it was destroyed; left of it: {}", cluster.leftovers.join(", ")),
        status => format!("it is {status}, and the framework has not heard of it yet; ask again in a moment"),
    };
    Explanation { cluster: cluster.dn.clone(), summary, waiting_since: None, deadline: None, nodes: Vec::new() }
}
