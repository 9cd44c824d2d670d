//! The newest observation of every node.

use super::{from_text, parsed, signed, to_text, unsigned, wishes};
use crate::cluster::hooks::{Seen, Stance};
use crate::lifecycle::NodeSummary;
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::api::operation::OperationView;
use bigdata_common::blueprint::Blueprint;
use bigdata_common::event::NodeFact;
use bigdata_common::internal::{NodeObservation, NodeWish};
use bigdata_common::status::NodeStatus;
use bigdata_common::{ClusterId, Name, OperationId, Timestamp};
use std::sync::LazyLock;

/// The columns that a cluster's health is made of.
#[derive(Debug, Clone)]
pub struct NodeRow {
    /// The node.
    pub name: Name,
    /// Where it stands.
    pub status: NodeStatus,
    /// Whether it declares health checks.
    pub health_declared: bool,
    /// What they say.
    pub passing: Option<bool>,
    /// When it was observed.
    pub observed_at: Option<Timestamp>,
    /// All that was observed.
    pub observation: Option<NodeObservation>,
    /// For how long its newest word holds, in milliseconds; None: it is told of on changes alone.
    pub holds_ms: Option<u64>,
    /// Whether the cluster's history says that there is no word of it.
    pub silent: bool,
    /// What is wanted of it; of one that leaves, what was.
    pub wish: NodeWish,
    /// Whether it is wanted no more, and its release awaited.
    pub leaving: bool,
    /// What the script was last told of it.
    pub told: Option<Seen>,
}

/// What a word of a node may take on its way from the executor, in milliseconds.
const SILENCE_GRACE_MS: u64 = 15_000;

impl NodeRow {
    /// Whether its newest observation is of the incarnation that is wanted. The revision of a wish counts from the next
    /// attempt on; one that counts at once comes with an incarnation of its own.
    pub fn as_wished(&self) -> bool {
        self.observation.as_ref().is_some_and(|observation| observation.incarnation == self.wish.incarnation)
    }

    /// Whether it runs as it is wanted.
    pub fn runs(&self) -> bool {
        self.status == NodeStatus::Running && !self.leaving && self.as_wished()
    }

    /// Whether it runs and passes its checks, or declares none.
    pub fn serves(&self) -> bool {
        self.status == NodeStatus::Running && (!self.health_declared || self.passing == Some(true))
    }

    /// For how many seconds there has been no word of a node that is said to run, where that is too long.
    pub fn silent_seconds(&self, now: Timestamp) -> Option<u64> {
        let (holds, at) = self.holds_ms.zip(self.observed_at)?;
        let age = now.millis_since(at);
        (self.status == NodeStatus::Running && age > holds.saturating_add(SILENCE_GRACE_MS)).then_some(age / 1000)
    }

    /// What its newest observation says in words.
    pub fn said(&self) -> Option<&str> {
        self.observation.as_ref().and_then(|observation| observation.reason.as_deref())
    }
}

/// The revision that an attempt was begun with; before frameworks told it there was only the first.
fn revision_of(observation: &NodeObservation) -> u32 {
    observation.revision.max(1)
}

#[derive(sqlx::FromRow)]
struct Raw {
    name: String,
    status: String,
    health_declared: i64,
    passing: Option<i64>,
    observed_at_ms: Option<i64>,
    observation: Option<String>,
    holds_ms: Option<i64>,
    silent: i64,
    wanted_revision: i64,
    wanted_incarnation: i64,
    elsewhere: i64,
    leaving: i64,
    told_attempt: Option<i64>,
    told_restarts: i64,
    told: String,
}

impl Raw {
    fn read(self) -> Result<NodeRow, sqlx::Error> {
        Ok(NodeRow {
            name: parsed(&self.name)?,
            status: parsed(&self.status)?,
            health_declared: self.health_declared == 1,
            passing: self.passing.map(|passing| passing == 1),
            observed_at: self.observed_at_ms.map(Timestamp::from_millis),
            observation: self.observation.as_deref().map(from_text).transpose()?,
            holds_ms: self.holds_ms.map(unsigned),
            silent: self.silent == 1,
            wish: wishes::wish(self.wanted_revision, self.wanted_incarnation, self.elsewhere),
            leaving: self.leaving == 1,
            told: self.told_attempt.map(|attempt| Seen {
                attempt: wishes::small(attempt),
                restarts: wishes::small(self.told_restarts),
                stance: Stance::of(&self.told),
            }),
        })
    }
}

