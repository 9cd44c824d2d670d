//! The newest observation of every node.

use super::{from_text, parsed, signed, to_text, unsigned};
use crate::lifecycle::NodeSummary;
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::api::operation::OperationView;
use bigdata_common::blueprint::Blueprint;
use bigdata_common::event::NodeFact;
use bigdata_common::internal::NodeObservation;
use bigdata_common::status::NodeStatus;
use bigdata_common::{ClusterId, Name, OperationId, Timestamp};
use indexmap::IndexMap;
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
}

/// What a word of a node may take on its way from the executor, in milliseconds.
const SILENCE_GRACE_MS: u64 = 15_000;

impl NodeRow {
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
        })
    }
}

/// Stores the nodes of a new cluster, pending.
///
/// # Errors
/// When the database refuses.
pub async fn insert(tx: &mut Tx, cluster: &ClusterId, blueprint: &Blueprint) -> Result<(), sqlx::Error> {
    let id = cluster.to_string();
    for (position, (name, node)) in (0i64..).zip(&blueprint.nodes) {
        on_tx!(tx, connection => sqlx::query(
                "INSERT INTO nodes (cluster_id, name, position, health_declared, generation, sequence, status, gave_up) \
                 VALUES ($1, $2, $3, $4, 0, 0, $5, 0)")
            .bind(&id)
            .bind(name.as_str())
            .bind(position)
            .bind(i64::from(node.health.is_some()))
            .bind(NodeStatus::Pending.as_str())
            .execute(connection)
            .await
            .map(drop))?;
    }
    Ok(())
}

/// Stores what a fact says; the node as it was before, or None where the fact is stale or about no node of the cluster.
///
/// # Errors
/// When the database refuses.
pub async fn observe(tx: &mut Tx, cluster: &ClusterId, fact: &NodeFact) -> Result<Option<NodeRow>, sqlx::Error> {
    const BEFORE: &str = "SELECT name, status, health_declared, passing, observed_at_ms, observation, holds_ms, silent \
                          FROM nodes WHERE cluster_id = $1 AND name = $2 AND sequence < $4";
    const WRITE: &str = "UPDATE nodes SET generation = $3, sequence = $4, status = $5, passing = $6, gave_up = $7, \
                         observed_at_ms = $8, observation = $9, attempt = $10 \
                         WHERE cluster_id = $1 AND name = $2 AND sequence < $4";
    // Postgres writes and tells what was before in one statement, all of whose parts see the rows as they were.
    static AT_ONCE: LazyLock<String> = LazyLock::new(|| format!("WITH written AS ({WRITE}) {BEFORE}"));
    let queries: &[&'static str] = if tx.is_postgres() { &[AT_ONCE.as_str()] } else { &[BEFORE, WRITE] };
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
    attempts: i64,
    running: i64,
    passing: i64,
    gave_up_name: Option<String>,
    gave_up_observation: Option<String>,
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
             CAST(COALESCE(SUM(attempt), 0) AS BIGINT) AS attempts, \
             COUNT(CASE WHEN status = 'running' THEN 1 END) AS running, \
             COUNT(CASE WHEN status = 'running' AND (health_declared = 0 OR passing = 1) THEN 1 END) AS passing, \
             (SELECT name FROM nodes WHERE cluster_id = $1 AND gave_up = 1 AND generation = $2 \
              ORDER BY position LIMIT 1) AS gave_up_name, \
             (SELECT observation FROM nodes WHERE cluster_id = $1 AND gave_up = 1 AND generation = $2 \
              ORDER BY position LIMIT 1) AS gave_up_observation, \
             (SELECT view FROM operations WHERE id = $3) AS operation \
             FROM nodes WHERE cluster_id = $1")
        .bind(cluster.to_string())
        .bind(i64::from(generation))
        .bind(operation.map(|operation| operation.to_string()))
        .fetch_one(connection)
        .await)?;
    let gave_up = match counts.gave_up_name {
        Some(name) => Some(gave_up_words(&name, counts.gave_up_observation.as_deref())?),
        None => None,
    };
    let count = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    let summary = NodeSummary {
        total: count(counts.total),
        running: count(counts.running),
        attempts: unsigned(counts.attempts),
        passing: count(counts.passing),
        gave_up,
    };
    Ok((summary, counts.operation.as_deref().map(from_text).transpose()?))
}

fn gave_up_words(name: &str, observation: Option<&str>) -> Result<String, sqlx::Error> {
    let observation: Option<NodeObservation> = observation.map(from_text).transpose()?;
    let mut words = format!("node {name}");
    if let Some(observation) = observation {
        let reason = observation.reason.unwrap_or_else(|| format!("it is {}", observation.status));
        words.push_str(&format!(": {reason}"));
        if !observation.last_lines.is_empty() {
            words.push_str(&format!("; its last lines: {}", observation.last_lines.join(" | ")));
        }
    }
    Ok(words)
}

const ALL: &str = "SELECT name, status, health_declared, passing, observed_at_ms, observation, holds_ms, silent \
                   FROM nodes WHERE cluster_id = $1 ORDER BY position";

/// Every node of a cluster in the template's order, as the transaction sees it.
///
/// # Errors
/// When the database refuses.
pub async fn all_in(tx: &mut Tx, cluster: &ClusterId) -> Result<Vec<NodeRow>, sqlx::Error> {
    let rows: Vec<Raw> =
        on_tx!(tx, connection => sqlx::query_as(ALL).bind(cluster.to_string()).fetch_all(connection).await)?;
    rows.into_iter().map(Raw::read).collect()
}

/// Every node of a cluster in the template's order.
///
/// # Errors
/// When the database refuses.
pub async fn all(db: &Db, cluster: &ClusterId) -> Result<Vec<NodeRow>, sqlx::Error> {
    let rows: Vec<Raw> = on_db!(db, pool => sqlx::query_as(ALL).bind(cluster.to_string()).fetch_all(pool).await)?;
    rows.into_iter().map(Raw::read).collect()
}

/// Per cluster and node the sequence of the last fact, for every cluster whose id is from `first` to `last`.
///
/// # Errors
/// When the database refuses.
pub async fn observed(
    db: &Db,
    first: &ClusterId,
    last: &ClusterId,
) -> Result<IndexMap<String, IndexMap<Name, u64>>, sqlx::Error> {
    let rows: Vec<(String, String, i64)> = on_db!(db, pool => sqlx::query_as(
            "SELECT cluster_id, name, sequence FROM nodes WHERE cluster_id >= $1 AND cluster_id <= $2 AND sequence > 0 \
             ORDER BY cluster_id, position")
        .bind(first.to_string())
        .bind(last.to_string())
        .fetch_all(pool)
        .await)?;
    let mut observed: IndexMap<String, IndexMap<Name, u64>> = IndexMap::new();
    for (cluster, name, sequence) in rows {
        observed.entry(cluster).or_default().insert(parsed(&name)?, unsigned(sequence));
    }
    Ok(observed)
}
