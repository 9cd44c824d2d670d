//! The real program, from its command line to the nodes' processes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod canaries;
mod changes;
mod clusters;
mod containers;
mod demo;
#[path = "../../../executor/tests/it/engine.rs"]
#[allow(dead_code, reason = "these tests want less of it than those that it was made for")]
mod engine;
mod fabric;
mod failures;
mod hostile;
mod late_catalog;
mod licences;
mod older;
mod platform;
mod rights;
mod support;
mod sweep;
mod tidy;
mod trial;
mod units;
