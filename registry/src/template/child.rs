//! The child's side: `PROGRAM __render`.

use super::{RenderReply, RenderRequest, engine};
use bigdata_sandbox::{RenderLimits, restrict_self};
use std::io::{Read, Write};
use std::process::ExitCode;

/// The largest request that is read, in bytes: a template, and options of a megabyte.
const REQUEST_MAX: u64 = 4 * 1024 * 1024;

/// What `PROGRAM __render` does: gives up everything but computing, reads one [`RenderRequest`] from standard input and
/// writes one [`RenderReply`] to standard output, both JSON. Call it from a process without threads.
pub fn render_child_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The one that asked reads it.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    restrict_self(&RenderLimits::default())?;
    let mut bytes = Vec::new();
    std::io::stdin().take(REQUEST_MAX).read_to_end(&mut bytes)?;
    let request: RenderRequest = serde_json::from_slice(&bytes)?;
    let reply: RenderReply = engine::answer(&request);
    let mut output = std::io::stdout().lock();
    serde_json::to_writer(&mut output, &reply)?;
    output.flush()?;
    Ok(())
}
