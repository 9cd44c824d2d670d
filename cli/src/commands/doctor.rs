//! `bigdata doctor`: what this machine and user allow, and what that means.

use crate::context::Context;
use crate::failure::Failure;
use bigdata_executor::container::{Engine, Settings};
use bigdata_sandbox::{Capabilities, Capability};
use serde_json::json;
use std::time::Duration;

/// How long a container engine may take to answer.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

/// Prints what was found out.
///
/// # Errors
/// When the machine cannot be asked.
pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let capabilities = Capabilities::probe(&program).map_err(|error| Failure::of(&error))?;
    let mut found: Vec<(&str, Capability)> =
        capabilities.list().into_iter().map(|(name, capability)| (name, capability.clone())).collect();
    found.push(("container engine", container_engine().await));
    found.push(("python3", python()));
    if context.output.json {
        let map: serde_json::Map<String, serde_json::Value> =
            found.into_iter().map(|(name, capability)| (name.to_owned(), json!(capability))).collect();
        return context.output.json(&map);
    }
    let rows = found.into_iter().map(|(name, capability)| {
        let word = if capability.available { "yes" } else { "no" };
        [name.to_owned(), word.to_owned(), capability.explanation]
    });
    context.output.table(["part", "there", "meaning"], rows.collect(), "")
}

/// The engine that executors would use, and what nodes get of it.
async fn container_engine() -> Capability {
    match Engine::find(&Settings::from_environment(), ENGINE_PATIENCE).await {
        Ok(engine) => Capability {
            available: true,
            explanation: format!(
                "{} at {}: nodes with a docker_image can run as containers{}",
                engine.name,
                engine.socket.display(),
                engine.limits.iter().map(|limit| format!("; {limit}")).collect::<String>()
            ),
        },
        Err(reason) => Capability {
            available: false,
            explanation: format!("{reason}: nodes run as processes, by their template's command"),
        },
    }
}

fn python() -> Capability {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&paths).map(|folder| folder.join("python3")).find(|path| path.is_file()) {
        Some(path) => Capability {
            available: true,
            explanation: format!("{}: scripts without a #! line run by it", path.display()),
        },
        None => Capability {
            available: false,
            explanation: "scripts without a #! line cannot run: they are taken for Python".to_owned(),
        },
    }
}
