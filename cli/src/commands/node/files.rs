//! What is copied to a node and from it.

use super::{Node, framed};
use crate::client::escaped;
use crate::commands::input::Input;
use crate::context::Context;
use crate::failure::Failure;
use reqwest::{Body, Method};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The same for a file, for which nobody waits.
const FILE_PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn copy_to_output(node: &Node, context: &Context, rest: &str) -> Result<(), Failure> {
    let mut response = node.api.send(node.request(Method::GET, rest)).await?;
    while let Some(piece) = response.chunk().await.map_err(|error| Failure::of(&error))? {
        context.output.bytes(&piece)?;
    }
    Ok(())
}

/// The file appears when it is whole.
pub(super) async fn save(node: &Node, rest: &str, file: &Path) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::Usage(format!("{} cannot be written: {error}", file.display()));
    let mut response = node.api.send(node.request(Method::GET, rest)).await?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let temporary = Temporary(file.with_file_name(format!(".{name}.{}", std::process::id())));
    let mut out = std::fs::File::create(&temporary.0).map_err(cannot)?;
    while let Some(piece) = response.chunk().await.map_err(|error| Failure::of(&error))? {
        out.write_all(&piece).map_err(cannot)?;
    }
    std::fs::rename(&temporary.0, file).map_err(cannot)
}

/// A file that goes where it did not become another one.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(super) async fn put(
    node: &Node,
    context: &Context,
    path: &str,
    from: Option<PathBuf>,
    mode: Option<String>,
    late: bool,
) -> Result<(), Failure> {
    let input = match from {
        Some(file) => {
            let cannot = |error| Failure::Usage(format!("{} cannot be read: {error}", file.display()));
            Input::begin(std::fs::File::open(&file).map_err(cannot)?, FILE_PATIENCE).await.map_err(cannot)?
        }
        None => Input::begin(std::io::stdin(), FILE_PATIENCE).await?,
    };
    let mode = mode.map(|mode| format!("&mode={}", escaped(&mode))).unwrap_or_default();
    let rest = format!("/files?path={}&late={late}{mode}", escaped(path));
    let request = node.request(Method::PUT, &rest);
    let request = match input {
        Input::Whole(content) => request.body(content),
        input @ Input::Stream(..) => framed(request).body(Body::wrap_stream(Box::pin(input.frames()))),
    };
    let answer = node.api.send(request).await?;
    if !context.output.json {
        return Ok(());
    }
    let answer: Value = answer.json().await.unwrap_or(Value::Null);
    context.output.json(&answer)
}
