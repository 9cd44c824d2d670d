//! Scenarios and a simulation over the pure core.

mod ground;
mod heard;
mod lost_agents;
mod master;
mod memory;
mod quarantine;
mod releases;
mod scenarios;
mod simulation;
mod world;
