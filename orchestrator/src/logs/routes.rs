//! `GET /bigdata/api/v1/clusters/{user}/{product}/{version}/{n}/logs`, and `GET /bigdata/api/v1/operations/{id}/logs`.

use super::follow::Follower;
use crate::service::Context;
use crate::store::{LogOf, StoreError};
use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::{HttpRequest, HttpResponse, web};
use bigdata_chassis::http::{ApiError, Caller, ClientError};
use bigdata_common::api::PREFIX;
use bigdata_common::api::cluster::{LogLine, LogPage};
use bigdata_common::api::operation::OperationView;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::{ClusterId, OperationId};
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

/// Shows a cluster's log.
pub(crate) async fn show(
    caller: Caller,
    context: web::Data<Context>,
    request: HttpRequest,
    path: web::Path<(String, String, String, String)>,
    query: web::Query<Query>,
) -> Result<HttpResponse, ApiError> {
    let (user, product, version, number) = path.into_inner();
    let cluster = visible(&caller, &context, &format!("clusters/{user}/{product}/{version}/{number}")).await?;
    answer(&context, &request, &query, LogOf::Cluster(cluster)).await
}

/// Shows what an operation's runs wrote.
pub(crate) async fn show_operation(
    caller: Caller,
    context: web::Data<Context>,
    request: HttpRequest,
    id: web::Path<String>,
    query: web::Query<Query>,
) -> Result<HttpResponse, ApiError> {
    let log = of_operation(&caller, &context, &id).await?;
    answer(&context, &request, &query, log).await
}

/// A log as a page, as text or as a stream of events.
async fn answer(context: &Context, request: &HttpRequest, query: &Query, log: LogOf) -> Result<HttpResponse, ApiError> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let resumed = header("last-event-id").and_then(|id| id.trim().parse().ok());
    let mut after = resumed.or(query.after).unwrap_or(0);
    if let Some(tail) = query.tail {
        after = after.max(context.store.before_tail(&log, tail).await.map_err(ApiError::internal)?);
    }
    match form(header(ACCEPT.as_str()).unwrap_or_default()) {
        Form::Page => page(context, &log, after, query.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX)).await,
        Form::Text => Ok(text(context, log, after, query.limit)),
        Form::Stream => Ok(events(context, log, after)),
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
        Err(error) => Err(from_registry(error)),
    }
}

/// The log of an operation, if that exists for the caller; one that has run nothing yet has no lines.
async fn of_operation(caller: &Caller, context: &Context, id: &str) -> Result<LogOf, ApiError> {
    let unknown = || {
        let detail = format!("there is no operation {id:?} of yours; `GET /operations` lists them");
        ApiError::new(ProblemCode::UnknownOperation, detail)
    };
    let operation: OperationId = id.parse().map_err(|_| unknown())?;
    if let Some((cluster, _)) = context.store.of_operation(operation).await.map_err(ApiError::internal)? {
        let is_visible = caller.0.may_see(cluster.dn());
        return if is_visible { Ok(LogOf::Operation { operation, cluster }) } else { Err(unknown()) };
    }
    let path = format!("{PREFIX}/operations/{operation}");
    match context.registry.0.on_behalf_of(&caller.0).get::<OperationView>(&path).await {
        Ok(view) => Ok(LogOf::Operation { operation, cluster: view.cluster.into() }),
        Err(error) => Err(from_registry(error)),
    }
}

fn from_registry(error: ClientError) -> ApiError {
    match error {
        ClientError::Problem(problem) => ApiError::from(*problem),
        error => ApiError::unavailable("the registry does not answer; try again", error),
    }
}

async fn page(context: &Context, log: &LogOf, after: u64, limit: u32) -> Result<HttpResponse, ApiError> {
    // Looked at first: the lines of a run that has ended are all there.
    let running = match log {
        LogOf::Cluster(_) => None,
        LogOf::Operation { operation, .. } => {
            let runs = context.store.of_operation(*operation).await.map_err(ApiError::internal)?;
            Some(runs.is_some_and(|(_, running)| running))
        }
    };
    let lines = context.store.lines_after(log, after, limit).await.map_err(ApiError::internal)?;
    let is_full = u32::try_from(lines.len()).is_ok_and(|count| count == limit);
    let next = lines.last().map(|line| line.sequence).filter(|_| is_full);
    Ok(HttpResponse::Ok().json(LogPage { lines, next, running }))
}

/// The lines alone, as far as the log goes now.
fn text(context: &Context, log: LogOf, after: u64, limit: Option<u32>) -> HttpResponse {
    let store = context.store.clone();
    let body = stream::try_unfold((after, limit.unwrap_or(u32::MAX)), move |(after, left)| {
        let (store, log) = (store.clone(), log.clone());
        async move {
            let lines = store.lines_after(&log, after, left.min(LIMIT)).await?;
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

fn events(context: &Context, log: LogOf, after: u64) -> HttpResponse {
    let follower = Follower::new(context.store.clone(), &context.signals, log, after);
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
