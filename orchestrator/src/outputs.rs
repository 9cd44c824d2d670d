//! `GET /internal/v1/clusters/{id}/outputs`: what a cluster's script published, with the values of secret outputs.

use crate::service::Context;
use actix_web::{HttpResponse, web};
use bigdata_chassis::http::{ApiError, Internal};
use bigdata_common::ClusterId;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::event::Output;

/// A list of [`Output`], each with its value.
pub(crate) async fn list(
    _internal: Internal,
    context: web::Data<Context>,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let cluster: ClusterId = path
        .parse()
        .map_err(|_| ApiError::new(ProblemCode::InvalidPath, format!("{path} is not the id of a cluster")))?;
    let outputs = context.store.outputs_of(&cluster).await.map_err(ApiError::internal)?;
    let view = |output: crate::store::StoredOutput| Output {
        key: output.key,
        value: Some(output.value),
        secret: output.secret,
        endpoint: output.endpoint,
    };
    Ok(HttpResponse::Ok().json(outputs.into_iter().map(view).collect::<Vec<_>>()))
}
