//! The commands, one file per noun.

pub(crate) mod action;
pub(crate) mod admin;
pub(crate) mod backup;
pub(crate) mod backups;
pub(crate) mod change;
pub(crate) mod cluster;
pub(crate) mod connect;
pub(crate) mod doctor;
mod input;
pub(crate) mod launch;
pub(crate) mod node;
pub(crate) mod operation;
pub(crate) mod placement;
pub(crate) mod product;
pub(crate) mod run;
