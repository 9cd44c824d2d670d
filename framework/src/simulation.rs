//! For the benches of this crate: the pure core and the store as the service drives them, against a simulated master.
//!
//! No part of the service, and no promise.

mod database;
mod fleet;
mod world;

pub use database::{Filled, fill};
pub use fleet::{Fleet, Placed, Shape};
