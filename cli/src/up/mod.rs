//! `bigdata up`: the only place that knows every service. It builds them in one process, around one bus and one engine.

pub(crate) mod catalog;
mod containers;
mod data_directory;
mod host;
mod log;
mod platform;
mod ports;
mod program;
mod settings;
mod signals;

pub(crate) use platform::Platform;
pub(crate) use settings::Settings;
pub(crate) use signals::Signals;

use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Runs the platform until it is told to stop.
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Leave the nodes running when the platform is stopped
    #[arg(long)]
    keep_nodes: bool,
    /// Do not register the shipped products
    #[arg(long)]
    no_catalog: bool,
}

/// What every command that may run the platform takes.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Where to answer; a loopback address
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where to keep everything
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What nodes may use, as cpus=4,mem=8192,disk=20000 (MiB); what the machine has otherwise
    #[arg(long, value_name = "AMOUNTS")]
    resources: Option<String>,
    /// Log to standard error instead of DATA/log/bigdata.log
    #[arg(long)]
    log_stderr: bool,
}

/// Which settings to print.
#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Flags {
    /// The settings with these flags and those of the caller.
    ///
    /// # Errors
    /// When a setting is unknown or not as it should be.
    pub(crate) fn settings(&self, mut more: Vec<(&'static str, String)>) -> Result<Settings, Failure> {
        more.extend(self.listen.clone().map(|listen| ("listen", listen)));
        more.extend(self.data_dir.as_ref().map(|path| ("data_dir", path.display().to_string())));
        more.extend(self.resources.clone().map(|resources| ("resources", resources)));
        more.extend(self.log_stderr.then(|| ("log_stderr", "true".to_owned())));
        Settings::load(self.config.as_deref(), &more)
    }
}

/// Runs the platform.
///
/// # Errors
/// When it cannot be started, or one of its parts failed.
pub(crate) async fn run(command: Up, output: Output) -> Result<(), Failure> {
    let mut flags = Vec::new();
    flags.extend(command.keep_nodes.then(|| ("keep_nodes", "true".to_owned())));
    flags.extend(command.no_catalog.then(|| ("catalog", "false".to_owned())));
    let settings = command.flags.settings(flags)?;
    settings.check()?;
    let signals = signals::Signals::new()?;
    let platform = Platform::start(settings).await?;
    let directory = platform.data_directory().display();
    if output.json {
        output.json(&json!({
            "url": platform.url(),
            "data_dir": platform.data_directory(),
            "pid": std::process::id(),
        }))?;
    } else {
        output.line(format!(
            "bigdata answers at {} (data in {directory}, pid {})",
            platform.url(),
            std::process::id()
        ))?;
    }
    platform.run_until(signals).await
}

/// Prints the settings as `up` would use them.
///
/// # Errors
/// When one is unknown or not as it should be.
pub(crate) fn config(command: &ConfigArguments, output: Output) -> Result<(), Failure> {
    let settings = Settings::load(command.config.as_deref(), &[])?;
    if output.json {
        return output.json(&settings.document()?);
    }
    output.line(settings.toml()?.trim_end())
}
