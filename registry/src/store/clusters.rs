//! Clusters, their revisions and their secrets.

use super::{from_text, signed, to_text};
use crate::cluster::record::Cluster;
use crate::cluster::wanted::{NewRevision, Terms};
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::internal::Specification;
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterId, Name, ProductRef, Timestamp};

/// Which clusters a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of this user.
    pub user: Option<Name>,
    /// Those of this product.
    pub product: Option<Name>,
    /// Those of this version.
    pub version: Option<Name>,
    /// Those in one of these statuses; empty: in any.
    pub statuses: Vec<ClusterStatus>,
    /// Those whose id comes after this one.
    pub after: Option<String>,
}

/// A page of clusters.
#[derive(Debug)]
pub struct Page {
    /// Those that can be read, in the order of their ids.
    pub clusters: Vec<Cluster>,
    /// The ids of those that cannot, and why.
    pub unreadable: Vec<(String, sqlx::Error)>,
    /// The last id, where there may be more.
    pub next: Option<String>,
}

impl Page {
    fn of(rows: Vec<(String, String)>, limit: u32) -> Self {
        let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let next = rows.last().filter(|_| full).map(|(id, _)| id.clone());
        let mut page = Self { clusters: Vec::with_capacity(rows.len()), unreadable: Vec::new(), next };
        for (id, record) in rows {
            match from_text(&record) {
                Ok(cluster) => page.clusters.push(cluster),
                Err(error) => page.unreadable.push((id, error)),
            }
        }
        page
    }
}

/// Stores a new cluster.
///
/// # Errors
/// When the database refuses.
pub async fn insert(tx: &mut Tx, cluster: &Cluster) -> Result<(), sqlx::Error> {
    let dn = cluster.id.dn();
    let record = to_text(cluster)?;
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO clusters (id, user_name, product, version, number, status, deadline_at_ms, record) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(cluster.id.to_string())
        .bind(dn.user.as_str())
        .bind(dn.product.name.as_str())
        .bind(dn.product.version.as_str())
        .bind(signed(dn.number))
        .bind(cluster.state.status().as_str())
        .bind(cluster.due_at().map(Timestamp::as_millis))
        .bind(record)
        .execute(connection)
        .await
        .map(drop))
}

/// The cluster, held by this transaction until its end: changes of one cluster follow one another.
///
/// # Errors
/// When the database refuses.
pub async fn lock(tx: &mut Tx, id: &ClusterId) -> Result<Option<Cluster>, sqlx::Error> {
    // SQLite has one writing transaction at a time, and needs no lock.
    let query = if tx.is_postgres() {
        "SELECT record FROM clusters WHERE id = $1 FOR UPDATE"
    } else {
        "SELECT record FROM clusters WHERE id = $1"
    };
    let record: Option<String> = on_tx!(tx, connection => sqlx::query_scalar(query)
        .bind(id.to_string())
        .fetch_optional(connection)
        .await)?;
    record.as_deref().map(from_text).transpose()
}

