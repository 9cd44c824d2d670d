//! The registry as a process of its own; see docs/fleet.md.

use bigdata_chassis::program::{self, StartError};
use bigdata_registry::{MIGRATIONS, Settings, build, render_child_main};
use std::process::ExitCode;

/// The first argument of the process that renders templates.
const RENDER: &str = "__render";

fn main() -> ExitCode {
    // This program is started again for its small processes.
    bigdata_sandbox::main_if_requested();
    if std::env::args().nth(1).as_deref() == Some(RENDER) {
        return render_child_main();
    }
    program::run("registry", async |settings: Settings, start| {
        let deps = start.deps(&settings.listen.to_string(), MIGRATIONS).await?;
        build(settings, deps).await.map_err(StartError::of)
    })
}
