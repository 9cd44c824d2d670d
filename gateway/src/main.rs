//! The gateway as a process of its own; see docs/fleet.md.

use bigdata_chassis::Clock;
use bigdata_chassis::program::{self, StartError};
use bigdata_gateway::{GatewayDeps, Settings, build};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run("gateway", async |settings: Settings, start| {
        let (tasks, internal_token) = (start.tasks().clone(), start.token().clone());
        build(settings, GatewayDeps { clock: Clock::system(), tasks, internal_token }).await.map_err(StartError::of)
    })
}