/// Stores the nodes of a new cluster, pending.
///
/// # Errors
/// When the database refuses.
pub async fn insert(tx: &mut Tx, cluster: &ClusterId, blueprint: &Blueprint) -> Result<(), sqlx::Error> {
    wishes::add(tx, cluster, 1, blueprint, |_| true).await
}

/// Stores what a fact says; the node as it was before, or None where the fact is stale or about no node of the cluster.
///
/// # Errors
/// When the database refuses.
pub async fn observe(tx: &mut Tx, cluster: &ClusterId, fact: &NodeFact) -> Result<Option<NodeRow>, sqlx::Error> {
    // What is told of an earlier node of this name is about nothing that is there.
    static BEFORE: LazyLock<String> = LazyLock::new(|| {
        format!("{COLUMNS} WHERE cluster_id = $1 AND name = $2 AND sequence < $4 AND born_revision <= $11")
    });
    const WRITE: &str = "UPDATE nodes SET generation = $3, sequence = $4, status = $5, passing = $6, gave_up = $7, \
                         observed_at_ms = $8, observation = $9, attempt = $10, revision = $11, incarnation = $12, restarts = $13 \
                         WHERE cluster_id = $1 AND name = $2 AND sequence < $4 AND born_revision <= $11";
    // Postgres writes and tells what was before in one statement, all of whose parts see the rows as they were.
    static AT_ONCE: LazyLock<String> = LazyLock::new(|| format!("WITH written AS ({WRITE}) {}", *BEFORE));
    let queries: &[&'static str] = if tx.is_postgres() { &[AT_ONCE.as_str()] } else { &[BEFORE.as_str(), WRITE] };
    let observation = to_text(&fact.observation)?;
    let mut before: Option<Raw> = None;
    for query in queries {
        let row = on_tx!(tx, connection => sqlx::query_as(*query)
            .bind(cluster.to_string())
            .bind(fact.node.as_str())
            .bind(i64::from(fact.generation))
            .bind(signed(fact.sequence))
            .bind(fact.observation.status.as_str())
            .bind(fact.observation.passing.map(i64::from))
            .bind(i64::from(fact.observation.gave_up))
            .bind(fact.observation.observed_at.as_millis())
            .bind(&observation)
            .bind(i64::from(fact.observation.attempt.number))
            .bind(i64::from(revision_of(&fact.observation)))
            .bind(i64::from(fact.observation.incarnation))
            .bind(i64::from(fact.observation.restarts))
            .fetch_optional(connection)
            .await)?;
        before = before.or(row);
    }
    before.map(Raw::read).transpose()
}

/// Takes every node for pending again; the sequences stay, so that old facts stay old.
///
/// # Errors
/// When the database refuses.
pub async fn forget(tx: &mut Tx, cluster: &ClusterId) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query(
            "UPDATE nodes SET status = $2, passing = NULL, gave_up = 0, observation = NULL, holds_ms = NULL, \
             silent = 0 WHERE cluster_id = $1")
        .bind(cluster.to_string())
        .bind(NodeStatus::Pending.as_str())
        .execute(connection)
        .await
        .map(drop))
}

#[derive(sqlx::FromRow)]
struct Counts {
    total: i64,
    running: i64,
    passing: i64,
    gave_up: i64,
    operation: Option<String>,
}

/// What a cluster's observations come to, and the operation with this id; a node counts as given up only by a fact about
/// this generation.
///
/// # Errors
/// When the database refuses.
pub async fn summary(
    tx: &mut Tx,
    cluster: &ClusterId,
    generation: u32,
    operation: Option<OperationId>,
) -> Result<(NodeSummary, Option<OperationView>), sqlx::Error> {
    let counts: Counts = on_tx!(tx, connection => sqlx::query_as(
            "SELECT COUNT(*) AS total, \
             COUNT(CASE WHEN status = 'running' AND incarnation = wanted_incarnation THEN 1 END) AS running, \
             COUNT(CASE WHEN status = 'running' AND incarnation = wanted_incarnation \
                        AND (health_declared = 0 OR passing = 1) THEN 1 END) AS passing, \
             COUNT(CASE WHEN gave_up = 1 AND generation = $2 AND incarnation = wanted_incarnation THEN 1 END) AS gave_up, \
             (SELECT view FROM operations WHERE id = $3) AS operation \
             FROM nodes WHERE cluster_id = $1 AND leaving = 0")
        .bind(cluster.to_string())
        .bind(i64::from(generation))
        .bind(operation.map(|operation| operation.to_string()))
        .fetch_one(connection)
        .await)?;
    let gave_up = if counts.gave_up > 0 { first_given_up(tx, cluster, generation).await? } else { None };
    let count = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    let summary = NodeSummary {
        total: count(counts.total),
        running: count(counts.running),
        passing: count(counts.passing),
        gave_up,
        missing: Vec::new(),
        leaving: Vec::new(),
    };
    Ok((summary, counts.operation.as_deref().map(from_text).transpose()?))
}

