//! The framework's database: what the core writes, and the state that is rebuilt from it.

mod leadership;
mod load;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use leadership::{Acquired, Claim, acquire, release, renew};
pub(crate) use load::{load, registry_id, set_registry_id};
pub(crate) use write::{commit, is_lasting};

/// Why the database does not do what is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It refuses, or is away.
    #[error("the framework's database cannot be used")]
    Database(#[from] sqlx::Error),
    /// Another replica leads: nothing was written.
    #[error("another replica of the framework leads")]
    LostLeadership,
    /// A row of it cannot be read.
    #[error("a row of the table {table} cannot be read")]
    Document {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}
