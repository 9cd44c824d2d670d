//! `bigdata doctor`: what this machine and user allow, and what that means.

use crate::context::Context;
use crate::failure::Failure;
use bigdata_sandbox::{Capabilities, Capability};
use serde_json::json;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Prints what was found out.
///
/// # Errors
/// When the machine cannot be asked.
pub(crate) fn run(context: &Context) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let capabilities = Capabilities::probe(&program).map_err(|error| Failure::of(&error))?;
    let mut found: Vec<(&str, Capability)> =
        capabilities.list().into_iter().map(|(name, capability)| (name, capability.clone())).collect();
    found.push(("container engine", container_engine()));
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

/// The socket of Docker, or of Podman, which serves the same API.
fn container_engine() -> Capability {
    let named = std::env::var("DOCKER_HOST").ok().and_then(|host| host.strip_prefix("unix://").map(PathBuf::from));
    let user = std::env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("podman/podman.sock"));
    let usual = ["/var/run/docker.sock", "/run/podman/podman.sock"].map(PathBuf::from);
    let socket = named
        .into_iter()
        .chain(usual)
        .chain(user)
        .find(|path| std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()));
    match socket {
        Some(path) => Capability {
            available: true,
            explanation: format!("{}: nodes with a docker_image can run as containers", path.display()),
        },
        None => Capability {
            available: false,
            explanation: "no socket found: nodes run as processes, by their template's command".to_owned(),
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
