//! `POST /internal/v1/heard`: nodes of which nothing is new but the time.

use crate::registry::Registry;
use crate::store;
use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use bigdata_chassis::http::{ApiError, Internal, json};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::internal::Heard;

/// A word that held for longer would say nothing of a node's health.
const HOLDS_MAX_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) async fn post(registry: Data<Registry>, _internal: Internal, body: Bytes) -> Result<HttpResponse, ApiError> {
    let mut heard: Heard = json::body(&body)?;
    if heard.nodes.len() > Heard::NODES_MAX {
        let detail = format!("at most {} nodes are taken at once", Heard::NODES_MAX);
        return Err(ApiError::new(ProblemCode::InvalidField, detail));
    }
    for node in &mut heard.nodes {
        node.holds_ms = node.holds_ms.clamp(1, HOLDS_MAX_MS);
    }
    // Of a node that is named twice the newest word counts.
    heard.nodes.sort_by(|left, right| {
        let key = |node: &bigdata_common::internal::HeardNode| (node.cluster.to_string(), node.node.clone());
        key(left).cmp(&key(right)).then(right.observed_at.cmp(&left.observed_at))
    });
    heard.nodes.dedup_by(|second, first| second.cluster == first.cluster && second.node == first.node);
    let mut tx = registry.db.begin().await?;
    store::freshness::hear(&mut tx, &heard.nodes, registry.clock.now()).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
