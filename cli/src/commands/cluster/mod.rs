//! `bigdata cluster`.

mod history;
mod show;

pub(super) use history::log_line;
pub(crate) use show::endpoints;

use crate::client::Api;
use crate::context::Context;
use crate::failure::Failure;
use crate::{follow, target};
use bigdata_common::ClusterDn;
use bigdata_common::api::cluster::ClusterEntry;
use bigdata_common::api::operation::OperationView;
use bigdata_common::status::{ClusterStatus, Termination};
use clap::{Args, Subcommand};
use history::{events, follow_events, follow_logs, logs};
use reqwest::Method;
use serde_json::Value;
use show::{list, secrets, services, show};
use std::time::Duration;

/// Which cluster.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The cluster
    #[arg(help = target::CLUSTER_HELP)]
    pub(crate) cluster: String,
}

/// Work on clusters.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// The clusters that are not destroyed
    List {
        /// Destroyed ones, too
        #[arg(long)]
        all: bool,
        /// Those with this status only
        #[arg(long, conflicts_with = "all")]
        status: Option<ClusterStatus>,
    },
    /// One cluster: where it stands, since when, why
    Show(Which),
    /// Follow a cluster until it is ready (or has the status of --for)
    Wait {
        #[command(flatten)]
        which: Which,
        /// The status to wait for
        #[arg(long = "for", value_name = "STATUS", default_value = "ready")]
        goal: ClusterStatus,
        /// The longest to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        timeout: u64,
    },
    /// Its nodes
    Nodes(Which),
    /// Its services
    Services(Which),
    /// Where it is reached, and what else its script published
    Endpoints(Which),
    /// The values of its secrets; its history says that they were shown, and to whom
    Secrets {
        #[command(flatten)]
        which: Which,
        /// This one alone, as it stands
        name: Option<String>,
    },
    /// What happened to it
    Events {
        #[command(flatten)]
        which: Which,
        /// Stay and print what comes
        #[arg(short, long)]
        follow: bool,
    },
    /// What its product's script wrote
    Logs {
        #[command(flatten)]
        which: Which,
        /// Stay and print what comes
        #[arg(short, long)]
        follow: bool,
        /// The last lines only
        #[arg(long, value_name = "LINES", conflicts_with = "follow")]
        tail: Option<u32>,
    },
    /// Take a failed cluster up again at the phase that failed
    Retry {
        #[command(flatten)]
        which: Which,
        /// Follow it until it is ready or has failed again
        #[arg(long)]
        wait: bool,
        /// The longest to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        timeout: u64,
    },
    /// Change what happens to its data when it is destroyed: wipe, keep-data, or do-not-terminate to protect it
    Termination {
        #[command(flatten)]
        which: Which,
        /// The policy
        policy: Termination,
    },
    /// Take it down
    Destroy {
        #[command(flatten)]
        which: Which,
        /// Forget what cannot be reached, and list it
        #[arg(long)]
        force: bool,
        /// Follow it until nothing of it is left
        #[arg(long)]
        wait: bool,
        /// The longest to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        timeout: u64,
    },
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn run(command: ClusterCommand, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        ClusterCommand::List { all, status } => list(&api, context, all, status).await,
        ClusterCommand::Show(which) => {
            let dn = target::resolve(&api, &which.cluster).await?;
            let entry: ClusterEntry = api.get(&format!("/{dn}")).await?;
            show(context, &entry)
        }
        ClusterCommand::Wait { which, goal, timeout } => {
            let dn = target::resolve(&api, &which.cluster).await?;
            wait(&api, context, &dn, goal, 0, timeout).await
        }
        ClusterCommand::Nodes(which) => super::node::list(&api, context, &which.cluster).await,
        ClusterCommand::Services(which) => {
            let dn = target::resolve(&api, &which.cluster).await?;
            services(&api, context, &dn).await
        }
        ClusterCommand::Endpoints(which) => {
            let dn = target::resolve(&api, &which.cluster).await?;
            endpoints(&api, context, &dn).await
        }
        ClusterCommand::Secrets { which, name } => {
            let dn = target::resolve(&api, &which.cluster).await?;
            secrets(&api, context, &dn, name.as_deref()).await
        }
        ClusterCommand::Events { which, follow } => {
            let dn = target::resolve(&api, &which.cluster).await?;
            if follow { follow_events(&api, context, &dn).await } else { events(&api, context, &dn).await }
        }
        ClusterCommand::Logs { which, follow, tail } => {
            let dn = target::resolve(&api, &which.cluster).await?;
            if follow { follow_logs(&api, context, &dn).await } else { logs(&api, context, &dn, tail).await }
        }
        ClusterCommand::Retry { which, wait: waits, timeout } => {
            let dn = target::resolve(&api, &which.cluster).await?;
            let since = follow::position(&api, &dn).await?;
            let operation: OperationView = api.read(api.request(Method::POST, &format!("/{dn}/retry"))).await?;
            if waits {
                return wait(&api, context, &dn, ClusterStatus::Ready, since, timeout).await;
            }
            if context.output.json {
                return context.output.json(&operation);
            }
            context.output.line(operation.id.to_string())?;
            eprintln!("next: bigdata cluster wait {dn}");
            Ok(())
        }
        ClusterCommand::Termination { which, policy } => {
            let dn = target::resolve(&api, &which.cluster).await?;
            let body = serde_json::json!({ "termination": policy });
            api.send(api.request(Method::PUT, &format!("/{dn}/termination")).json(&body)).await?;
            eprintln!("{dn}: the termination policy is {policy} now");
            Ok(())
        }
        ClusterCommand::Destroy { which, force, wait: waits, timeout } => {
            let dn = target::resolve(&api, &which.cluster).await?;
            let since = follow::position(&api, &dn).await?;
            let query = if force { "?force=true" } else { "" };
            let answer: Value = api.read(api.request(Method::DELETE, &format!("/{dn}{query}"))).await?;
            if waits {
                return wait(&api, context, &dn, ClusterStatus::Destroyed, since, timeout).await;
            }
            if context.output.json {
                return context.output.json(&answer);
            }
            eprintln!("{dn} is being destroyed\nnext: bigdata cluster wait {dn} --for destroyed");
            Ok(())
        }
    }
}

async fn wait(
    api: &Api,
    context: &Context,
    dn: &ClusterDn,
    goal: ClusterStatus,
    since: u64,
    timeout: u64,
) -> Result<(), Failure> {
    let view = follow::until(api, dn, goal, since, Duration::from_secs(timeout)).await?;
    if context.output.json {
        return context.output.json(&view);
    }
    for leftover in &view.leftovers {
        eprintln!("left over: {leftover}");
    }
    context.output.line(format!("{dn} {}", view.status))
}
