//! The orchestrator as a process of its own; see docs/fleet.md.

use bigdata_chassis::program::{self, StartError};
use bigdata_orchestrator::{MIGRATIONS, Settings, build};
use std::process::ExitCode;

fn main() -> ExitCode {
    // This program is started again around every script.
    bigdata_sandbox::main_if_requested();
    let check = |settings: &Settings| settings.check().map_err(StartError::of);
    program::run_checked("orchestrator", check, async |settings: Settings, start| {
        let deps = start.deps(&settings.listen, MIGRATIONS).await?;
        build(settings, deps).await.map_err(StartError::of)
    })
}
