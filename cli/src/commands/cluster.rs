//! `bigdata cluster`.

use crate::client::{Api, follow as follow_stream};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{age, seconds};
use crate::{follow, target};
use bigdata_chassis::Clock;
use bigdata_common::ClusterDn;
use bigdata_common::api::cluster::{
    ClusterEntry, ClusterView, EndpointList, EventList, EventView, LogLine, LogPage, SecretList, ServiceList,
};
use bigdata_common::api::operation::OperationView;
use bigdata_common::status::{ClusterStatus, Termination};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
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
    /// The values of its secret options; its history says that they were shown, and to whom
    Secrets(Which),
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
        ClusterCommand::Secrets(which) => {
            let dn = target::resolve(&api, &which.cluster).await?;
            secrets(&api, context, &dn).await
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

async fn list(api: &Api, context: &Context, all: bool, status: Option<ClusterStatus>) -> Result<(), Failure> {
    let query = match status {
        Some(status) => format!("status={status}"),
        None if all => String::new(),
        None => target::present(),
    };
    let list = target::list(api, &query).await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let now = Clock::system().now();
    let row = |entry: ClusterEntry| {
        let view = entry.data;
        [
            view.dn.to_string(),
            view.status.to_string(),
            view.health.to_string(),
            format!("{}/{}", view.nodes_running, view.nodes),
            age(view.created_at, now),
            reason(&view),
        ]
    };
    context.output.table(
        ["cluster", "status", "health", "nodes", "age", "reason"],
        list.clusters.into_iter().map(row).collect(),
        "no clusters\nnext: bigdata launch PRODUCT VERSION --wait",
    )
}

/// Why a cluster has failed, or is ready and not healthy: one line for a table.
fn reason(view: &ClusterView) -> String {
    view.reason.clone().unwrap_or_else(|| view.health_reasons.join("; "))
}

fn show(context: &Context, entry: &ClusterEntry) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(entry);
    }
    let view = &entry.data;
    let now = Clock::system().now();
    context.output.fields(&[
        ("cluster", view.dn.to_string()),
        ("id", view.id.to_string()),
        ("status", view.status.to_string()),
        ("during", view.failed_during.map(|phase| phase.to_string()).unwrap_or_default()),
        ("reason", view.reason.clone().unwrap_or_default()),
        ("health", health(view, now)),
        ("nodes", format!("{} of {} run", view.nodes_running, view.nodes)),
        ("product", format!("{} revision {}", view.product, view.product_revision)),
        ("options", Value::Object(view.options.clone()).to_string()),
        ("termination", view.termination.as_str().to_owned()),
        ("age", age(view.created_at, now)),
        ("operation", view.operation.map(|operation| operation.to_string()).unwrap_or_default()),
        ("left over", view.leftovers.join("\n")),
    ])?;
    context.output.line("")?;
    let phases =
        view.phases.iter().map(|phase| [phase.status.to_string(), phase.at.to_string(), seconds(phase.took_ms)]);
    context.output.table(["phase", "reached", "after"], phases.collect(), "it has been in no phase yet")
}

fn health(view: &ClusterView, now: bigdata_common::Timestamp) -> String {
    let observed = view.health_observed_at.map(|at| format!(" (observed {} ago)", age(at, now))).unwrap_or_default();
    let reasons: String = view.health_reasons.iter().map(|reason| format!("\n{reason}")).collect();
    format!("{}{observed}{reasons}", view.health)
}

async fn services(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let list: ServiceList = api.get(&format!("/{dn}/services")).await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let rows = list.services.into_iter().map(|service| {
        let nodes = service.nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let properties = Value::Object(service.properties).to_string();
        [service.name.to_string(), service.status, nodes, if properties == "{}" { String::new() } else { properties }]
    });
    context.output.table(["service", "status", "nodes", "properties"], rows.collect(), "it has no services")
}

/// Prints where the cluster is reached.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn endpoints(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let list: EndpointList = api.get(&format!("/{dn}/endpoints")).await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let endpoints = list.endpoints.into_iter().map(|endpoint| [endpoint.name, endpoint.role, endpoint.url]);
    context.output.table(["endpoint", "role", "address"], endpoints.collect(), "no endpoints were published")?;
    if !list.outputs.is_empty() {
        context.output.line("")?;
        let outputs = list.outputs.into_iter().map(|output| [output.name, output.value]);
        context.output.table(["output", "value"], outputs.collect(), "")?;
    }
    Ok(())
}

async fn secrets(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let list: SecretList = api.get(&format!("/{dn}/secrets")).await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let rows = list.secrets.0.into_iter().map(|(name, value)| [name, value]);
    context.output.table(["secret", "value"], rows.collect(), "it has no secret options")
}

async fn events(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let mut events = Vec::new();
    let mut after = 0;
    loop {
        let page: EventList = api.get(&format!("/{dn}/events?after={after}&limit=500")).await?;
        events.extend(page.events);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    if context.output.json {
        return context.output.json(&EventList { events, next: None });
    }
    events.iter().try_for_each(|event| context.output.line(event_line(event)))
}

fn event_line(event: &EventView) -> String {
    let node = event.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
    format!("{}  {:<12}  {:<9}  {node}{}", event.at, event.status, event.kind, event.message)
}

async fn follow_events(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let mut stream = follow_stream(api, format!("/{dn}/events"), Some(0));
    while let Some(event) = stream.recv().await {
        let event = event?;
        match serde_json::from_str::<EventView>(&event.data) {
            Ok(_) if context.output.json => context.output.line(&event.data)?,
            Ok(event) => context.output.line(event_line(&event))?,
            Err(_) => {}
        }
    }
    Ok(())
}

async fn logs(api: &Api, context: &Context, dn: &ClusterDn, tail: Option<u32>) -> Result<(), Failure> {
    let tail = tail.map(|lines| format!("&tail={lines}")).unwrap_or_default();
    let mut lines = Vec::new();
    let mut after = 0;
    loop {
        let page: LogPage = api.get(&format!("/{dn}/logs?after={after}&limit=1000{tail}")).await?;
        if !context.output.json {
            page.lines.iter().try_for_each(|line| context.output.line(log_line(line)))?;
        } else {
            lines.extend(page.lines);
        }
        match page.next {
            Some(next) if tail.is_empty() => after = next,
            _ => break,
        }
    }
    if context.output.json { context.output.json(&LogPage { lines, next: None }) } else { Ok(()) }
}

/// The platform's own remarks between the script's lines are told apart.
fn log_line(line: &LogLine) -> String {
    if line.stream == "platform" { format!("[{}] {}", line.action, line.line) } else { line.line.clone() }
}

async fn follow_logs(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let mut stream = follow_stream(api, format!("/{dn}/logs"), Some(0));
    while let Some(event) = stream.recv().await {
        let event = event?;
        match serde_json::from_str::<LogLine>(&event.data) {
            Ok(_) if context.output.json => context.output.line(&event.data)?,
            Ok(line) => context.output.line(log_line(&line))?,
            Err(_) => {}
        }
    }
    Ok(())
}
