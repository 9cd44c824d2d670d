//! The commands, one file per noun.

pub(crate) mod admin;
pub(crate) mod cluster;
pub(crate) mod doctor;
pub(crate) mod launch;
pub(crate) mod node;
pub(crate) mod operation;
pub(crate) mod placement;
pub(crate) mod product;
pub(crate) mod run;
