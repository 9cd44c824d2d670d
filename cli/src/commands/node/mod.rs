//! `bigdata node`: work on one node, by the public API or from within a product's script.

mod exec;
mod files;
mod list;

pub(crate) use list::list;

use crate::client::{Api, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::target;
use bigdata_common::frames::MEDIA_TYPE;
use bigdata_common::internal::EXEC_LIMIT_MAX;
use clap::{Args, Subcommand, value_parser};
use exec::{exec, exec_request};
use files::{copy_to_output, put, save};
use list::list_in_script;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use std::path::PathBuf;

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// CLUSTER and NODE; inside a product's script NODE alone
    #[arg(num_args = 1..=2, required = true, value_name = "NODE")]
    node: Vec<String>,
}

/// Which node, and a path on it.
#[derive(Debug, Args)]
pub(crate) struct WhichPath {
    /// CLUSTER, NODE and PATH; inside a product's script NODE and PATH. A relative path is below the node's folder
    #[arg(num_args = 2..=3, required = true, value_names = ["NODE", "PATH"])]
    node: Vec<String>,
}

/// Work on one node.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// The nodes of a cluster
    List {
        /// The cluster; inside a product's script it may be left out
        cluster: Option<String>,
    },
    /// Run a command in the node's surroundings; its output and exit code are passed through
    #[command(override_usage = "bigdata node exec [OPTIONS] [CLUSTER] <NODE> -- <COMMAND>...")]
    Exec {
        #[command(flatten)]
        which: Which,
        /// Send standard input along
        #[arg(short = 'i', long)]
        stdin: bool,
        /// The longest that it may run, in seconds, at most 86400 (a day), which is what it has with -i; otherwise 300
        #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(..=EXEC_LIMIT_MAX.as_secs()))]
        timeout: Option<u64>,
        /// The command
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// What its workload wrote
    #[command(override_usage = "bigdata node logs [OPTIONS] [CLUSTER] <NODE>")]
    Logs {
        #[command(flatten)]
        which: Which,
        /// Stay and print what comes
        #[arg(short, long)]
        follow: bool,
        /// The last lines only
        #[arg(long, value_name = "LINES")]
        tail: Option<u32>,
        /// Standard error instead of standard output
        #[arg(long)]
        stderr: bool,
    },
    /// Write a file into the node, from standard input or a file
    #[command(override_usage = "bigdata node put [OPTIONS] [CLUSTER] <NODE> <PATH>")]
    Put {
        #[command(flatten)]
        which: WhichPath,
        /// The file to send
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// Its permissions, octal
        #[arg(long, value_name = "MODE")]
        mode: Option<String>,
        /// Fill in late values such as @{address} as the template's files have them
        #[arg(long)]
        late: bool,
    },
    /// Read a file of the node, to standard output or a file
    #[command(override_usage = "bigdata node get [OPTIONS] [CLUSTER] <NODE> <PATH>")]
    Get {
        #[command(flatten)]
        which: WhichPath,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Start its workload
    #[command(override_usage = "bigdata node start [OPTIONS] [CLUSTER] <NODE>")]
    Start(Which),
    /// Stop its workload
    #[command(override_usage = "bigdata node stop [OPTIONS] [CLUSTER] <NODE>")]
    Stop(Which),
    /// Stop its workload and start it again
    #[command(override_usage = "bigdata node restart [OPTIONS] [CLUSTER] <NODE>")]
    Restart(Which),
    /// Start it anew, on its agent and its data where they are there
    Replace(super::change::Replace),
    /// How its workload is
    #[command(override_usage = "bigdata node health [OPTIONS] [CLUSTER] <NODE>")]
    Health(Which),
    /// What it uses
    #[command(override_usage = "bigdata node stats [OPTIONS] [CLUSTER] <NODE>")]
    Stats(Which),
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn run(command: NodeCommand, context: &Context) -> Result<(), Failure> {
    match command {
        NodeCommand::List { cluster: Some(cluster) } => list(&context.api()?, context, &cluster).await,
        NodeCommand::List { cluster: None } => list_in_script(context).await,
        NodeCommand::Exec { which, stdin, timeout, command } => {
            let node = Node::find(context, which.node).await?;
            exec(&node, context, stdin, exec_request(stdin, timeout, command)).await
        }
        NodeCommand::Logs { which, follow, tail, stderr } => {
            let node = Node::find(context, which.node).await?;
            let stream = if stderr { "stderr" } else { "stdout" };
            let tail = tail.map(|lines| format!("&tail={lines}")).unwrap_or_default();
            copy_to_output(&node, context, &format!("/logs?stream={stream}&follow={follow}{tail}")).await
        }
        NodeCommand::Put { which, from, mode, late } => {
            let (node, path) = Node::find_with_path(context, which.node).await?;
            put(&node, context, &path, from, mode, late).await
        }
        NodeCommand::Get { which, to } => {
            let (node, path) = Node::find_with_path(context, which.node).await?;
            let address = format!("/files?path={}", escaped(&path));
            match to {
                None => copy_to_output(&node, context, &address).await,
                Some(file) => save(&node, &address, &file).await,
            }
        }
        NodeCommand::Start(which) => change(context, which, "start").await,
        NodeCommand::Stop(which) => change(context, which, "stop").await,
        NodeCommand::Restart(which) => change(context, which, "restart").await,
        NodeCommand::Replace(command) => super::change::replace(command, context).await,
        NodeCommand::Health(which) => tell(context, which, "health").await,
        NodeCommand::Stats(which) => tell(context, which, "stats").await,
    }
}

/// A node by the API that reaches it, and its path there.
struct Node {
    api: Api,
    path: String,
}

impl Node {
    async fn find(context: &Context, names: Vec<String>) -> Result<Self, Failure> {
        match <[String; 1]>::try_from(names) {
            Ok([node]) => Ok(Self { api: context.script_api()?, path: format!("/nodes/{}", escaped(&node)) }),
            Err(names) => {
                let api = context.api()?;
                let cluster = target::resolve(&api, &names[0]).await?;
                Ok(Self { api, path: format!("/{cluster}/nodes/{}", escaped(&names[1])) })
            }
        }
    }

    async fn find_with_path(context: &Context, mut names: Vec<String>) -> Result<(Self, String), Failure> {
        let path = names.pop().unwrap_or_default();
        Ok((Self::find(context, names).await?, path))
    }

    fn request(&self, method: Method, rest: &str) -> reqwest::RequestBuilder {
        self.api.stream(method, &format!("{}{rest}", self.path))
    }
}

fn framed(request: RequestBuilder) -> RequestBuilder {
    request.header(CONTENT_TYPE, MEDIA_TYPE)
}

async fn change(context: &Context, which: Which, action: &str) -> Result<(), Failure> {
    let node = Node::find(context, which.node).await?;
    let response = node.api.send(node.request(Method::POST, &format!("/{action}"))).await?;
    let answer: Value = response.json().await.unwrap_or(Value::Null);
    if context.output.json {
        return context.output.json(&answer);
    }
    eprintln!("{action}: {}", answer.get("status").and_then(Value::as_str).unwrap_or("done"));
    Ok(())
}

async fn tell(context: &Context, which: Which, what: &str) -> Result<(), Failure> {
    let node = Node::find(context, which.node).await?;
    let answer: Value = node.api.read(node.request(Method::GET, &format!("/{what}"))).await?;
    if context.output.json {
        return context.output.json(&answer);
    }
    let Value::Object(fields) = answer else { return context.output.json(&answer) };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Value::Object(map) => map.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    };
    let fields: Vec<(&str, String)> = fields.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    context.output.fields(&fields)
}
