//! The registry's tables. Every function is one statement or a few on the transaction or database that it is given;
//! what belongs together is put together by the callers.

pub mod backups;
pub mod clusters;
pub mod engines;
pub mod events;
pub mod freshness;
pub mod idempotency;
pub mod identity;
pub mod invariants;
pub mod launches;
pub mod met;
pub mod nodes;
pub mod operations;
pub mod outputs;
pub mod products;
pub mod wishes;
pub mod written;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A document's column.
fn to_text(value: &impl Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// A document from its column.
fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A column's value by the parser of its type.
fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> Result<T, sqlx::Error> {
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A number of ours in a database's; sequences and counts never come near the limit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A database's number in ours; what we store is never negative.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
