//! Builders of calls. They only fill messages in; [`crate::client`] sends them.

pub mod executor;
pub mod scheduler;
