//! `bigdata scale`, `bigdata upgrade`, `bigdata node replace`: other nodes, other options, another version.

use super::operation::Waiting;
use super::product::options_map;
use crate::client::{Api, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::target;
use bigdata_common::api::change::{ChangePlan, OperationAccepted, UpgradeRequest};
use bigdata_common::{ClusterDn, Name};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

/// Gives a cluster other options that bring more nodes or fewer.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// The cluster
    #[arg(help = target::CLUSTER_HELP)]
    cluster: String,
    /// The options that change: key=value, key:=JSON, or key=@FILE
    #[arg(value_name = "KEY=VALUE", required = true)]
    options: Vec<String>,
    /// Which nodes go, separated by commas; otherwise the newest do
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    remove: Vec<String>,
    /// Tell what would come and go, and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Brings a cluster to another version, node by node.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The cluster
    #[arg(help = target::CLUSTER_HELP)]
    cluster: String,
    /// The version of its product; otherwise its own, as it is in the catalog now
    #[arg(long, value_name = "VERSION")]
    to: Option<Name>,
    /// Back to what the cluster was as this revision
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["to", "options"])]
    back_to: Option<u32>,
    /// Options that shall have other values: key=value, key:=JSON, or key=@FILE
    #[arg(value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Tell which nodes would be started anew, and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Starts a node anew.
#[derive(Debug, Args)]
pub(crate) struct Replace {
    /// The cluster
    #[arg(help = target::CLUSTER_HELP)]
    cluster: String,
    /// The node
    node: Name,
    /// Give its agent and its persistent disks up: any agent takes it, with empty ones
    #[arg(long)]
    elsewhere: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs `bigdata scale`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn scale(command: Scale, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    let dn = target::resolve(&api, &command.cluster).await?;
    let options = options_map(&command.options)?;
    let mut query: Vec<String> = Vec::new();
    if !command.remove.is_empty() {
        query.push(format!("remove={}", escaped(&command.remove.join(","))));
    }
    ask(&api, context, &dn, "scale", query, &options, command.dry_run, &command.waiting).await
}

/// Runs `bigdata upgrade`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn upgrade(command: Upgrade, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    let dn = target::resolve(&api, &command.cluster).await?;
    let options = options_map(&command.options)?;
    let request = UpgradeRequest { version: command.to, revision: command.back_to, options };
    ask(&api, context, &dn, "upgrade", Vec::new(), &request, command.dry_run, &command.waiting).await
}

/// Runs `bigdata node replace`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn replace(command: Replace, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    let dn = target::resolve(&api, &command.cluster).await?;
    let query = if command.elsewhere { "?elsewhere=true" } else { "" };
    let path = format!("/{dn}/nodes/{}/replace{query}", command.node);
    let accepted: OperationAccepted = api.post(&path, &serde_json::json!({})).await?;
    command.waiting.conclude(&api, context, &accepted).await
}

#[expect(clippy::too_many_arguments, reason = "the two commands differ in nothing else")]
async fn ask(
    api: &Api,
    context: &Context,
    dn: &ClusterDn,
    change: &str,
    mut query: Vec<String>,
    body: &impl Serialize,
    dry_run: bool,
    waiting: &Waiting,
) -> Result<(), Failure> {
    if dry_run {
        query.push("dry_run=true".to_owned());
    }
    let separator = if query.is_empty() { "" } else { "?" };
    let path = format!("/{dn}/{change}{separator}{}", query.join("&"));
    if dry_run {
        return show(context, &api.post(&path, body).await?);
    }
    let accepted: OperationAccepted = api.post(&path, body).await?;
    waiting.conclude(api, context, &accepted).await
}

fn show(context: &Context, plan: &ChangePlan) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(plan);
    }
    let all = |names: &[Name], change: &str| -> Vec<[String; 3]> {
        names.iter().map(|name| [name.to_string(), change.to_owned(), String::new()]).collect()
    };
    let mut rows = all(&plan.added, "comes");
    rows.extend(all(&plan.removed, "goes"));
    let renewed =
        |(name, differs): (&Name, &Vec<String>)| [name.to_string(), "starts anew".to_owned(), differs.join(" ")];
    rows.extend(plan.changed.iter().map(renewed));
    rows.extend(all(&plan.unchanged, "stays"));
    context.output.table(["node", "change", "what differs"], rows, "no node changes")?;
    if !plan.options.is_empty() {
        context.output.line("")?;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rows = plan.options.iter().map(|(name, [old, new])| [name.clone(), text(old), text(new)]);
        context.output.table(["option", "now", "then"], rows.collect(), "")?;
    }
    Ok(())
}
