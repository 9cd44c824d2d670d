//! The registry's own identity, and the numbers that it gives.

use super::{parsed, signed, unsigned};
use bigdata_chassis::{Db, Tx, on_tx};
use bigdata_common::{Name, ProductRef};
use uuid::Uuid;

/// The registry's id: made at the first start, and the same ever after.
///
/// # Errors
/// When the database refuses.
pub async fn registry_id(db: &Db) -> Result<Uuid, sqlx::Error> {
    let mut tx = db.begin().await?;
    on_tx!(tx, connection => sqlx::query(
            "INSERT INTO registry_facts (name, value) VALUES ('id', $1) ON CONFLICT (name) DO NOTHING")
        .bind(Uuid::new_v4().to_string())
        .execute(connection)
        .await
        .map(drop))?;
    let text: String = on_tx!(tx, connection => sqlx::query_scalar("SELECT value FROM registry_facts WHERE name = 'id'")
        .fetch_one(connection)
        .await)?;
    tx.commit().await?;
    parsed(&text)
}

/// The number that the user's next cluster of this product gets: nobody else takes it until the end of this transaction.
/// A first number cannot be held so: [`take_number`] says whether it was free.
///
/// # Errors
/// When the database refuses.
pub async fn hold_number(tx: &mut Tx, user: &Name, product: &ProductRef) -> Result<u64, sqlx::Error> {
    // SQLite has one writing transaction at a time, and needs no lock.
    let query = if tx.is_postgres() {
        "SELECT last FROM numbers WHERE user_name = $1 AND product = $2 AND version = $3 FOR UPDATE"
    } else {
        "SELECT last FROM numbers WHERE user_name = $1 AND product = $2 AND version = $3"
    };
    let last: Option<i64> = on_tx!(tx, connection => sqlx::query_scalar(query)
        .bind(user.as_str())
        .bind(product.name.as_str())
        .bind(product.version.as_str())
        .fetch_optional(connection)
        .await)?;
    Ok(unsigned(last.unwrap_or(0)) + 1)
}

/// Takes the number if it is still the next; false where another launch was faster.
///
/// # Errors
/// When the database refuses.
pub async fn take_number(tx: &mut Tx, user: &Name, product: &ProductRef, number: u64) -> Result<bool, sqlx::Error> {
    let taken = on_tx!(tx, connection => sqlx::query(
            "INSERT INTO numbers (user_name, product, version, last) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (user_name, product, version) DO UPDATE SET last = excluded.last \
             WHERE numbers.last = excluded.last - 1")
        .bind(user.as_str())
        .bind(product.name.as_str())
        .bind(product.version.as_str())
        .bind(signed(number))
        .execute(connection)
        .await
        .map(|result| result.rows_affected()))?;
    Ok(taken == 1)
}
