//! The whole executor process, driven over the APIs that it speaks.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may what only tests call")]

mod bounds;
mod container_ends;
mod container_networks;
mod containers;
mod control;
mod door;
mod engine;
mod harness;
mod life;
mod platform;
mod program;
mod registry;
mod streams;
mod tidy;
