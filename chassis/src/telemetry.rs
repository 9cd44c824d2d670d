//! Logs: readable lines for people or JSON for machines, on standard error.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How to log.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// What is logged, in the syntax of tracing's filters (`info`, `warn,bigdata_framework=debug`).
    pub filter: String,
    /// JSON lines instead of readable ones.
    pub json: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false }
    }
}

/// Starts logging to `writer` for this process. A second call changes nothing.
pub fn init<W>(settings: &LogSettings, writer: W)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(true);
    // Only the first subscriber of a process counts; tests call this many times.
    let _ = if settings.json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
}
