//! `bigdata backup`; inside a product's script: a cluster's bytes into the platform's store, and out of it.

use super::{backups, input};
use crate::client::escaped;
use crate::context::Context;
use crate::failure::Failure;
use crate::target;
use bytes::Bytes;
use clap::Subcommand;
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method};
use serde::Deserialize;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

/// Backups of clusters.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Every backup, the newest first
    List {
        /// Those of this cluster only
        #[arg(help = target::CLUSTER_HELP)]
        cluster: Option<String>,
    },
    /// One backup
    Show {
        /// The backup
        id: String,
    },
    /// Delete a backup for good
    Delete {
        /// The backup
        id: String,
    },
    /// Inside a product's script: store standard input, or what a command writes, and print the backup's id
    #[command(override_usage = "bigdata backup put [--label TEXT] [-- <COMMAND>...]")]
    Put {
        /// What it is, in words
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
        /// Store what this command writes: nothing is stored where it fails
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Inside a product's script: write a backup to standard output
    Get {
        /// The backup
        id: String,
    },
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn run(command: BackupCommand, context: &Context) -> Result<(), Failure> {
    match command {
        BackupCommand::List { cluster } => backups::list(cluster.as_deref(), context).await,
        BackupCommand::Show { id } => backups::show(&id, context).await,
        BackupCommand::Delete { id } => backups::delete(&id, context).await,
        BackupCommand::Put { label, command } => put(&label, &command, context).await,
        BackupCommand::Get { id } => get(&id, context).await,
    }
}

/// What the store says.
#[derive(Debug, Deserialize)]
struct Stored {
    id: String,
}

async fn put(label: &str, command: &[String], context: &Context) -> Result<(), Failure> {
    let api = context.script_api()?;
    let failure = Arc::new(OnceLock::new());
    let body = match command {
        [] => Body::wrap_stream(input::all(input::read(io::stdin()))),
        [program, arguments @ ..] => written_by(program, arguments, &failure)?,
    };
    let request = api.stream(Method::POST, &format!("/backups?label={}", escaped(label))).body(body);
    let answer: serde_json::Value = match (api.read(request).await, failure.get()) {
        // The stream was broken off here, whatever the other side says of it.
        (Err(_), Some(reason)) => return Err(Failure::Failed(String::clone(reason))),
        (answer, _) => answer?,
    };
    if context.output.json {
        return context.output.json(&answer);
    }
    let unreadable = |error: serde_json::Error| Failure::Failed(format!("the store's answer cannot be read: {error}"));
    let Stored { id } = serde_json::from_value(answer).map_err(unreadable)?;
    context.output.line(id)
}

/// What a command writes. The stream breaks off where the command fails, so that no half of it is taken for the whole.
fn written_by(program: &str, arguments: &[String], failure: &Arc<OnceLock<String>>) -> Result<Body, Failure> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let not_run = |error: io::Error| Failure::Usage(format!("{program} cannot be run: {error}"));
    let mut child = command.spawn().map_err(not_run)?;
    let output = child.stdout.take().ok_or_else(|| Failure::Failed(format!("{program} has no output")))?;
    let end = stream::once(ended(child, Arc::clone(failure))).filter_map(|result| async { result.err().map(Err) });
    Ok(Body::wrap_stream(input::all(input::read(output)).chain(Box::pin(end))))
}

async fn ended(mut child: Child, failure: Arc<OnceLock<String>>) -> io::Result<Bytes> {
    let waited = tokio::task::spawn_blocking(move || child.wait()).await.map_err(io::Error::other)??;
    match waited.success() {
        true => Ok(Bytes::new()),
        false => {
            let reason = format!("the command failed ({waited}), so that no backup is stored");
            Err(io::Error::other(failure.get_or_init(|| reason).clone()))
        }
    }
}

async fn get(id: &str, context: &Context) -> Result<(), Failure> {
    let api = context.script_api()?;
    let mut answer = api.send(api.stream(Method::GET, &format!("/backups/{}", escaped(id)))).await?;
    while let Some(piece) = answer.chunk().await.map_err(|error| Failure::of(&error))? {
        context.output.bytes(&piece)?;
    }
    Ok(())
}
