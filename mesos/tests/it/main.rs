//! The crate against a real Mesos, and the engine beside it.
//!
//! [`conformance`] holds the bodies, each written once for "a master at a URL"; here each is run on both.

#![expect(clippy::unwrap_used, reason = "a test fails where something is not as it must be")]

mod client_only;
mod conformance;
mod engine_only;
mod executors_only;
mod mesos_only;
mod support;
mod whole_disks;
mod zookeeper;
