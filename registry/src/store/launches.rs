//! A launch: what it begins from is read in one look, and what it makes is written at once.

use super::idempotency::Reply;
use super::products::Raw;
use super::written::{self, Written};
use super::{backups, clusters, idempotency, identity, nodes, products, signed, to_text, unsigned};
use crate::cluster::record::Cluster;
use crate::cluster::wanted::NewRevision;
use crate::product::Product;
use bigdata_chassis::db::{Engine, TxInner};
use bigdata_chassis::messaging::outbox;
use bigdata_chassis::{Db, Tx, on_db};
use bigdata_common::status::NodeStatus;
use bigdata_common::{BackupId, Name, ProductRef, Timestamp};
use sqlx::PgConnection;
use std::sync::LazyLock;

/// What a launch begins from.
#[derive(Debug)]
pub struct Ground {
    /// The product as it is now.
    pub product: Product,
    /// Whether it is kept for clusters as it is now ([`products::keep_content`]).
    pub content_is_kept: bool,
    /// The number that the user's next cluster of it would get.
    pub number: u64,
}

/// What a launch stores beside the cluster.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The first revision.
    pub first: &'a NewRevision,
    /// The product, where it is not kept yet as it is now.
    pub content: Option<&'a Product>,
    /// Backups that the cluster may read.
    pub backups: &'a [BackupId],
    /// Its secrets, sealed, by name.
    pub secrets: Vec<(String, String)>,
    /// What its history begins with.
    pub written: Written,
    /// The reply to a request that may come again.
    pub reply: Option<Reply>,
}

#[derive(sqlx::FromRow)]
struct GroundRow {
    #[sqlx(flatten)]
    product: Raw,
    content_is_kept: i64,
    last: Option<i64>,
}

/// What a launch of this product by this user begins from; None: there is no such product.
///
/// # Errors
/// When the database refuses.
pub async fn ground(db: &Db, user: &Name, product: &ProductRef) -> Result<Option<Ground>, sqlx::Error> {
    let row: Option<GroundRow> = on_db!(db, pool => sqlx::query_as(
            "SELECT p.name, p.version, p.description, p.logo_url, p.template, p.template_language, p.options, \
             p.orchestrator, p.actions, p.reach_network, p.container_rights, p.revision, n.last, \
             (SELECT COUNT(*) FROM product_contents c WHERE c.revision = p.revision) AS content_is_kept \
             FROM products p LEFT JOIN numbers n ON n.user_name = $1 AND n.product = p.name AND n.version = p.version \
             WHERE p.name = $2 AND p.version = $3")
        .bind(user.as_str())
        .bind(product.name.as_str())
        .bind(product.version.as_str())
        .fetch_optional(pool)
        .await)?;
    let Some(GroundRow { product, content_is_kept, last }) = row else { return Ok(None) };
    let number = unsigned(last.unwrap_or(0)) + 1;
    Ok(Some(Ground { product: product.read()?, content_is_kept: content_is_kept == 1, number }))
}

/// Stores a new cluster with all that belongs to it, takes its number, and commits: in the transaction that holds the
/// number, or in one of its own. False, and nothing is stored: the number is not the next one any more, the product is gone,
/// or the same request was answered at the same time. Launching and deleting a product exclude each other.
///
/// # Errors
/// When the database refuses.
pub async fn insert(db: &Db, holding: Option<Tx>, cluster: &Cluster, launch: Launch<'_>) -> Result<bool, sqlx::Error> {
    let mut tx = match (holding, db.engine()) {
        (Some(tx), _) => tx,
        (None, Engine::Sqlite { .. }) => db.begin().await?,
        (None, Engine::Postgres(pool)) => {
            // A statement is a transaction.
            let stored = at_once(&mut *pool.acquire().await?, cluster, launch).await?;
            db.wake_outbox();
            return Ok(stored);
        }
    };
    let stored = match &mut tx.inner {
        TxInner::Postgres(transaction) => at_once(transaction, cluster, launch).await?,
        TxInner::Sqlite(_) => one_by_one(&mut tx, cluster, launch).await?,
    };
    if stored {
        tx.wake_outbox_on_commit();
        tx.commit().await?;
    }
    Ok(stored)
}

