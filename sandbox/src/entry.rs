//! Where the re-executed program turns into a supervisor, a launcher or a probe.

use std::{env, ffi::OsStr, process};

use crate::{capabilities, launcher, supervisor};

/// The first argument that turns a program into a sandbox.
pub const SUBCOMMAND: &str = "__sandbox";

/// The second argument of the stage that becomes the command.
pub(crate) const LAUNCH: &str = "launch";

/// The second argument of the child that tries out what this machine allows.
pub(crate) const PROBE: &str = "probe";

/// Call this first in `main`: in a process that was started as `PROGRAM __sandbox` it does that process's work and exits;
/// in every other it returns at once. It needs a process without threads.
pub fn main_if_requested() {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(SUBCOMMAND)) {
        return;
    }
    let code = match arguments.next().as_deref().and_then(OsStr::to_str) {
        Some(LAUNCH) => launcher::main(),
        Some(PROBE) => capabilities::main(),
        // Nothing, or `--` and a label.
        _ => supervisor::main(),
    };
    process::exit(code);
}
