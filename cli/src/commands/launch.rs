//! `bigdata launch`.

use crate::client::{Api, escaped};
use crate::commands::cluster;
use crate::commands::product::options_map;
use crate::context::Context;
use crate::failure::Failure;
use crate::follow;
use bigdata_common::api::cluster::{DryRun, Launched};
use bigdata_common::status::ClusterStatus;
use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value};
use std::time::Duration;

/// Launches a cluster of a product.
#[derive(Debug, Args)]
pub(crate) struct Launch {
    /// The product's name
    name: String,
    /// Its version
    version: String,
    /// Options: key=value, key:=JSON, or key=@FILE for a value that shall not stand on the command line
    #[arg(value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Follow the cluster until it is ready or has failed
    #[arg(long)]
    wait: bool,
    /// The longest to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Tell what would be launched and whether it fits, and launch nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// The same launch, however often it is sent with this key
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn run(command: Launch, context: &Context) -> Result<(), Failure> {
    let api = context.api()?.patient();
    let options = options_map(&command.options)?;
    let path = format!("/products/{}/{}", escaped(&command.name), escaped(&command.version));
    if command.dry_run {
        let answer: DryRun = api.post(&format!("{path}?dry_run=true"), &options).await?;
        return show_dry_run(&answer, &command, context);
    }
    // A key of our own makes it safe to send the request again where the answer got lost.
    let key = command.idempotency_key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let launched = launch(&api, &path, &options, &key).await?;
    for warning in &launched.warnings {
        eprintln!("warning: {warning}");
    }
    if !command.wait {
        if context.output.json {
            return context.output.json(&launched);
        }
        context.output.line(launched.dn.to_string())?;
        eprintln!("next: bigdata cluster wait {}", launched.dn);
        return Ok(());
    }
    eprintln!("{}", launched.dn);
    let limit = Duration::from_secs(command.timeout);
    let view = follow::until(&api, &launched.dn, ClusterStatus::Ready, 0, limit).await?;
    if context.output.json {
        return context.output.json(&view);
    }
    context.output.line(view.dn.to_string())?;
    cluster::endpoints(&api, context, &view.dn).await
}

/// Sends the launch; once more where no answer came.
///
/// # Errors
/// See [`Api::post`].
pub(crate) async fn launch(
    api: &Api,
    path: &str,
    options: &Map<String, Value>,
    key: &str,
) -> Result<Launched, Failure> {
    let request = || api.request(Method::POST, path).header("idempotency-key", key).json(options);
    match api.read(request()).await {
        Err(Failure::Unreachable { .. }) => api.read(request()).await,
        other => other,
    }
}

fn show_dry_run(answer: &DryRun, command: &Launch, context: &Context) -> Result<(), Failure> {
    if context.output.json {
        context.output.json(answer)?;
    } else {
        let rows = answer.blueprint.nodes.iter().map(|(name, node)| {
            let join = |words: Vec<String>| words.join(", ");
            let disks = node.disks.iter().map(|(name, disk)| format!("{name} {} MiB", disk.size)).collect();
            let ports = node.ports.iter().map(|(name, port)| format!("{name} {}", port.port)).collect();
            [name.to_string(), node.cpu.to_string(), format!("{} MiB", node.mem), join(disks), join(ports)]
        });
        context.output.table(["node", "cpu", "mem", "disks", "ports"], rows.collect(), "it has no nodes")?;
        context.output.line("")?;
        let services = answer.blueprint.services.iter().map(|(name, service)| {
            [name.to_string(), service.nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")]
        });
        context.output.table(["service", "nodes"], services.collect(), "it has no services")?;
        let options = Value::Object(answer.options.clone());
        context.output.line(format!("\noptions {options}"))?;
        for warning in &answer.warnings {
            eprintln!("warning: {warning}");
        }
    }
    match &answer.fits {
        Some(fit) if !fit.fits => {
            let reasons: String = together(&fit.reasons).iter().map(|reason| format!("\n  {reason}")).collect();
            Err(Failure::Failed(format!("it does not fit now{reasons}\n  next: bigdata agents")))
        }
        fit => {
            let known = if fit.is_some() { "it fits now\n" } else { "whether it fits is not known now\n" };
            let options: String = command.options.iter().map(|option| format!(" {option}")).collect();
            eprintln!("{known}next: bigdata launch {} {}{options} --wait", command.name, command.version);
            Ok(())
        }
    }
}

/// Reasons of the form `node NAME needs ...` that several nodes have in common, told once for all of them.
fn together(reasons: &[String]) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut out = Vec::new();
    for reason in reasons {
        match reason.strip_prefix("node ").and_then(|rest| rest.split_once(" needs ")) {
            None => out.push(reason.clone()),
            Some((name, needs)) => match groups.iter_mut().find(|(known, _)| *known == needs) {
                Some((_, names)) => names.push(name),
                None => groups.push((needs, vec![name])),
            },
        }
    }
    out.extend(groups.into_iter().map(|(needs, names)| match names.as_slice() {
        [only] => format!("node {only} needs {needs}"),
        several => format!("each of {} needs {needs}", several_names(several)),
    }));
    out
}

/// `3 nodes (node0, node1, node2)`, the names shortened where they are many.
pub(crate) fn several_names(names: &[&str]) -> String {
    let shown = match names {
        [first, second, .., last] if names.len() > 4 => format!("{first}, {second}, ..., {last}"),
        few => few.join(", "),
    };
    format!("{} nodes ({shown})", names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_nodes_share_is_told_once() {
        let reason = |node: &str, lacks: u32| format!("node {node} needs 9 CPUs: agent a lacks {lacks} CPUs (cpu)");
        let reasons = [reason("a", 7), "no agent is known".to_owned(), reason("b", 7), reason("c", 8)];
        assert_eq!(
            together(&reasons),
            [
                "no agent is known".to_owned(),
                "each of 2 nodes (a, b) needs 9 CPUs: agent a lacks 7 CPUs (cpu)".to_owned(),
                reason("c", 8),
            ]
        );
        assert_eq!(several_names(&["a", "b", "c", "d", "e"]), "5 nodes (a, b, ..., e)");
    }
}
