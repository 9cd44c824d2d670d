//! Changes of ready clusters: what other options, another version or a former revision would do to the nodes, and the
//! request for it.
//!
//! [`plan`] compares, pure; [`prepare`] renders and compares; [`request`] asks for what was prepared in one transaction, and
//! keeps what was [`asked`], so that it can be asked again.

pub(crate) mod asked;
mod compare;
pub mod plan;
pub(crate) mod prepare;
pub(crate) mod request;
mod standing;
#[cfg(test)]
mod tests;

pub use plan::{Comparison, Former, Present, StandIn, StandIns, compare};
