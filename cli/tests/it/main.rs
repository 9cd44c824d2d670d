//! The real program, from its command line to the nodes' processes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clusters;
mod demo;
mod failures;
mod hostile;
mod licences;
mod older;
mod platform;
mod support;
mod sweep;
mod tidy;
