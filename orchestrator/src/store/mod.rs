//! The service's tables.

mod backups;
mod leases;
mod lines;
mod outputs;
mod pruning;
mod runs;
#[cfg(test)]
mod tests;
mod under_way;

pub(crate) use leases::Lease;
pub(crate) use lines::{LogOf, NewLine};
pub(crate) use outputs::{OUTPUTS_MAX, StoredOutput};
pub(crate) use runs::{Claim, StoredRun, Supervisor, key};
pub(crate) use under_way::UnderWay;

use bigdata_chassis::secret::{Vault, VaultError};
use bigdata_chassis::{Clock, Db};

/// The tables, with the time and the key that they need.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) vault: Vault,
}

/// Why the tables did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database refused.
    #[error("the database refused")]
    Database(#[from] sqlx::Error),
    /// A stored secret cannot be opened.
    #[error("an output cannot be opened")]
    Vault(#[from] VaultError),
    /// A row does not hold what it should.
    #[error("a row of {table} cannot be read: {what}")]
    Row {
        /// The table.
        table: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The cluster has as many outputs as it may have.
    #[error("a cluster has at most {OUTPUTS_MAX} outputs")]
    TooManyOutputs,
    /// Somebody else drives the cluster now, or the attempt is over.
    #[error("this attempt no longer holds its cluster")]
    Overtaken,
}

/// A text as both engines take it: Postgres refuses the character NUL.
pub(crate) fn storable(text: &str) -> std::borrow::Cow<'_, str> {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}").into(),
        false => text.into(),
    }
}

/// A count as databases keep it.
pub(crate) fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
