//! For the tests: the program that renders templates, as the composition root has it.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("__render") => bigdata_registry::render_child_main(),
        _ => ExitCode::FAILURE,
    }
}
