//! The page of one cluster.

use super::source;
use super::timeline::{Segment, timeline};
use super::words::{Chip, Moment, duration, mebibytes, number, service_chip};
use crate::state::State;
use bigdata_common::api::PREFIX;
use bigdata_common::api::change::{BackupList, BackupView};
use bigdata_common::api::cluster::{
    ClusterEntry, ClusterView, EndpointList, EventView, LogLine, LogPage, NodeList, NodeView, OutputView, ServiceList,
    ServiceView,
};
use bigdata_common::api::explain::Explanation;
use bigdata_common::api::operation::{OperationList, OperationView};
use bigdata_common::api::problem::Problem;
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterDn, Principal, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

/// Lines of the log that the page begins with.
const LINES: usize = 300;
/// The whole page.
#[derive(Debug, Serialize)]
pub(crate) struct ClusterPage {
    user: String,
    notices: Vec<String>,
    dn: String,
    id: String,
    name: String,
    owner: String,
    product: String,
    product_revision: String,
    termination: String,
    status: Chip,
    failed_during: String,
    reason: String,
    health: Chip,
    health_reasons: Vec<String>,
    health_observed: Option<Moment>,
    is_final: bool,
    created: Moment,
    since: Moment,
    nodes_running: u32,
    nodes_total: u32,
    leftovers: Vec<String>,
    options: Vec<Pair>,
    timeline: Vec<Segment>,
    explanation: Option<Explanation>,
    nodes: Vec<NodeLine>,
    services: Vec<ServiceLine>,
    endpoints: Vec<Endpoint>,
    outputs: Vec<OutputView>,
    operations: Vec<OperationLine>,
    backups: Vec<BackupLine>,
    events: Vec<EventLine>,
    last_event: u64,
    lines: Vec<LogLine>,
    last_line: u64,
    /// Where the script listens.
    api: String,
}

#[derive(Debug, Serialize)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
struct NodeLine {
    name: String,
    status: Chip,
    health: Chip,
    address: String,
    ports: Vec<String>,
    host: String,
    attempt: u32,
    restarts: u32,
    size: String,
    disks: Vec<String>,
    reason: String,
    last_lines: String,
    observed: Option<Moment>,
}

#[derive(Debug, Serialize)]
struct ServiceLine {
    name: String,
    status: Chip,
    nodes: Vec<String>,
    properties: Vec<Pair>,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    name: String,
    role: String,
    url: String,
    /// A client's command line, where the product gives one.
    line: String,
    /// Whether a browser can follow it; anything else, `javascript:` above all, is shown as text.
    is_link: bool,
}

#[derive(Debug, Serialize)]
struct OperationLine {
    id: String,
    kind: String,
    /// What asked for it, where that was no user.
    cause: String,
    status: Chip,
    created: Moment,
    took: String,
    step: String,
    error: String,
}

#[derive(Debug, Serialize)]
struct BackupLine {
    id: String,
    label: String,
    size: String,
    cause: String,
    at: Moment,
}

#[derive(Debug, Serialize)]
struct EventLine {
    event: EventView,
    at: Moment,
}

/// Reads what the page shows; a service that is away costs its part of the page only.
///
/// # Errors
/// The registry's problem where it does not know the cluster, or does not answer.
pub(crate) async fn load(state: &State, principal: &Principal, dn: &ClusterDn) -> Result<ClusterPage, Problem> {
    let path = format!("/{dn}");
    let entry: ClusterEntry = source::get(&state.registry, principal, &path).await?;
    let cluster = entry.data;
    let (registry, framework, orchestrator) = (&state.registry, &state.framework, &state.orchestrator);
    let (explain_path, log_path) = (format!("/explain/{dn}"), format!("{path}/logs?tail={LINES}"));
    let of = |what: &str| format!("{path}/{what}");
    let (nodes_path, services_path) = (of("nodes"), of("services"));
    let (endpoints_path, operations_path) = (of("endpoints"), of("operations"));
    let backups_path = of("backups?limit=10");
    let explained = async {
        if cluster.status.is_launching() {
            source::get::<Explanation>(framework, principal, &explain_path).await.ok()
        } else {
            None
        }
    };
    let (nodes, services, endpoints, operations, backups, events, log, explanation) = futures_util::join!(
        source::get::<NodeList>(registry, principal, &nodes_path),
        source::get::<ServiceList>(registry, principal, &services_path),
        source::get::<EndpointList>(registry, principal, &endpoints_path),
        source::get::<OperationList>(registry, principal, &operations_path),
        source::get::<BackupList>(registry, principal, &backups_path),
        source::last_events(state, principal, &path),
        source::get::<LogPage>(orchestrator, principal, &log_path),
        explained,
    );
    let mut notices = Vec::new();
    let mut or_notice = |problem: Problem| {
        if !notices.contains(&problem.detail) {
            notices.push(problem.detail);
        }
    };
    let parts = Parts {
        nodes: nodes.map_err(&mut or_notice).map(|list| list.nodes).unwrap_or_default(),
        services: services.map_err(&mut or_notice).map(|list| list.services).unwrap_or_default(),
        endpoints: endpoints.map_err(&mut or_notice).ok(),
        operations: operations.map_err(&mut or_notice).map(|list| list.operations).unwrap_or_default(),
        backups: backups.map_err(&mut or_notice).map(|list| list.backups).unwrap_or_default(),
        events: events.map_err(&mut or_notice).unwrap_or_default(),
        lines: log.map_err(&mut or_notice).map(|page| page.lines).unwrap_or_default(),
        explanation,
    };
    Ok(page(cluster, parts, notices, principal, state.clock.now()))
}

