//! A cluster's history, as pages and as a stream.

use super::path::{self, ClusterPath, Query};
use crate::changes::Listener;
use crate::registry::Registry;
use crate::store;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use bigdata_chassis::http::{ApiError, Caller};
use bigdata_common::ClusterId;
use bigdata_common::api::cluster::{EventList, EventView};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a quiet stream says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events that a stream reads at a time.
const BATCH: u32 = 500;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(web::resource("/clusters/{user}/{product}/{version}/{number}/events").route(web::get().to(events)));
}

async fn events(
    registry: Data<Registry>,
    caller: Caller,
    path: ClusterPath,
    query: Query,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let cluster = path::cluster(&registry, &caller, &path).await?;
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let last = header("last-event-id").and_then(|value| value.trim().parse().ok());
    let after = last.or(path::number(&query, "after")?).unwrap_or(0);
    if header(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream")) {
        return Ok(HttpResponse::Ok()
            .content_type("text/event-stream")
            .insert_header((CACHE_CONTROL, "no-cache"))
            .insert_header(("x-accel-buffering", "no"))
            .streaming(stream(registry.into_inner(), cluster.id, after)));
    }
    let limit = path::limit(&query)?;
    let events = store::events::page(&registry.db, &cluster.id, after, limit).await?;
    let full = events.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = events.last().filter(|_| full).map(|event| event.sequence);
    Ok(HttpResponse::Ok().json(EventList { events, next }))
}

struct Reader {
    registry: Arc<Registry>,
    cluster: ClusterId,
    after: u64,
    changes: Listener,
    heartbeat_at: Instant,
    opened: bool,
}

/// What has happened after this sequence, and then what happens, until the client or the process goes.
fn stream(
    registry: Arc<Registry>,
    cluster: ClusterId,
    after: u64,
) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let changes = Listener::new(Arc::clone(&registry), cluster.clone());
    let reader = Reader { registry, cluster, after, changes, heartbeat_at: Instant::now() + HEARTBEAT, opened: false };
    stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error.into()), None)),
        }
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        if !std::mem::replace(&mut self.opened, true) {
            // Clients and proxies see at once that the stream is open.
            return Ok(Some(Bytes::from_static(b": open\n\n")));
        }
        loop {
            let events = store::events::page(&self.registry.db, &self.cluster, self.after, BATCH).await?;
            if let Some(last) = events.last() {
                self.after = last.sequence;
                self.heartbeat_at = Instant::now() + HEARTBEAT;
                return Ok(Some(frames(&events)?));
            }
            tokio::select! {
                () = self.registry.end.cancelled() => return Ok(None),
                () = self.changes.next() => {}
                () = tokio::time::sleep_until(self.heartbeat_at) => {
                    self.heartbeat_at = Instant::now() + HEARTBEAT;
                    return Ok(Some(Bytes::from_static(b": alive\n\n")));
                }
            }
        }
    }
}

fn frames(events: &[EventView]) -> Result<Bytes, ApiError> {
    let mut text = String::new();
    for event in events {
        let data = serde_json::to_string(event).map_err(ApiError::internal)?;
        text.push_str(&format!("id: {}\nevent: {}\ndata: {data}\n\n", event.sequence, event.kind));
    }
    Ok(Bytes::from(text))
}
