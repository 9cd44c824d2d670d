//! The Mesos v1 HTTP API, both sides of it.
//!
//! From the wire up: [`v1`] are the messages, [`recordio`] frames them, [`resources`] counts what they offer,
//! [`validate`] refuses what prost lets through, [`event`] is what arrives once checked, [`call`] builds what is sent.
//! None of these does I/O. On top of them stand [`client`] (a framework's scheduler and its executors) and, behind the
//! feature `engine`, [`engine`]: a master and an agent for one machine behind the same API.
//!
//! **Invariant:** this crate knows nothing of products, clusters or nodes, and depends on no other crate of the
//! workspace.

pub mod call;
#[cfg(feature = "client")]
pub mod client;
pub mod event;
pub mod recordio;
pub mod resources;
pub mod v1;
pub mod validate;

#[cfg(feature = "engine")]
pub mod engine;

/// The content type of every body of the API, both ways.
pub const PROTOBUF: &str = "application/x-protobuf";

/// The header that binds a scheduler's calls to its subscription.
pub const STREAM_ID: &str = "Mesos-Stream-Id";

/// The longest record or body that is accepted, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
