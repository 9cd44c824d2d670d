//! Products.

use super::{from_text, parsed, to_text, unsigned};
use crate::product::Product;
use bigdata_chassis::{Db, Tx, on_db, on_tx};
use bigdata_common::api::product::ProductRights;
use bigdata_common::{Name, ProductRef};

/// A product's row.
#[derive(sqlx::FromRow)]
pub(super) struct Raw {
    name: String,
    version: String,
    description: String,
    logo_url: String,
    template: Option<String>,
    template_language: String,
    options: Option<String>,
    orchestrator: Option<String>,
    actions: Option<String>,
    reach_network: i64,
    container_rights: Option<String>,
    revision: String,
}

impl Raw {
    pub(super) fn read(self) -> Result<Product, sqlx::Error> {
        Ok(Product {
            reference: ProductRef { name: parsed(&self.name)?, version: parsed(&self.version)? },
            description: self.description,
            logo_url: self.logo_url,
            template: self.template,
            language: parsed(&self.template_language)?,
            options: self.options,
            orchestrator: self.orchestrator,
            actions: self.actions,
            reach_network: self.reach_network == 1,
            container_rights: rights(self.container_rights.as_deref())?,
            revision: self.revision,
        })
    }
}

fn rights(text: Option<&str>) -> Result<ProductRights, sqlx::Error> {
    text.map_or_else(|| Ok(ProductRights::default()), from_text)
}

const COLUMNS: &str = "SELECT name, version, description, logo_url, template, template_language, options, orchestrator, \
                       actions, reach_network, container_rights, revision FROM products WHERE name = $1 AND version = $2";

/// The product.
///
/// # Errors
/// When the database refuses.
pub async fn find(db: &Db, product: &ProductRef) -> Result<Option<Product>, sqlx::Error> {
    let raw: Option<Raw> = on_db!(db, pool => sqlx::query_as(COLUMNS)
        .bind(product.name.as_str())
        .bind(product.version.as_str())
        .fetch_optional(pool)
        .await)?;
    raw.map(Raw::read).transpose()
}

/// Whether the product is there; it stays until the end of this transaction. Others may look so at the same time.
///
/// # Errors
/// When the database refuses.
pub async fn keep(tx: &mut Tx, product: &ProductRef) -> Result<bool, sqlx::Error> {
    let query = if tx.is_postgres() {
        "SELECT revision FROM products WHERE name = $1 AND version = $2 FOR KEY SHARE"
    } else {
        "SELECT revision FROM products WHERE name = $1 AND version = $2"
    };
    let revision: Option<String> = on_tx!(tx, connection => sqlx::query_scalar(query)
        .bind(product.name.as_str())
        .bind(product.version.as_str())
        .fetch_optional(connection)
        .await)?;
    Ok(revision.is_some())
}

/// The product, held by this transaction until its end.
///
/// # Errors
/// When the database refuses.
pub async fn lock(tx: &mut Tx, product: &ProductRef) -> Result<Option<Product>, sqlx::Error> {
    const LOCKED: &str = "SELECT name, version, description, logo_url, template, template_language, options, \
                          orchestrator, actions, reach_network, container_rights, revision FROM products \
                          WHERE name = $1 AND version = $2 FOR UPDATE";
    let query = if tx.is_postgres() { LOCKED } else { COLUMNS };
    let raw: Option<Raw> = on_tx!(tx, connection => sqlx::query_as(query)
        .bind(product.name.as_str())
        .bind(product.version.as_str())
        .fetch_optional(connection)
        .await)?;
    raw.map(Raw::read).transpose()
}

/// Stores a new product; false where there is one of its name and version, also where it was stored at the same time.
///
/// # Errors
/// When the database refuses.
pub async fn insert(tx: &mut Tx, product: &Product) -> Result<bool, sqlx::Error> {
    let query = "INSERT INTO products (name, version, description, logo_url, template, template_language, options, \
                 orchestrator, reach_network, revision, actions, container_rights) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (name, version) DO NOTHING";
    Ok(write(tx, query, product).await? == 1)
}

/// Stores a product that [`lock`] gave.
///
/// # Errors
/// When the database refuses.
pub async fn update(tx: &mut Tx, product: &Product) -> Result<(), sqlx::Error> {
    let query = "UPDATE products SET description = $3, logo_url = $4, template = $5, template_language = $6, \
                 options = $7, orchestrator = $8, reach_network = $9, revision = $10, actions = $11, \
                 container_rights = $12 WHERE name = $1 AND version = $2";
    write(tx, query, product).await.map(drop)
}

