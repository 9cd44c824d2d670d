//! `bigdata node`: work on one node, by the public API or from within a product's script.

use crate::client::{Api, Lines, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::target;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bigdata_common::api::cluster::NodeList;
use bigdata_common::internal::{ExecFrame, ExecRequest};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use std::io::{Read, Write};
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
        /// The longest that it may run, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        timeout: u64,
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
            exec(&node, context, stdin, timeout, command).await
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

/// Prints a cluster's nodes.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn list(api: &Api, context: &Context, cluster: &str) -> Result<(), Failure> {
    let dn = target::resolve(api, cluster).await?;
    let list: NodeList = api.get(&format!("/{dn}/nodes")).await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let rows = list.nodes.into_iter().map(|node| {
        let ports = node.ports.iter().map(|(name, port)| format!("{name} {port}")).collect::<Vec<_>>().join(", ");
        [
            node.name.to_string(),
            node.status.to_string(),
            node.health.to_string(),
            node.address,
            ports,
            node.host,
            node.restarts.to_string(),
            node.reason.unwrap_or_default(),
        ]
    });
    let header = ["node", "status", "health", "address", "ports", "host", "restarts", "reason"];
    context.output.table(header, rows.collect(), "it has no nodes")
}

/// Inside a script: one line per node, `NAME ADDRESS PORT=NUMBER,...`, made for the shell's `read`.
async fn list_in_script(context: &Context) -> Result<(), Failure> {
    let cluster: Value = context.script_api()?.get("/cluster").await?;
    let nodes = cluster.get("nodes").cloned().unwrap_or(Value::Null);
    if context.output.json {
        return context.output.json(&nodes);
    }
    let Value::Object(nodes) = nodes else {
        return Err(Failure::Failed("the cluster's document has no nodes".to_owned()));
    };
    for (name, node) in &nodes {
        let address = node.get("address").and_then(Value::as_str).unwrap_or_default();
        let ports = node.get("ports").and_then(Value::as_object);
        let ports = ports.map(|ports| ports.iter().map(|(name, number)| format!("{name}={number}")));
        let ports = ports.map(|ports| ports.collect::<Vec<_>>().join(",")).unwrap_or_default();
        context.output.line(format!("{name} {address} {ports}").trim_end())?;
    }
    Ok(())
}

async fn exec(node: &Node, context: &Context, stdin: bool, timeout: u64, command: Vec<String>) -> Result<(), Failure> {
    let stdin = stdin.then(|| read_input(None)).transpose()?.map(|bytes| STANDARD.encode(bytes));
    let request = ExecRequest { command, stdin, timeout_ms: timeout.saturating_mul(1000) };
    let response = node.api.send(node.request(Method::POST, "/exec").json(&request)).await?;
    let mut lines = Lines::of(response);
    let unreadable = |cause: String| Failure::Failed(format!("the node's answer cannot be read: {cause}"));
    let decode = |text: &str| STANDARD.decode(text).map_err(|error| unreadable(error.to_string()));
    while let Some(line) = lines.next().await? {
        if line.is_empty() {
            continue;
        }
        if context.output.json {
            context.output.line(&line)?;
        }
        match serde_json::from_str(&line).map_err(|error| unreadable(error.to_string()))? {
            ExecFrame::Stdout(_) | ExecFrame::Stderr(_) if context.output.json => {}
            ExecFrame::Stdout(piece) => context.output.bytes(&decode(&piece)?)?,
            ExecFrame::Stderr(piece) => std::io::stderr().write_all(&decode(&piece)?)?,
            ExecFrame::Exit(0) => return Ok(()),
            ExecFrame::Exit(code) => return Err(Failure::Exit(code)),
            ExecFrame::Error(reason) => return Err(not_run(reason)),
        }
    }
    Err(Failure::Failed("the connection to the node ended before the command did".to_owned()))
}

/// A command that did not run or did not end by itself: the codes are those of shells (POSIX, 2.8.2).
fn not_run(reason: String) -> Failure {
    let code = match &reason {
        missing if missing.contains("command not found") => 127,
        refused if refused.contains("cannot execute") => 126,
        _ => return Failure::Failed(reason),
    };
    Failure::NotRun { code, reason }
}

async fn copy_to_output(node: &Node, context: &Context, rest: &str) -> Result<(), Failure> {
    let mut response = node.api.send(node.request(Method::GET, rest)).await?;
    while let Some(piece) = response.chunk().await.map_err(|error| Failure::of(&error))? {
        context.output.bytes(&piece)?;
    }
    Ok(())
}

async fn save(node: &Node, rest: &str, file: &std::path::Path) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::Usage(format!("{} cannot be written: {error}", file.display()));
    let mut response = node.api.send(node.request(Method::GET, rest)).await?;
    let mut out = std::fs::File::create(file).map_err(cannot)?;
    while let Some(piece) = response.chunk().await.map_err(|error| Failure::of(&error))? {
        out.write_all(&piece).map_err(cannot)?;
    }
    Ok(())
}

async fn put(
    node: &Node,
    context: &Context,
    path: &str,
    from: Option<PathBuf>,
    mode: Option<String>,
    late: bool,
) -> Result<(), Failure> {
    let content = read_input(from)?;
    let mode = mode.map(|mode| format!("&mode={}", escaped(&mode))).unwrap_or_default();
    let rest = format!("/files?path={}&late={late}{mode}", escaped(path));
    let answer = node.api.send(node.request(Method::PUT, &rest).body(content)).await?;
    if !context.output.json {
        return Ok(());
    }
    let answer: Value = answer.json().await.unwrap_or(Value::Null);
    context.output.json(&answer)
}

/// A file's content, or standard input's.
fn read_input(from: Option<PathBuf>) -> Result<Vec<u8>, Failure> {
    match from {
        Some(file) => {
            std::fs::read(&file).map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))
        }
        None => {
            let mut content = Vec::new();
            std::io::stdin().lock().read_to_end(&mut content)?;
            Ok(content)
        }
    }
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