/// The cluster.
///
/// # Errors
/// When the database refuses.
pub async fn find(db: &Db, id: &ClusterId) -> Result<Option<Cluster>, sqlx::Error> {
    let record: Option<String> = on_db!(db, pool => sqlx::query_scalar("SELECT record FROM clusters WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(pool)
        .await)?;
    record.as_deref().map(from_text).transpose()
}

/// At most `limit` clusters in the order of their ids.
///
/// # Errors
/// When the database refuses.
pub async fn page(db: &Db, filter: &Filter, limit: u32) -> Result<Page, sqlx::Error> {
    let text = |name: &Option<Name>| name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default();
    // `,ready,failed,` so that one parameter holds them all.
    let statuses: String = filter.statuses.iter().map(|status| format!(",{status},")).collect();
    let rows: Vec<(String, String)> = on_db!(db, pool => sqlx::query_as(
            "SELECT id, record FROM clusters WHERE ($1 = '' OR user_name = $1) AND ($2 = '' OR product = $2) \
             AND ($3 = '' OR version = $3) AND ($4 = '' OR $4 LIKE '%,' || status || ',%') AND id > $5 \
             ORDER BY id LIMIT $6")
        .bind(text(&filter.user))
        .bind(text(&filter.product))
        .bind(text(&filter.version))
        .bind(statuses)
        .bind(filter.after.clone().unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?;
    Ok(Page::of(rows, limit))
}

/// At most `limit` clusters that are not destroyed, in the order of their ids, after this one.
///
/// # Errors
/// When the database refuses.
pub async fn page_alive(db: &Db, after: &str, limit: u32) -> Result<Page, sqlx::Error> {
    let rows: Vec<(String, String)> = on_db!(db, pool => sqlx::query_as(
            "SELECT id, record FROM clusters WHERE status <> 'destroyed' AND id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?;
    Ok(Page::of(rows, limit))
}

/// The ids of at most `limit` clusters that the timer has to look at ([`Cluster::due_at`]), the longest ago first.
///
/// # Errors
/// When the database refuses.
pub async fn overdue(db: &Db, now: Timestamp, limit: u32) -> Result<Vec<ClusterId>, sqlx::Error> {
    let ids: Vec<String> = on_db!(db, pool => sqlx::query_scalar(
            "SELECT id FROM clusters WHERE deadline_at_ms IS NOT NULL AND deadline_at_ms <= $1 \
             ORDER BY deadline_at_ms LIMIT $2")
        .bind(now.as_millis())
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await)?;
    ids.iter().map(|id| super::parsed(id)).collect()
}

/// How many clusters of a product are not destroyed.
///
/// # Errors
/// When the database refuses.
pub async fn count_of_product(tx: &mut Tx, product: &ProductRef) -> Result<u64, sqlx::Error> {
    let count: i64 = on_tx!(tx, connection => sqlx::query_scalar(
            "SELECT COUNT(*) FROM clusters WHERE product = $1 AND version = $2 AND status <> 'destroyed'")
        .bind(product.name.as_str())
        .bind(product.version.as_str())
        .fetch_one(connection)
        .await)?;
    Ok(super::unsigned(count))
}

/// Stores a revision by the number that its specification has.
///
/// # Errors
/// When the database refuses.
pub async fn insert_revision(tx: &mut Tx, revision: &NewRevision) -> Result<(), sqlx::Error> {
    let (text, terms) = (to_text(&revision.specification)?, to_text(&revision.terms)?);
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO revisions (cluster_id, revision, specification, terms) VALUES ($1, $2, $3, $4)")
        .bind(revision.specification.cluster.to_string())
        .bind(i64::from(revision.specification.revision))
        .bind(text)
        .bind(terms)
        .execute(connection)
        .await
        .map(drop))
}

/// The number of the next revision of a cluster that the transaction holds.
///
/// # Errors
/// When the database refuses.
pub async fn next_revision(tx: &mut Tx, cluster: &ClusterId) -> Result<u32, sqlx::Error> {
    let newest: Option<i64> = on_tx!(tx, connection => sqlx::query_scalar(
            "SELECT MAX(revision) FROM revisions WHERE cluster_id = $1")
        .bind(cluster.to_string())
        .fetch_one(connection)
        .await)?;
    Ok(u32::try_from(newest.unwrap_or(0)).unwrap_or(0).saturating_add(1))
}

/// A revision of a cluster that the transaction holds, with its terms where they are stored with it.
///
/// # Errors
/// When the database refuses.
pub async fn revision_in(
    tx: &mut Tx,
    cluster: &ClusterId,
    revision: u32,
) -> Result<Option<(Specification, Option<Terms>)>, sqlx::Error> {
    let row: Option<(String, Option<String>)> = on_tx!(tx, connection => sqlx::query_as(
            "SELECT specification, terms FROM revisions WHERE cluster_id = $1 AND revision = $2")
        .bind(cluster.to_string())
        .bind(i64::from(revision))
        .fetch_optional(connection)
        .await)?;
    let Some((specification, terms)) = row else { return Ok(None) };
    Ok(Some((from_text(&specification)?, terms.as_deref().map(from_text).transpose()?)))
}

/// Stores the terms of a revision that was stored without them.
///
/// # Errors
/// When the database refuses.
pub async fn keep_terms(tx: &mut Tx, cluster: &ClusterId, revision: u32, terms: &Terms) -> Result<(), sqlx::Error> {
    let terms = to_text(terms)?;
    on_tx!(tx, connection => sqlx::query(
            "UPDATE revisions SET terms = $3 WHERE cluster_id = $1 AND revision = $2 AND terms IS NULL")
        .bind(cluster.to_string())
        .bind(i64::from(revision))
        .bind(terms)
        .execute(connection)
        .await
        .map(drop))
}

/// What a cluster's present revision says beside its specification.
///
/// # Errors
/// When the database refuses.
pub async fn terms(db: &Db, cluster: &Cluster) -> Result<Terms, sqlx::Error> {
    let terms: Option<Option<String>> = on_db!(db, pool => sqlx::query_scalar(
            "SELECT terms FROM revisions WHERE cluster_id = $1 AND revision = $2")
        .bind(cluster.id.to_string())
        .bind(i64::from(cluster.revision))
        .fetch_optional(pool)
        .await)?;
    match terms.flatten() {
        Some(terms) => from_text(&terms),
        None => Ok(cluster.terms_unstored()),
    }
}

/// A revision.
///
/// # Errors
/// When the database refuses.
pub async fn revision(db: &Db, cluster: &ClusterId, revision: u32) -> Result<Option<Specification>, sqlx::Error> {
    let text: Option<String> = on_db!(db, pool => sqlx::query_scalar(
            "SELECT specification FROM revisions WHERE cluster_id = $1 AND revision = $2")
        .bind(cluster.to_string())
        .bind(i64::from(revision))
        .fetch_optional(pool)
        .await)?;
    text.as_deref().map(from_text).transpose()
}

/// Stores a sealed secret.
///
/// # Errors
/// When the database refuses.
pub async fn insert_secret(tx: &mut Tx, cluster: &ClusterId, name: &str, sealed: &str) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("INSERT INTO secrets (cluster_id, name, sealed) VALUES ($1, $2, $3)")
        .bind(cluster.to_string())
        .bind(name)
        .bind(sealed)
        .execute(connection)
        .await
        .map(drop))
}

/// A cluster's sealed secrets by name.
///
/// # Errors
/// When the database refuses.
pub async fn secrets(db: &Db, cluster: &ClusterId) -> Result<Vec<(String, String)>, sqlx::Error> {
    on_db!(db, pool => sqlx::query_as("SELECT name, sealed FROM secrets WHERE cluster_id = $1 ORDER BY name")
        .bind(cluster.to_string())
        .fetch_all(pool)
        .await)
}

/// A sealed secret of a cluster that the transaction holds.
///
/// # Errors
/// When the database refuses.
pub async fn secret(tx: &mut Tx, cluster: &ClusterId, name: &str) -> Result<Option<String>, sqlx::Error> {
    on_tx!(tx, connection => sqlx::query_scalar("SELECT sealed FROM secrets WHERE cluster_id = $1 AND name = $2")
        .bind(cluster.to_string())
        .bind(name)
        .fetch_optional(connection)
        .await)
}

/// Seals another value of a secret.
///
/// # Errors
/// When the database refuses.
pub async fn change_secret(tx: &mut Tx, cluster: &ClusterId, name: &str, sealed: &str) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("UPDATE secrets SET sealed = $3 WHERE cluster_id = $1 AND name = $2")
        .bind(cluster.to_string())
        .bind(name)
        .bind(sealed)
        .execute(connection)
        .await
        .map(drop))
}
