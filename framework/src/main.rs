//! The framework as a process of its own; see docs/fleet.md.

use bigdata_chassis::program::{self, StartError};
use bigdata_framework::{MIGRATIONS, Settings, build};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run("framework", async |settings: Settings, start| {
        let deps = start.deps(&settings.listen, MIGRATIONS).await?;
        build(settings, deps).await.map_err(StartError::of)
    })
}
