//! What a workload says of itself in figures: the output of the command that its node declares for it.

use crate::node::Fixture;
use crate::process::in_words;
use crate::runtime::Errand;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long the command may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How long its figures are given again: a page that asks every second must not load the workload.
const KEPT: Duration = Duration::from_secs(1);
/// The longest output that is taken, in bytes.
const OUTPUT_MAX: u64 = 64 << 10;
/// How much of what it writes to standard error is told, in bytes.
const ERROR_MAX: u64 = 500;

/// The figures of a moment ago. Whoever asks while they are found waits for them.
#[derive(Default)]
pub(super) struct Figures(Mutex<Option<(Instant, Result<Value, String>)>>);

impl Figures {
    /// The workload's figures, or why there are none; None where the node declares no command.
    pub(super) async fn of(&self, fixture: &Fixture) -> Option<Result<Value, String>> {
        fixture.surroundings.node.blueprint.stats.as_ref()?;
        let mut last = self.0.lock().await;
        if let Some((at, figures)) = &*last
            && at.elapsed() < KEPT
        {
            return Some(figures.clone());
        }
        let figures = run(fixture).await;
        *last = Some((Instant::now(), figures.clone()));
        Some(figures)
    }
}

async fn run(fixture: &Fixture) -> Result<Value, String> {
    let surroundings = &fixture.surroundings;
    let command = surroundings.node.blueprint.stats.as_ref().ok_or("no command is declared")?;
    let arguments = surroundings.arguments(command).map_err(|error| error.to_string())?;
    let errand = Errand { arguments, group: "stats".to_owned(), limit: LIMIT, reads: false, beside_workload: true };
    let started = fixture.runtime.command(surroundings, errand).await;
    let (mut job, output) = started.map_err(|error| format!("the stats command: {error}"))?;
    let read = async { tokio::join!(taken(output.stdout, OUTPUT_MAX + 1), taken(output.stderr, ERROR_MAX)) };
    let (report, (stdout, stderr)) = tokio::join!(job.ended(), read);
    if !report.as_ref().is_some_and(|report| report.ending.is_success()) {
        let words = in_words(report.as_ref(), &surroundings.limits());
        let said = String::from_utf8_lossy(&stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).map(|line| format!(": {line}"));
        return Err(format!("the stats command {words}{}", last.unwrap_or_default()));
    }
    if stdout.len() as u64 > OUTPUT_MAX {
        return Err(format!("the stats command writes more than {OUTPUT_MAX} bytes"));
    }
    match serde_json::from_slice(&stdout) {
        Ok(figures @ Value::Object(_)) => Ok(figures),
        Ok(_) => Err("the stats command writes no JSON object".to_owned()),
        Err(error) => Err(format!("the stats command writes no JSON: {error}")),
    }
}

/// The first bytes of an output; the rest is read, too, so that nobody waits for a reader.
async fn taken(mut pipe: impl AsyncRead + Unpin, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if (&mut pipe).take(limit).read_to_end(&mut bytes).await.is_ok() {
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    bytes
}
