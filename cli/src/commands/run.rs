//! `bigdata progress` and `bigdata output`: what a product's script tells of its own run.

use crate::context::Context;
use crate::failure::Failure;
use clap::Args;
use reqwest::Method;
use serde_json::json;
use std::io::Read;

/// Tells how far the script is.
#[derive(Debug, Args)]
pub(crate) struct Progress {
    /// Per cent
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
    /// What is going on
    message: Vec<String>,
}

/// Publishes values.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// KEY=VALUE, or KEY alone: its value is read from standard input
    #[arg(required = true, value_name = "KEY=VALUE")]
    values: Vec<String>,
    /// They are secret: masked wherever they are read
    #[arg(long, conflicts_with = "endpoint")]
    secret: bool,
    /// They are addresses of the cluster, of this role (`web`, `writer`, ...)
    #[arg(long, value_name = "ROLE", num_args = 0..=1, default_missing_value = "")]
    endpoint: Option<String>,
}

/// Sends the progress.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn progress(command: Progress, context: &Context) -> Result<(), Failure> {
    let api = context.script_api()?;
    let body = json!({ "percent": command.percent, "message": command.message.join(" ") });
    api.send(api.request(Method::POST, "/progress").json(&body)).await.map(drop)
}

/// Sends the values, one by one over one connection.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn output(command: Output, context: &Context) -> Result<(), Failure> {
    let api = context.script_api()?;
    for pair in &command.values {
        let (key, value) = match pair.split_once('=') {
            Some((key, value)) => (key, value.to_owned()),
            None => (pair.as_str(), from_input()?),
        };
        let body = json!({ "key": key, "value": value, "secret": command.secret, "endpoint": command.endpoint });
        api.send(api.request(Method::POST, "/output").json(&body)).await?;
    }
    Ok(())
}

fn from_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text.trim_end_matches('\n').to_owned())
}
