//! Bodies of the public API, below [`PREFIX`].

pub mod change;
pub mod cluster;
pub mod explain;
pub mod operation;
pub mod orphan;
pub mod problem;
pub mod product;

/// Where the public API begins.
pub const PREFIX: &str = "/bigdata/api/v1";
