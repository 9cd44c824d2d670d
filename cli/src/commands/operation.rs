//! `bigdata operation`: changes that take time.

use crate::client::{Api, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::age;
use bigdata_chassis::Clock;
use bigdata_common::api::operation::{OperationList, OperationView};
use clap::Subcommand;
use reqwest::Method;

/// Work on operations.
#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// The operations, the newest first
    List,
    /// One operation with its steps
    Show {
        /// The operation's id
        id: String,
    },
    /// End it before its time
    Cancel {
        /// The operation's id
        id: String,
    },
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn run(command: OperationCommand, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        OperationCommand::List => list(&api, context).await,
        OperationCommand::Show { id } => {
            let operation = api.get(&format!("/operations/{}", escaped(&id))).await?;
            show(context, &operation)
        }
        OperationCommand::Cancel { id } => {
            let path = format!("/operations/{}", escaped(&id));
            api.send(api.request(Method::DELETE, &path)).await?;
            show(context, &api.get(&path).await?)
        }
    }
}

async fn list(api: &Api, context: &Context) -> Result<(), Failure> {
    let list: OperationList = api.get("/operations").await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let now = Clock::system().now();
    let rows = list.operations.into_iter().map(|operation| {
        [
            operation.id.to_string(),
            operation.kind.to_string(),
            operation.status.to_string(),
            operation.cluster.to_string(),
            age(operation.created_at, now),
            operation.error.unwrap_or_default(),
        ]
    });
    let header = ["operation", "kind", "status", "cluster", "age", "error"];
    context.output.table(header, rows.collect(), "no operations")
}

fn show(context: &Context, operation: &OperationView) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(operation);
    }
    let instant = |at: Option<bigdata_common::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    context.output.fields(&[
        ("operation", operation.id.to_string()),
        ("kind", operation.kind.to_string()),
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
