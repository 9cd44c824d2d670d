//! `bigdata operation`: changes that take time.

use super::cluster::log_line;
use crate::client::{Api, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::follow;
use crate::output::age;
use crate::target;
use bigdata_chassis::Clock;
use bigdata_common::api::change::OperationAccepted;
use bigdata_common::api::cluster::LogPage;
use bigdata_common::api::operation::{OperationList, OperationView};
use clap::{Args, Subcommand, value_parser};
use reqwest::Method;
use std::time::{Duration, Instant};

/// The wait between two looks at a log that is followed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Operations of one page.
const PAGE: u32 = 200;
/// How long a platform that does not answer is asked again.
const AWAY: Duration = Duration::from_secs(300);

/// Work on operations.
#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// The operations, the newest first: all, or those of one cluster
    List(List),
    /// One operation with its steps
    Show {
        /// The operation's id
        id: String,
    },
    /// Follow it until it has ended
    Wait {
        /// The operation's id
        id: String,
        /// The longest to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        timeout: u64,
    },
    /// What the product's script wrote in its runs
    Logs {
        /// The operation's id
        id: String,
        /// Stay until it has ended, and print what comes
        #[arg(short, long)]
        follow: bool,
        /// The last lines only
        #[arg(long, value_name = "LINES", conflicts_with = "follow")]
        tail: Option<u32>,
    },
    /// Begin one that failed or was cancelled again: the same request, as a new operation
    Retry {
        /// The operation's id
        id: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// End it before its time
    Cancel {
        /// The operation's id
        id: String,
    },
}

/// Which operations are shown.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[arg(help = target::CLUSTER_HELP)]
    cluster: Option<String>,
    /// How many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = value_parser!(u32).range(1..))]
    limit: u32,
}

/// Whether a command stays until the operation that it begins has ended.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Follow it until it has ended
    #[arg(long)]
    wait: bool,
    /// The longest to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

impl Waiting {
    /// Tells of an operation that was begun; stays until its end where that is wanted.
    ///
    /// # Errors
    /// When it fails, or the time is up.
    pub(crate) async fn conclude(
        &self,
        api: &Api,
        context: &Context,
        accepted: &OperationAccepted,
    ) -> Result<(), Failure> {
        let id = accepted.operation;
        if self.wait {
            let view = follow::operation(api, id, Duration::from_secs(self.timeout)).await?;
            return if context.output.json { context.output.json(&view) } else { context.output.line(id.to_string()) };
        }
        if context.output.json {
            return context.output.json(accepted);
        }
        context.output.line(id.to_string())?;
        eprintln!("next: bigdata operation wait {id}");
        Ok(())
    }
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn run(command: OperationCommand, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        OperationCommand::List(asked) => list(&api, context, asked).await,
        OperationCommand::Show { id } => {
            let operation = api.get(&format!("/operations/{}", escaped(&id))).await?;
            show(context, &operation)
        }
        OperationCommand::Wait { id, timeout } => {
            let known: OperationView = api.get(&format!("/operations/{}", escaped(&id))).await?;
            let view = follow::operation(&api, known.id, Duration::from_secs(timeout)).await?;
            if context.output.json { context.output.json(&view) } else { show(context, &view) }
        }
        OperationCommand::Logs { id, follow: true, .. } => follow_logs(&api, context, &id).await,
        OperationCommand::Logs { id, tail, .. } => logs(&api, context, &id, tail).await,
        OperationCommand::Retry { id, waiting } => {
            let path = format!("/operations/{}/retry", escaped(&id));
            let accepted: OperationAccepted = api.post(&path, &serde_json::json!({})).await?;
            waiting.conclude(&api, context, &accepted).await
        }
        OperationCommand::Cancel { id } => {
            let path = format!("/operations/{}", escaped(&id));
            api.send(api.request(Method::DELETE, &path)).await?;
            show(context, &api.get(&path).await?)
        }
    }
}

async fn list(api: &Api, context: &Context, asked: List) -> Result<(), Failure> {
    let path = match &asked.cluster {
        Some(cluster) => format!("/{}/operations", target::resolve(api, cluster).await?),
        None => "/operations".to_owned(),
    };
    let page = async |size: u32, after: Option<String>| {
        let after = after.map(|after| format!("&after={}", escaped(&after))).unwrap_or_default();
        api.get(&format!("{path}?limit={size}{after}")).await
    };
    let list = newest(asked.limit, page).await?;
    if list.next.is_some() {
        eprintln!("there may be older ones: ask for more with --limit");
    }
    if context.output.json {
        return context.output.json(&list);
    }
    let now = Clock::system().now();
    let rows = list.operations.into_iter().map(|operation| {
        [
            operation.id.to_string(),
            what(&operation),
            operation.status.to_string(),
            operation.cluster.to_string(),
            age(operation.created_at, now),
            operation.error.unwrap_or_default(),
        ]
    });
    let header = ["operation", "kind", "status", "cluster", "age", "error"];
    context.output.table(header, rows.collect(), "no operations")
}

/// So many of the newest, page by page; `next` where there may be more. A page is asked for by its size, and by the `next` of
/// the one before.
async fn newest(
    limit: u32,
    page: impl AsyncFn(u32, Option<String>) -> Result<OperationList, Failure>,
) -> Result<OperationList, Failure> {
    let mut list = OperationList { operations: Vec::new(), next: None };
    let mut wanted = limit;
    loop {
        let size = wanted.min(PAGE);
        let OperationList { operations, next } = page(size, list.next.take()).await?;
        list.operations.extend(operations);
        list.next = next;
        wanted -= size;
        if wanted == 0 || list.next.is_none() {
            return Ok(list);
        }
    }
}

