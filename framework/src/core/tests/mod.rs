//! Scenarios and a simulation over the pure core.

mod brake;
mod gone;
mod ground;
mod heard;
mod interfaces;
mod lost_agents;
mod master;
mod memory;
mod quarantine;
mod releases;
mod scenarios;
mod simulation;
mod unready;
mod wishes;
mod world;
