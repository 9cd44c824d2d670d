//! The first page: clusters, products, what the agents have free.

use super::source::{self, Shown};
use super::words::{Chip, Moment, mebibytes, number};
use crate::state::State;
use actix_web::HttpRequest;
use bigdata_common::api::cluster::{ClusterEntry, ClusterView};
use bigdata_common::api::explain::{AgentList, AgentView};
use bigdata_common::api::product::{ProductList, ProductView};
use bigdata_common::status::ClusterStatus;
use bigdata_common::{Principal, Timestamp};
use serde::Serialize;

/// The whole page.
#[derive(Debug, Serialize)]
pub(crate) struct IndexView {
    user: String,
    notices: Vec<String>,
    rows: Vec<RowView>,
    shows_destroyed: bool,
    more: bool,
    products: Vec<ProductLine>,
    agents: Vec<AgentLine>,
}

/// What a line of the table of clusters says, but for its age: two equal ones need not be shown again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Its distinguished name.
    pub(crate) dn: String,
    name: String,
    product: String,
    status: Chip,
    health: Chip,
    reason: String,
    nodes: u32,
    nodes_running: u32,
    owner: String,
    #[serde(skip)]
    since: Timestamp,
    #[serde(skip)]
    created_at: Timestamp,
}

/// A line with the age of its state.
#[derive(Debug, Serialize)]
pub(crate) struct RowView {
    row: Row,
    since: Moment,
}

#[derive(Debug, Serialize)]
struct ProductLine {
    name: String,
    version: String,
    description: String,
    clusters: u64,
    lacking: Vec<String>,
}

#[derive(Debug, Serialize)]
struct AgentLine {
    host: String,
    id: String,
    attributes: Vec<String>,
    nodes: u32,
    resources: Vec<Amount>,
    seen: Moment,
}

/// One kind of resource of an agent.
#[derive(Debug, Serialize)]
struct Amount {
    name: &'static str,
    free: String,
    total: String,
    /// Per cent.
    used: u32,
}

impl Row {
    pub(crate) fn at(self, now: Timestamp) -> RowView {
        RowView { since: Moment::new(self.since, now), row: self }
    }
}

impl From<ClusterView> for Row {
    fn from(cluster: ClusterView) -> Self {
        let during = cluster.failed_during.map(|phase| format!("during {phase}"));
        let reasons = during.into_iter().chain(cluster.reason);
        // Health speaks once there is something to watch.
        let reasons =
            reasons.chain(cluster.health_reasons.into_iter().filter(|_| cluster.status == ClusterStatus::Ready));
        Self {
            dn: cluster.dn.to_string(),
            name: cluster.name,
            product: cluster.product.to_string(),
            status: cluster.status.into(),
            health: cluster.health.into(),
            reason: reasons.collect::<Vec<_>>().join(": "),
            nodes: cluster.nodes,
            nodes_running: cluster.nodes_running,
            owner: cluster.user.to_string(),
            since: cluster.phases.last().map_or(cluster.created_at, |phase| phase.at),
            created_at: cluster.created_at,
        }
    }
}

/// The rows of these clusters, the newest first.
pub(crate) fn rows(clusters: Vec<ClusterEntry>) -> Vec<Row> {
    let mut rows: Vec<Row> = clusters.into_iter().map(|entry| Row::from(entry.data)).collect();
    rows.sort_by(|left, right| right.created_at.cmp(&left.created_at).then_with(|| left.dn.cmp(&right.dn)));
    rows
}

/// Which clusters the request asks for.
pub(crate) fn shown(request: &HttpRequest) -> Shown {
    if request.query_string().split('&').any(|pair| pair == "destroyed=show") { Shown::All } else { Shown::Alive }
}

/// Reads what the page shows; a service that is away costs its part of the page only.
pub(crate) async fn load(state: &State, principal: &Principal, shown: Shown) -> IndexView {
    let now = state.clock.now();
    let (clusters, products, agents) = futures_util::join!(
        source::clusters(state, principal, shown),
        source::get::<ProductList>(&state.registry, principal, "/products"),
        source::get::<AgentList>(&state.framework, principal, "/agents"),
    );
    let mut notices = Vec::new();
    let mut or_notice = |problem: bigdata_common::api::problem::Problem| {
        if !notices.contains(&problem.detail) {
            notices.push(problem.detail);
        }
    };
    let (clusters, more) = clusters.map_err(&mut or_notice).unwrap_or_default();
    let products = products.map_err(&mut or_notice).map(|list| list.entries).unwrap_or_default();
    let agents = agents.map_err(&mut or_notice).map(|list| list.agents).unwrap_or_default();
    IndexView {
        user: principal.user.to_string(),
        notices,
        shows_destroyed: shown == Shown::All,
        more,
        rows: rows(clusters).into_iter().map(|row| row.at(now)).collect(),
        products: products.into_iter().map(product_line).collect(),
        agents: agents.into_iter().map(|agent| agent_line(agent, now)).collect(),
    }
}

fn product_line(product: ProductView) -> ProductLine {
    ProductLine {
        lacking: product.lacking(),
        name: product.name.to_string(),
        version: product.version.to_string(),
        description: product.description,
        clusters: product.clusters,
    }
}

fn agent_line(agent: AgentView, now: Timestamp) -> AgentLine {
    let (total, used) = (agent.total, agent.used);
    AgentLine {
        host: agent.host,
        id: agent.id,
        attributes: agent.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        nodes: agent.nodes,
        resources: vec![
            amount("CPUs", total.cpus, used.cpus, number),
            amount("memory", total.mem, used.mem, mebibytes),
            amount("disk", total.disk, used.disk, mebibytes),
        ],
        seen: Moment::new(agent.seen_at, now),
    }
}

fn amount(name: &'static str, total: f64, used: f64, in_words: fn(f64) -> String) -> Amount {
    let share = if total > 0.0 { (used / total).clamp(0.0, 1.0) } else { 0.0 };
    Amount {
        name,
        free: in_words((total - used).max(0.0)),
        total: in_words(total),
        used: (share * 100.0).round() as u32,
    }
}