/// `action switchover`, `replace node1`, `scale`.
fn what(operation: &OperationView) -> String {
    let of = operation.action.clone().or_else(|| operation.node.as_ref().map(ToString::to_string));
    of.map_or_else(|| operation.kind.to_string(), |of| format!("{} {of}", operation.kind))
}

fn show(context: &Context, operation: &OperationView) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(operation);
    }
    let instant = |at: Option<bigdata_common::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    context.output.fields(&[
        ("operation", operation.id.to_string()),
        ("kind", what(operation)),
        ("cause", operation.cause.clone().unwrap_or_default()),
        ("retry of", operation.retry_of.map(|id| id.to_string()).unwrap_or_default()),
        ("cluster", operation.cluster.to_string()),
        ("status", operation.status.to_string()),
        ("error", operation.error.clone().unwrap_or_default()),
        ("begun", operation.created_at.to_string()),
        ("ended", instant(operation.ended_at)),
        ("deadline", instant(operation.deadline)),
    ])?;
    context.output.line("")?;
    let rows = operation.steps.iter().map(|step| {
        let percent = step.percent.map(|percent| format!("{percent} %")).unwrap_or_default();
        [step.name.clone(), step.status.to_string(), percent, step.message.clone().unwrap_or_default()]
    });
    context.output.table(["step", "status", "done", "message"], rows.collect(), "it has no steps")
}

async fn logs(api: &Api, context: &Context, id: &str, tail: Option<u32>) -> Result<(), Failure> {
    let tail = tail.map(|lines| format!("&tail={lines}")).unwrap_or_default();
    let mut whole = LogPage { lines: Vec::new(), next: Some(0), running: None };
    while let Some(after) = whole.next {
        let page: LogPage =
            api.get(&format!("/operations/{}/logs?after={after}&limit=1000{tail}", escaped(id))).await?;
        if !context.output.json {
            page.lines.iter().try_for_each(|line| context.output.line(log_line(line)))?;
        } else {
            whole.lines.extend(page.lines);
        }
        (whole.next, whole.running) = (page.next, page.running);
    }
    if context.output.json { context.output.json(&whole) } else { Ok(()) }
}

/// Prints lines as they come, until the operation has ended and its last run with it.
async fn follow_logs(api: &Api, context: &Context, id: &str) -> Result<(), Failure> {
    let path = format!("/operations/{}", escaped(id));
    let more = |after: u64| format!("{path}/logs?after={after}&limit=1000");
    let mut after = 0;
    let mut away_since: Option<Instant> = None;
    loop {
        // The operation is looked at first: what is read after its end is all there will be.
        let look = async { Ok((api.get::<OperationView>(&path).await?, api.get::<LogPage>(&more(after)).await?)) };
        let (view, page) = match look.await {
            Ok(looked) => {
                away_since = None;
                looked
            }
            // It may be starting again.
            Err(failure) if Failure::is_passing(&failure) && away_since.is_none_or(|since| since.elapsed() < AWAY) => {
                if away_since.is_none() {
                    eprintln!("{failure}; it is asked again");
                }
                away_since.get_or_insert_with(Instant::now);
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        for line in &page.lines {
            after = line.sequence;
            let text =
                if context.output.json { serde_json::to_string(line).unwrap_or_default() } else { log_line(line) };
            context.output.line(text)?;
        }
        if page.next.is_some() {
            continue;
        }
        if view.status.is_final() && page.running != Some(true) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::status::{OperationKind, OperationStatus};
    use bigdata_common::{OperationId, Timestamp};
    use uuid::Uuid;

    fn operation(number: u32) -> OperationView {
        OperationView {
            id: OperationId(Uuid::from_u128(number.into())),
            kind: OperationKind::Scale,
            action: None,
            node: None,
            cause: None,
            retry_of: None,
            cluster: "clusters/local/reference/1.0.0/1".parse().unwrap(),
            status: OperationStatus::Succeeded,
            steps: Vec::new(),
            error: None,
            created_at: Timestamp::from_millis(0),
            ended_at: None,
            deadline: None,
            url: String::new(),
        }
    }

    #[tokio::test]
    async fn as_many_are_fetched_as_are_asked_for() {
        let known: Vec<OperationView> = (1..=450).map(operation).collect();
        let page = async |size: u32, after: Option<String>| {
            assert!(size <= PAGE);
            let from = after.map_or(0, |after| known.iter().position(|it| it.id.to_string() == after).unwrap() + 1);
            let operations: Vec<_> = known[from..].iter().take(size as usize).cloned().collect();
            let is_full = operations.len() == size as usize;
            let next = operations.last().filter(|_| is_full).map(|it| it.id.to_string());
            Ok(OperationList { operations, next })
        };
        for (limit, count, has_more) in [
            (1, 1, true),
            (200, 200, true),
            (201, 201, true),
            (449, 449, true),
            (451, 450, false),
            (u32::MAX, 450, false),
        ] {
            let list = newest(limit, page).await.unwrap();
            assert_eq!((list.operations.as_slice(), list.next.is_some()), (&known[..count], has_more), "{limit}");
        }
    }
}
