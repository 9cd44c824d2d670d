//! The registry from outside: its status machine, its templates, and its API over real HTTP on both databases.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod attacks;
mod backups;
mod bad_input;
mod blueprints;
mod changes;
mod compat;
mod containers;
mod course;
mod fleet;
mod freshness;
mod invariants;
mod launches;
mod lifecycle;
mod products;
mod retries;
mod secrets;
mod stale;
mod streams;
mod support;
mod templates;
mod upkeep;
mod work;