async fn write(tx: &mut Tx, query: &'static str, product: &Product) -> Result<u64, sqlx::Error> {
    let rights = (product.container_rights != ProductRights::default()).then_some(&product.container_rights);
    let rights = rights.map(to_text).transpose()?;
    on_tx!(tx, connection => sqlx::query(query)
        .bind(product.reference.name.as_str())
        .bind(product.reference.version.as_str())
        .bind(&product.description)
        .bind(&product.logo_url)
        .bind(&product.template)
        .bind(product.language.as_str())
        .bind(&product.options)
        .bind(&product.orchestrator)
        .bind(i64::from(product.reach_network))
        .bind(&product.revision)
        .bind(&product.actions)
        .bind(&rights)
        .execute(connection)
        .await
        .map(|result| result.rows_affected()))
}

/// Deletes a product; its clusters' revisions stay.
///
/// # Errors
/// When the database refuses.
pub async fn delete(tx: &mut Tx, product: &ProductRef) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query("DELETE FROM products WHERE name = $1 AND version = $2")
        .bind(product.name.as_str())
        .bind(product.version.as_str())
        .execute(connection)
        .await
        .map(drop))
}

/// Keeps a product as it is for the clusters that are made of it, by its revision.
///
/// # Errors
/// When the database refuses.
pub async fn keep_content(tx: &mut Tx, product: &Product) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO product_contents (revision, content) VALUES ($1, $2) ON CONFLICT (revision) DO NOTHING")
        .bind(&product.revision)
        .bind(to_text(product)?)
        .execute(connection)
        .await
        .map(drop))
}

/// A product as it was in this revision; None where no cluster was made of it since these are kept.
///
/// # Errors
/// When the database refuses.
pub async fn content(db: &Db, revision: &str) -> Result<Option<Product>, sqlx::Error> {
    let content: Option<String> = on_db!(db, pool => sqlx::query_scalar("SELECT content FROM product_contents WHERE revision = $1")
            .bind(revision)
            .fetch_optional(pool)
            .await)?;
    content.as_deref().map(from_text).transpose()
}

/// What a list says of a product.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The product.
    pub reference: ProductRef,
    /// One line for people.
    pub description: String,
    /// Address of a picture.
    pub logo_url: String,
    /// Content hash.
    pub revision: String,
    /// Whether it has a template.
    pub has_template: bool,
    /// How many clusters of it are not destroyed.
    pub clusters: u64,
    /// What its containers may do on the machine.
    pub container_rights: ProductRights,
}

#[derive(sqlx::FromRow)]
struct RawListed {
    name: String,
    version: String,
    description: String,
    logo_url: String,
    revision: String,
    has_template: i64,
    clusters: i64,
    container_rights: Option<String>,
}

/// Every product, or every version of one; unsorted.
///
/// # Errors
/// When the database refuses.
pub async fn list(db: &Db, name: Option<&Name>, version: Option<&Name>) -> Result<Vec<Listed>, sqlx::Error> {
    let rows: Vec<RawListed> = on_db!(db, pool => sqlx::query_as(
            "SELECT p.name, p.version, p.description, p.logo_url, p.revision, p.container_rights, \
             CAST(CASE WHEN p.template IS NULL THEN 0 ELSE 1 END AS BIGINT) AS has_template, \
             (SELECT COUNT(*) FROM clusters c WHERE c.product = p.name AND c.version = p.version \
             AND c.status <> 'destroyed') AS clusters \
             FROM products p WHERE ($1 = '' OR p.name = $1) AND ($2 = '' OR p.version = $2)")
        .bind(name.map_or("", Name::as_str))
        .bind(version.map_or("", Name::as_str))
        .fetch_all(pool)
        .await)?;
    rows.into_iter()
        .map(|row| {
            Ok(Listed {
                reference: ProductRef { name: parsed(&row.name)?, version: parsed(&row.version)? },
                description: row.description,
                logo_url: row.logo_url,
                revision: row.revision,
                has_template: row.has_template == 1,
                clusters: unsigned(row.clusters),
                container_rights: rights(row.container_rights.as_deref())?,
            })
        })
        .collect()
}
