//! What users ask: agents, and why a cluster waits.

use super::Context;
use crate::core::Core;
use actix_web::web::{Data, Json, Path};
use bigdata_chassis::http::{ApiError, Caller};
use bigdata_common::ClusterId;
use bigdata_common::api::explain::{AgentList, Explanation};
use bigdata_common::api::problem::ProblemCode;

/// `GET /agents`.
pub(super) async fn agents(_caller: Caller, context: Data<Context>) -> Result<Json<AgentList>, ApiError> {
    Ok(Json(context.driver.ask(|core, _| core.agents()).await?))
}

/// `GET /explain/{id}`: an id, or a distinguished name with its slashes.
pub(super) async fn explain(
    caller: Caller,
    path: Path<String>,
    context: Data<Context>,
) -> Result<Json<Explanation>, ApiError> {
    let id = ClusterId::parse_any(&path).map_err(|error| ApiError::new(ProblemCode::InvalidPath, error.to_string()))?;
    let unknown = || {
        ApiError::new(
            ProblemCode::UnknownCluster,
            format!("the framework knows no cluster {}: it is new, or destroyed", id.dn()),
        )
    };
    if !caller.0.may_see(id.dn()) {
        return Err(unknown());
    }
    let asked = id.clone();
    let asked = move |core: &Core, now| (core.explain(&asked, now), core.amounts_of(&asked));
    let (explanation, needs) = context.driver.ask(asked).await?;
    let mut explanation = explanation.ok_or_else(unknown)?;
    if explanation.waiting_since.is_some() {
        super::quota::explain(&mut explanation, &needs, &context.mesos).await;
    }
    Ok(Json(explanation))
}
