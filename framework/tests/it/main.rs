//! The whole service against the real engine, with a registry that speaks the internal routes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod expelled;
mod leadership;
mod registry;
mod service;
mod stage;
mod wishes;
