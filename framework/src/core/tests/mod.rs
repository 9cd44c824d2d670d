//! Scenarios and a simulation over the pure core.

mod master;
mod memory;
mod scenarios;
mod simulation;
mod world;
