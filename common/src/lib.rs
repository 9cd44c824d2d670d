//! The vocabulary that the services share: what crosses a process boundary, and nothing else.
//!
//! A type belongs here only if it crosses a process boundary, is plain serde and is used by two crates today.
//! Reading order: [`name`], [`id`], [`status`], [`blueprint`], [`event`], [`internal`], [`api`].
//!
//! **Invariant:** this crate does no I/O, reads no clock and knows no database, bus or web framework.

pub mod api;
pub mod blueprint;
pub mod container_options;
pub mod event;
pub mod frames;
pub mod id;
pub mod internal;
pub mod invariants;
pub mod name;
pub mod principal;
pub mod script;
pub mod status;
pub mod time;

pub use id::{AttemptId, BackupId, ClusterDn, ClusterId, EventId, OperationId, ProductRef, RunId};
pub use name::Name;
pub use principal::{Principal, Role};
pub use time::Timestamp;
