//! What a cluster is now, and what it offers.

use crate::client::Api;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{age, seconds};
use crate::target;
use bigdata_chassis::Clock;
use bigdata_common::ClusterDn;
use bigdata_common::api::cluster::{ClusterEntry, ClusterView, EndpointList, SecretList, ServiceList};
use bigdata_common::status::ClusterStatus;
use serde_json::Value;

pub(super) async fn list(
    api: &Api,
    context: &Context,
    all: bool,
    status: Option<ClusterStatus>,
) -> Result<(), Failure> {
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

pub(super) fn show(context: &Context, entry: &ClusterEntry) -> Result<(), Failure> {
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

pub(super) async fn services(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
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
    let rows =
        list.endpoints.iter().map(|endpoint| [endpoint.name.clone(), endpoint.role.clone(), endpoint.url.clone()]);
    context.output.table(["endpoint", "role", "address"], rows.collect(), "no endpoints were published")?;
    let lines: Vec<&String> = list.endpoints.iter().filter_map(|endpoint| endpoint.line.as_ref()).collect();
    if !lines.is_empty() {
        context.output.line("")?;
        lines.iter().try_for_each(|line| context.output.line(line))?;
        eprintln!("next: bigdata connect {dn}");
    }
    if !list.outputs.is_empty() {
        context.output.line("")?;
        let outputs = list.outputs.into_iter().map(|output| [output.name, output.value]);
        context.output.table(["output", "value"], outputs.collect(), "")?;
    }
    Ok(())
}

pub(super) async fn secrets(api: &Api, context: &Context, dn: &ClusterDn, name: Option<&str>) -> Result<(), Failure> {
    let list: SecretList = api.get(&format!("/{dn}/secrets")).await?;
    if let Some(name) = name {
        let value =
            list.secrets.0.get(name).ok_or_else(|| Failure::NotFound(format!("{dn} has no secret {name:?}")))?;
        return context.output.line(value);
    }
    if context.output.json {
        return context.output.json(&list);
    }
    let rows = list.secrets.0.into_iter().map(|(name, value)| [name, value]);
    context.output.table(["secret", "value"], rows.collect(), "it has no secrets")
}