/// The first node that was given up in this generation, in words.
async fn first_given_up(tx: &mut Tx, cluster: &ClusterId, generation: u32) -> Result<Option<String>, sqlx::Error> {
    let first: Option<(String, Option<String>)> = on_tx!(tx, connection => sqlx::query_as(
            "SELECT name, observation FROM nodes WHERE cluster_id = $1 AND leaving = 0 AND gave_up = 1 AND generation = $2 \
             AND incarnation = wanted_incarnation ORDER BY position LIMIT 1")
        .bind(cluster.to_string())
        .bind(i64::from(generation))
        .fetch_optional(connection)
        .await)?;
    let Some((name, observation)) = first else { return Ok(None) };
    let observation: Option<NodeObservation> = observation.as_deref().map(from_text).transpose()?;
    Ok(Some(gave_up_words(&name, observation.as_ref())))
}

fn gave_up_words(name: &str, observation: Option<&NodeObservation>) -> String {
    let mut words = format!("node {name}");
    if let Some(observation) = observation {
        let reason = observation.reason.clone().unwrap_or_else(|| format!("it is {}", observation.status));
        words.push_str(&format!(": {reason}"));
        if !observation.last_lines.is_empty() {
            words.push_str(&format!("; its last lines: {}", observation.last_lines.join(" | ")));
        }
    }
    words
}

/// The same of a ready cluster, whose nodes are at hand; with those that are waited for.
pub fn summary_of(nodes: &[NodeRow]) -> NodeSummary {
    let count = |counts: fn(&NodeRow) -> bool| {
        u32::try_from(nodes.iter().filter(|node| !node.leaving && counts(node)).count()).unwrap_or(u32::MAX)
    };
    let names =
        |named: fn(&NodeRow) -> bool| nodes.iter().filter(move |node| named(node)).map(|node| node.name.clone());
    let given_up = nodes.iter().filter(|node| !node.leaving && node.as_wished()).find_map(|node| {
        let observation = node.observation.as_ref().filter(|observation| observation.gave_up)?;
        Some(gave_up_words(node.name.as_str(), Some(observation)))
    });
    NodeSummary {
        total: count(|_| true),
        running: count(NodeRow::runs),
        passing: count(|node| node.runs() && node.serves()),
        gave_up: given_up,
        missing: names(|node| !node.leaving && !node.runs()).collect(),
        leaving: names(|node| node.leaving).collect(),
    }
}

const COLUMNS: &str = "SELECT name, status, health_declared, passing, observed_at_ms, observation, holds_ms, silent, \
                       wanted_revision, wanted_incarnation, elsewhere, leaving, told_attempt, told_restarts, told FROM nodes";
static ALL: LazyLock<String> = LazyLock::new(|| format!("{COLUMNS} WHERE cluster_id = $1 ORDER BY position, name"));

/// Every node of a cluster in the template's order, as the transaction sees it.
///
/// # Errors
/// When the database refuses.
pub async fn all_in(tx: &mut Tx, cluster: &ClusterId) -> Result<Vec<NodeRow>, sqlx::Error> {
    let rows: Vec<Raw> =
        on_tx!(tx, connection => sqlx::query_as(ALL.as_str()).bind(cluster.to_string()).fetch_all(connection).await)?;
    rows.into_iter().map(Raw::read).collect()
}

/// Every node of a cluster in the template's order.
///
/// # Errors
/// When the database refuses.
pub async fn all(db: &Db, cluster: &ClusterId) -> Result<Vec<NodeRow>, sqlx::Error> {
    let rows: Vec<Raw> =
        on_db!(db, pool => sqlx::query_as(ALL.as_str()).bind(cluster.to_string()).fetch_all(pool).await)?;
    rows.into_iter().map(Raw::read).collect()
}
