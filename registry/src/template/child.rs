//! The child's side: `PROGRAM __render`.

use super::{Context, Language, RenderReply, RenderRequest, engine};
use bigdata_sandbox::{RenderLimits, restrict_self};
use std::io::{Read, Write};
use std::process::ExitCode;

/// The largest request that is read, in bytes: a template, and options of a megabyte.
const REQUEST_MAX: u64 = 4 * 1024 * 1024;

/// What `PROGRAM __render` does: gives up everything but computing, waits for one [`RenderRequest`] on standard input and
/// writes one [`RenderReply`] to standard output, both JSON, the reply as a line. When nobody is there to ask any more, it
/// ends. Call it from a process without threads.
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
    warm_up();
    let mut bytes = Vec::new();
    std::io::stdin().take(REQUEST_MAX).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(());
    }
    let request: RenderRequest = serde_json::from_slice(&bytes)?;
    let reply: RenderReply = engine::answer(&request);
    let mut output = std::io::stdout().lock();
    serde_json::to_writer(&mut output, &reply)?;
    output.write_all(b"\n")?;
    output.flush()?;
    Ok(())
}

/// What takes longer the first time is done before anybody waits for it.
fn warm_up() {
    let source = r#"{"warm": [{% for number in [1, 2] %}{{ number }}, {% endfor %}3]}"#.to_owned();
    let context = Some(Context::default());
    engine::answer(&RenderRequest { source, language: Language::Json, strict: false, context });
}