/// Postgres: a round trip.
async fn at_once(connection: &mut PgConnection, cluster: &Cluster, launch: Launch<'_>) -> Result<bool, sqlx::Error> {
    static INSERT: LazyLock<String> = LazyLock::new(statement);
    let dn = cluster.id.dn();
    let rows = written::rows(&launch.written)?;
    let specification = &launch.first.specification;
    let contents: Vec<String> = launch.content.map(to_text).transpose()?.into_iter().collect();
    let contents_of: Vec<&str> = launch.content.map(|product| product.revision.as_str()).into_iter().collect();
    let backups: Vec<String> = launch.backups.iter().map(BackupId::to_string).collect();
    let (secrets, sealed): (Vec<String>, Vec<String>) = launch.secrets.into_iter().unzip();
    let nodes = specification.blueprint.nodes.iter();
    let (nodes, health): (Vec<&str>, Vec<i64>) =
        nodes.map(|(name, node)| (name.as_str(), i64::from(node.health.is_some()))).unzip();
    let ((sequences, events), (operations, views)) = (rows.events, rows.operations);
    let (ids, envelopes) = outbox::columns(launch.written.outbox);
    let (key, remembered) = launch.reply.map(|reply| (reply.key, reply.remembered)).unzip();
    let (hash, reply) = remembered.map(|remembered| (remembered.request_hash, remembered.reply)).unzip();
    let taken: Result<i64, sqlx::Error> = sqlx::query_scalar(INSERT.as_str())
        .bind(ids)
        .bind(envelopes)
        .bind(cluster.id.to_string())
        .bind(dn.user.as_str())
        .bind(dn.product.name.as_str())
        .bind(dn.product.version.as_str())
        .bind(signed(dn.number))
        .bind(cluster.state.status().as_str())
        .bind(cluster.due_at().map(Timestamp::as_millis))
        .bind(to_text(cluster)?)
        .bind(i64::from(specification.revision))
        .bind(to_text(specification)?)
        .bind(to_text(&launch.first.terms)?)
        .bind(contents_of)
        .bind(contents)
        .bind(backups)
        .bind(secrets)
        .bind(sealed)
        .bind(nodes)
        .bind(health)
        .bind(sequences)
        .bind(events)
        .bind(operations)
        .bind(views)
        .bind(key)
        .bind(hash)
        .bind(reply)
        .bind(cluster.created_at.as_millis())
        .fetch_one(connection)
        .await;
    match taken {
        Ok(taken) => Ok(taken == 1),
        // The same request was answered at the same time.
        Err(sqlx::Error::Database(error))
            if error.is_unique_violation() && error.table() == Some("idempotency_keys") =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Every part takes its rows through `taken`, and so none without the number.
fn statement() -> String {
    let (enqueue, pending) = (outbox::INSERT_ROWS, NodeStatus::Pending);
    format!(
        "WITH kept AS (SELECT 1 FROM products WHERE name = $5 AND version = $6 FOR KEY SHARE), \
         taken AS (\
             INSERT INTO numbers (user_name, product, version, last) SELECT $4, $5, $6, $7 FROM kept \
             ON CONFLICT (user_name, product, version) DO UPDATE SET last = excluded.last \
             WHERE numbers.last = excluded.last - 1 RETURNING last), \
         cluster AS (\
             INSERT INTO clusters (id, user_name, product, version, number, status, deadline_at_ms, record) \
             SELECT $3, $4, $5, $6, last, $8, $9, $10 FROM taken), \
         revision AS (\
             INSERT INTO revisions (cluster_id, revision, specification, terms) SELECT $3, $11, $12, $13 FROM taken), \
         content AS (\
             INSERT INTO product_contents (revision, content) \
             SELECT c.* FROM taken, UNNEST(CAST($14 AS TEXT[]), CAST($15 AS TEXT[])) AS c \
             ON CONFLICT (revision) DO NOTHING), \
         readers AS (\
             INSERT INTO backup_readers (backup_id, cluster_id) \
             SELECT DISTINCT b.id, $3 FROM taken, UNNEST(CAST($16 AS TEXT[])) AS b (id)), \
         sealed AS (\
             INSERT INTO secrets (cluster_id, name, sealed) \
             SELECT $3, s.* FROM taken, UNNEST(CAST($17 AS TEXT[]), CAST($18 AS TEXT[])) AS s), \
         standing AS (\
             INSERT INTO nodes (cluster_id, name, health_declared, position, generation, sequence, status, gave_up, \
                 wanted_revision, born_revision) \
             SELECT $3, n.name, n.health, n.position - 1, 0, 0, '{pending}', 0, $11, $11 FROM taken, \
                 UNNEST(CAST($19 AS TEXT[]), CAST($20 AS BIGINT[])) WITH ORDINALITY AS n (name, health, position)), \
         history AS (\
             INSERT INTO events (cluster_id, sequence, event) \
             SELECT $3, e.* FROM taken, UNNEST(CAST($21 AS BIGINT[]), CAST($22 AS TEXT[])) AS e), \
         begun AS (\
             INSERT INTO operations (id, cluster_id, user_name, view) \
             SELECT o.id, $3, $4, o.view FROM taken, UNNEST(CAST($23 AS TEXT[]), CAST($24 AS TEXT[])) AS o (id, view)), \
         answered AS (\
             INSERT INTO idempotency_keys (user_name, idempotency_key, request_hash, reply, created_at_ms) \
             SELECT $4, $25, $26, $27, $28 FROM taken WHERE $25 IS NOT NULL), \
         told AS ({enqueue} WHERE EXISTS (SELECT 1 FROM taken)) \
         SELECT COUNT(*) FROM taken"
    )
}

/// SQLite: no statement changes two tables.
async fn one_by_one(tx: &mut Tx, cluster: &Cluster, launch: Launch<'_>) -> Result<bool, sqlx::Error> {
    let (id, dn, first) = (&cluster.id, cluster.id.dn(), launch.first);
    let taken = identity::take_number(tx, &dn.user, &dn.product, dn.number).await?;
    if !taken || !products::keep(tx, &dn.product).await? {
        return Ok(false);
    }
    clusters::insert(tx, cluster).await?;
    clusters::insert_revision(tx, first).await?;
    if let Some(product) = launch.content {
        products::keep_content(tx, product).await?;
    }
    backups::let_read(tx, id, launch.backups).await?;
    for (name, sealed) in &launch.secrets {
        clusters::insert_secret(tx, id, name, sealed).await?;
    }
    nodes::insert(tx, id, &first.specification.blueprint).await?;
    written::write(tx, cluster, launch.written).await?;
    match &launch.reply {
        Some(reply) => idempotency::remember(tx, &dn.user, reply, cluster.created_at).await,
        None => Ok(true),
    }
}
