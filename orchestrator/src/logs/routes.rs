//! `GET /bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/logs`.

use super::follow::Follower;
use crate::service::Context;
use crate::store::StoreError;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::{HttpRequest, HttpResponse, web};
use bigdata_chassis::http::{ApiError, Caller, ClientError};
use bigdata_common::ClusterId;
use bigdata_common::api::PREFIX;
use bigdata_common::api::cluster::{LogLine, LogPage};
use bigdata_common::api::problem::ProblemCode;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use std::time::Duration;

/// Lines of a page where nothing is said, and the most that can be asked for.
const LIMIT: u32 = 1000;
const LIMIT_MAX: u32 = 10_000;
/// A comment is sent this often into a silent stream, so that a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Lines after this sequence.
    after: Option<u64>,
    /// At most so many.
    limit: Option<u32>,
    /// Only the last so many.
    tail: Option<u64>,
}

/// The form of the answer.
enum Form {
    Page,
    Text,
    Stream,
}

/// Shows a log as a page, as text or as a stream of events.
pub(crate) async fn show(
    caller: Caller,
    context: web::Data<Context>,
    request: HttpRequest,
    path: web::Path<(String, String, String, String)>,
    query: web::Query<Query>,
) -> Result<HttpResponse, ApiError> {
    let (user, product, version, number) = path.into_inner();
    let cluster = visible(&caller, &context, &format!("clusters/{user}/{product}/{version}/{number}")).await?;
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let resumed = header("last-event-id").and_then(|id| id.trim().parse().ok());
    let mut after = resumed.or(query.after).unwrap_or(0);
    if let Some(tail) = query.tail {
        let last = context.store.last_sequence(&cluster).await.map_err(ApiError::internal)?.unwrap_or(0);
        after = after.max(last.saturating_sub(tail));
    }
    match form(header(ACCEPT.as_str()).unwrap_or_default()) {
        Form::Page => page(&context, &cluster, after, query.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX)).await,
        Form::Text => Ok(text(&context, cluster, after, query.limit)),
        Form::Stream => Ok(events(&context, cluster, after)),
    }
}

fn form(accept: &str) -> Form {
    let first =
        accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim()).find_map(|kind| match kind {
            "text/event-stream" => Some(Form::Stream),
            "text/plain" | "text/*" => Some(Form::Text),
            "application/json" | "*/*" => Some(Form::Page),
            _ => None,
        });
    first.unwrap_or(Form::Page)
}

/// The cluster, if it exists for the caller.
async fn visible(caller: &Caller, context: &Context, dn: &str) -> Result<ClusterId, ApiError> {
    let unknown = || {
        ApiError::new(
            ProblemCode::UnknownCluster,
            format!("there is no cluster {dn} of yours; `GET /clusters` lists them"),
        )
    };
    let cluster = ClusterId::parse_any(dn).map_err(|_| unknown())?;
    if !caller.0.may_see(cluster.dn()) {
        return Err(unknown());
    }
    if context.store.last_sequence(&cluster).await.map_err(ApiError::internal)?.is_some() {
        return Ok(cluster);
    }
    let path = format!("{PREFIX}/{}", cluster.dn());
    match context.registry.0.on_behalf_of(&caller.0).get::<serde::de::IgnoredAny>(&path).await {
        Ok(_) => Ok(cluster),
        Err(ClientError::Problem(problem)) => Err(ApiError::from(*problem)),
        Err(error) => Err(ApiError::unavailable("the registry does not answer; try again", error)),
    }
}

async fn page(context: &Context, cluster: &ClusterId, after: u64, limit: u32) -> Result<HttpResponse, ApiError> {
    let lines = context.store.lines_after(cluster, after, limit).await.map_err(ApiError::internal)?;
    let is_full = u32::try_from(lines.len()).is_ok_and(|count| count == limit);
    let next = lines.last().map(|line| line.sequence).filter(|_| is_full);
    Ok(HttpResponse::Ok().json(LogPage { lines, next }))
}

/// The lines alone, as far as the log goes now.
fn text(context: &Context, cluster: ClusterId, after: u64, limit: Option<u32>) -> HttpResponse {
    let store = context.store.clone();
    let body = stream::try_unfold((after, limit.unwrap_or(u32::MAX)), move |(after, left)| {
        let (store, cluster) = (store.clone(), cluster.clone());
        async move {
            let lines = store.lines_after(&cluster, after, left.min(LIMIT)).await?;
            let Some(last) = lines.last() else { return Ok(None) };
            let place = (last.sequence, left.saturating_sub(u32::try_from(lines.len()).unwrap_or(u32::MAX)));
            let mut text = String::new();
            for line in &lines {
                text.push_str(&line.line);
                text.push('\n');
            }
            Ok::<_, StoreError>(Some((Bytes::from(text), place)))
        }
    });
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").streaming(body)
}

fn events(context: &Context, cluster: ClusterId, after: u64) -> HttpResponse {
    let follower = Follower::new(context.store.clone(), &context.signals, cluster, after);
    let stop = context.tasks.token();
    // The comment makes the head go out before the first line is there.
    let state = (follower, stop, Some(Bytes::from_static(b": log\n\n")));
    let body = stream::try_unfold(state, |(mut follower, stop, greeting)| async move {
        if let Some(greeting) = greeting {
            return Ok(Some((greeting, (follower, stop, None))));
        }
        let lines = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            lines = follower.next(KEEP_ALIVE) => lines?,
        };
        Ok::<_, StoreError>(Some((Bytes::from(event_text(&lines)), (follower, stop, None))))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body)
}

fn event_text(lines: &[LogLine]) -> String {
    if lines.is_empty() {
        return ": nothing new\n\n".to_owned();
    }
    let mut text = String::new();
    for line in lines {
        let data = serde_json::to_string(line).unwrap_or_default();
        text.push_str(&format!("id: {}\ndata: {data}\n\n", line.sequence));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_kind_is_the_form() {
        for (accept, expected) in [
            ("", "page"),
            ("*/*", "page"),
            ("text/html, text/plain;q=0.9", "text"),
            ("text/event-stream", "stream"),
            ("application/json, text/plain", "page"),
        ] {
            let form = match form(accept) {
                Form::Page => "page",
                Form::Text => "text",
                Form::Stream => "stream",
            };
            assert_eq!(form, expected, "{accept}");
        }
    }
}