/// The parts of the page beside the cluster itself.
struct Parts {
    nodes: Vec<NodeView>,
    services: Vec<ServiceView>,
    endpoints: Option<EndpointList>,
    operations: Vec<OperationView>,
    backups: Vec<BackupView>,
    events: Vec<EventView>,
    lines: Vec<LogLine>,
    explanation: Option<Explanation>,
}

fn page(
    cluster: ClusterView,
    parts: Parts,
    notices: Vec<String>,
    principal: &Principal,
    now: Timestamp,
) -> ClusterPage {
    let (endpoints, outputs) = parts.endpoints.map_or_else(Default::default, |list| (list.endpoints, list.outputs));
    ClusterPage {
        user: principal.user.to_string(),
        notices,
        api: format!("{PREFIX}/{}", cluster.dn),
        dn: cluster.dn.to_string(),
        id: cluster.id.to_string(),
        timeline: timeline(cluster.status, cluster.failed_during, &cluster.phases, now),
        since: Moment::new(cluster.phases.last().map_or(cluster.created_at, |phase| phase.at), now),
        name: cluster.name,
        owner: cluster.user.to_string(),
        product: cluster.product.to_string(),
        product_revision: cluster.product_revision.chars().take(12).collect(),
        termination: cluster.termination.to_string(),
        failed_during: cluster.failed_during.map(|phase| phase.to_string()).unwrap_or_default(),
        reason: cluster.reason.unwrap_or_default(),
        health: cluster.health.into(),
        health_reasons: cluster.health_reasons,
        health_observed: cluster.health_observed_at.map(|at| Moment::new(at, now)),
        is_final: cluster.status == ClusterStatus::Destroyed,
        status: cluster.status.into(),
        created: Moment::new(cluster.created_at, now),
        nodes_running: cluster.nodes_running,
        nodes_total: cluster.nodes,
        leftovers: cluster.leftovers,
        options: pairs(&cluster.options),
        explanation: parts.explanation,
        nodes: parts.nodes.into_iter().map(|node| node_line(node, now)).collect(),
        services: parts.services.into_iter().map(service_line).collect(),
        endpoints: endpoints
            .into_iter()
            .map(|endpoint| Endpoint {
                is_link: ["http://", "https://"].iter().any(|scheme| endpoint.url.starts_with(scheme)),
                name: endpoint.name,
                role: endpoint.role,
                url: endpoint.url,
                line: endpoint.line.unwrap_or_default(),
            })
            .collect(),
        outputs,
        operations: parts.operations.into_iter().take(20).map(|operation| operation_line(operation, now)).collect(),
        backups: parts.backups.into_iter().map(|backup| backup_line(backup, now)).collect(),
        last_event: parts.events.last().map_or(0, |event| event.sequence),
        events: parts
            .events
            .into_iter()
            .rev()
            .map(|event| EventLine { at: Moment::new(event.at, now), event })
            .collect(),
        last_line: parts.lines.last().map_or(0, |line| line.sequence),
        lines: parts.lines,
    }
}

fn node_line(node: NodeView, now: Timestamp) -> NodeLine {
    NodeLine {
        name: node.name.to_string(),
        status: node.status.into(),
        health: node.health.into(),
        address: node.address,
        ports: node.ports.iter().map(|(name, port)| format!("{name} {port}")).collect(),
        host: node.host,
        attempt: node.attempt,
        restarts: node.restarts,
        size: format!("{} CPUs, {}", number(node.cpu), mebibytes(node.mem as f64)),
        disks: node.disks.iter().map(|disk| format!("{} {}", disk.name, mebibytes(disk.size as f64))).collect(),
        reason: node.reason.unwrap_or_default(),
        last_lines: node.last_lines.join("\n"),
        observed: node.observed_at.map(|at| Moment::new(at, now)),
    }
}

fn service_line(service: ServiceView) -> ServiceLine {
    ServiceLine {
        name: service.name.to_string(),
        status: service_chip(&service.status),
        nodes: service.nodes.iter().map(ToString::to_string).collect(),
        properties: pairs(&service.properties),
    }
}

fn operation_line(operation: OperationView, now: Timestamp) -> OperationLine {
    let current = operation.steps.iter().rev().find(|step| step.started_at.is_some());
    let step = current.filter(|_| !operation.status.is_final()).map(|step| {
        let percent = step.percent.map(|percent| format!("{percent} %"));
        [Some(step.name.clone()), percent, step.message.clone()].into_iter().flatten().collect::<Vec<_>>().join(" · ")
    });
    OperationLine {
        id: operation.id.to_string(),
        kind: [Some(operation.kind.to_string()), operation.action, operation.node.map(|node| node.to_string())]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" "),
        cause: operation.cause.unwrap_or_default(),
        status: operation.status.into(),
        created: Moment::new(operation.created_at, now),
        took: duration(operation.ended_at.unwrap_or(now).millis_since(operation.created_at)),
        step: step.unwrap_or_default(),
        error: operation.error.unwrap_or_default(),
    }
}

fn backup_line(backup: BackupView, now: Timestamp) -> BackupLine {
    BackupLine {
        id: backup.id.to_string(),
        label: backup.label,
        size: mebibytes(backup.size as f64 / 1_048_576.0),
        cause: backup.cause,
        at: Moment::new(backup.at, now),
    }
}

fn pairs(map: &Map<String, Value>) -> Vec<Pair> {
    let in_words = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.iter().map(|(name, value)| Pair { name: name.clone(), value: in_words(value) }).collect()
}
