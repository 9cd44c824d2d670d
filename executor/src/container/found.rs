//! Containers as the engine has them.

use super::create::{ATTEMPT, CONFIGURATION, FOLDER, REGISTRY};
use super::engine::{Engine, in_words, is_missing};
use super::raw;
use crate::node::Processes;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// A container that was looked at.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) is_running: bool,
    pub(super) exit_code: i64,
    pub(super) out_of_memory: bool,
    /// On this machine, while it runs.
    pub(super) pid: Option<i32>,
    pub(super) stop_signal: Option<String>,
    /// What the engine says of a failed start.
    pub(super) error: Option<String>,
    pub(super) configuration: Option<String>,
}

impl Found {
    /// Whether it was made from just this.
    pub(super) fn is_made_from(&self, body: &ContainerCreateBody) -> bool {
        let wanted = body.labels.as_ref().and_then(|labels| labels.get(CONFIGURATION));
        self.configuration.as_ref() == wanted
    }
}

/// What an engine says of a container, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Seen {
    id: String,
    #[serde(default)]
    state: State,
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: String,
    running: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    pid: i64,
    exit_code: i64,
    error: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    labels: Option<HashMap<String, String>>,
    stop_signal: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    id: String,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

/// Looks at a container by its name or id; None: there is none.
///
/// # Errors
/// In words, when the engine does not say.
pub(super) async fn inspect(engine: &Engine, name: &str) -> Result<Option<Found>, String> {
    let Some(seen) = raw::get::<Seen>(engine, &format!("/containers/{name}/json")).await? else { return Ok(None) };
    let (state, config) = (seen.state, seen.config);
    // Podman: `stopping` is one that still ends.
    let is_running = state.running || matches!(state.status.as_str(), "running" | "stopping");
    // Docker gives its name, Podman its number.
    let stop_signal = match config.stop_signal {
        Some(Value::String(signal)) if !signal.is_empty() => Some(signal),
        Some(Value::Number(signal)) if signal.as_u64() != Some(0) => Some(signal.to_string()),
        _ => None,
    };
    Ok(Some(Found {
        id: seen.id,
        is_running,
        exit_code: state.exit_code,
        out_of_memory: state.oom_killed,
        pid: i32::try_from(state.pid).ok().filter(|pid| is_running && *pid > 0),
        stop_signal,
        error: Some(state.error).filter(|error| !error.is_empty()),
        configuration: config.labels.and_then(|mut labels| labels.remove(CONFIGURATION)),
    }))
}

/// The label of what belongs to a registry's clusters.
pub(super) fn registry_label(registry: &str) -> (&'static str, String) {
    (REGISTRY, registry.to_owned())
}

/// A container by its labels.
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) attempt: String,
    pub(super) folder: PathBuf,
}

/// The platform's containers, in whatever state, that have all of these labels (`NAME=VALUE`).
///
/// # Errors
/// In words, when the engine does not say.
pub(super) async fn list(engine: &Engine, labels: Vec<String>) -> Result<Vec<Listed>, String> {
    let filtered = if labels.is_empty() { vec![ATTEMPT.to_owned()] } else { labels.clone() };
    let filters = raw::encoded(&json!({ "label": filtered }).to_string());
    let path = format!("/containers/json?all=true&filters={filters}");
    // One that is just being removed may be what is not found: that says nothing of the others.
    let found: Option<Vec<Summary>> = raw::get(engine, &path).await?;
    let found = found.ok_or_else(|| format!("{} does not list its containers", engine.name))?;
    let listed = found.into_iter().filter_map(|container| {
        let known = container.labels.unwrap_or_default();
        // An engine that knows no such filter would name everybody's.
        let is_ours = labels.iter().all(|label| {
            label.split_once('=').is_some_and(|(name, value)| known.get(name).is_some_and(|it| it == value))
        });
        let label = |name: &str| known.get(name).cloned();
        is_ours.then_some(())?;
        Some(Listed { id: container.id, attempt: label(ATTEMPT)?, folder: label(FOLDER)?.into() })
    });
    Ok(listed.collect())
}

/// Ends and removes a container with all that is its own.
///
/// # Errors
/// In words, when it is left.
pub(super) async fn remove(engine: &Engine, id: &str) -> Result<(), String> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match engine.docker.remove_container(id, Some(options)).await {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => match inspect(engine, id).await {
            Ok(None) => Ok(()),
            _ => Err(format!("the container {id} cannot be removed: {}", in_words(&error))),
        },
    }
}

/// Where the processes of a container with this first one are found.
pub(super) fn processes(pid: i32, since: Instant) -> Processes {
    let parent = bigdata_sandbox::Process::read(pid).and_then(|process| u32::try_from(process.parent).ok());
    let table = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let group = directories(&table, Path::new("/sys/fs/cgroup"));
    Processes { pid, supervisor: parent, group, not_applied: Vec::new(), since }
}

/// The directories of the control groups in a process's table, cgroups(7), one per hierarchy.
fn directories(table: &str, mounted: &Path) -> Vec<PathBuf> {
    let parts = table.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let path = path.strip_prefix('/').filter(|path| !path.is_empty() && !path.starts_with(".."))?;
        Some((controllers, path))
    });
    let places = parts.flat_map(|(controllers, path)| match controllers {
        "" => vec![mounted.join(path), mounted.join("unified").join(path)],
        controllers => vec![mounted.join(controllers).join(path)],
    });
    places.filter(|directory| directory.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_of_a_container() {
        let root = tempfile::tempdir().unwrap();
        for path in ["memory/libpod/x", "cpu,cpuacct/libpod/x", "unified/libpod/x", "libpod/y"] {
            std::fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let table = "9:memory:/libpod/x\n8:cpu,cpuacct:/libpod/x\n7:pids:/\n3:freezer:/libpod/x\n0::/libpod/x\n";
        let found = directories(table, root.path());
        let expected = ["memory/libpod/x", "cpu,cpuacct/libpod/x", "unified/libpod/x"];
        assert_eq!(found, expected.map(|path| root.path().join(path)));
        assert_eq!(directories("0::/libpod/y\n", root.path()), [root.path().join("libpod/y")]);
        assert!(directories("0::/\n1:memory:/../..\n", root.path()).is_empty(), "nobody else's group");
    }
}
