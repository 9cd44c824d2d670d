//! Asks the master, once, what it has of this registry's clusters: before anything is placed from an empty database.

use super::mesos::MesosSettings;
use crate::core::output::Input;
use crate::leadership::Lease;
use crate::placement::take::{LABEL_CLUSTER, LABEL_REGISTRY};
use bigdata_mesos::client::scheduler::{StateError, master_state};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;

/// The wait after a master that could not be reached. Without one nothing could be placed either.
const RETRY: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(super) struct Examination(Option<mpsc::Receiver<Input>>);

impl Examination {
    /// Nothing is asked.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn spawn(settings: MesosSettings, registry: String, lease: &Lease) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let token = lease.tasks().token();
        lease.tasks().spawn("mesos examination", async move {
            tokio::select! {
                () = token.cancelled() => {}
                found = ask(&settings, &registry) => {
                    // Whoever does not take it has ended.
                    let _ = sender.send(Input::Examined { found }).await;
                }
            }
        });
        Self(Some(receiver))
    }

    /// What was found. Cancel safe.
    pub(super) async fn next(&mut self) -> Input {
        let found = match &mut self.0 {
            Some(receiver) => receiver.recv().await,
            None => None,
        };
        self.0 = None;
        match found {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }
}

async fn ask(settings: &MesosSettings, registry: &str) -> Vec<String> {
    loop {
        match master_state(&settings.client()).await {
            Ok(state) => return found_in(&state, registry),
            Err(error @ StateError::Refused { .. }) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "what the master has cannot be read; only offers show whether the database was lost"
                );
                return Vec::new();
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the master is asked again what it has");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// The live tasks and the persistent volumes that carry this registry's label, in words.
fn found_in(state: &Value, registry: &str) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for framework in list(&state["frameworks"]) {
        for task in list(&framework["tasks"]).into_iter().chain(list(&framework["unreachable_tasks"])) {
            if label(&task["labels"], LABEL_REGISTRY) == Some(registry) {
                let cluster = label(&task["labels"], LABEL_CLUSTER).unwrap_or_default();
                let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                found.push(format!("task {} (node {} of {cluster})", name(&task["id"]), name(&task["name"])));
            }
        }
    }
    for agent in list(&state["slaves"]) {
        let roles = agent["reserved_resources_full"].as_object().cloned().unwrap_or_default();
        for entry in roles.values().flat_map(&list) {
            let Some(id) = entry["disk"]["persistence"]["id"].as_str() else { continue };
            let labelled = list(&entry["reservations"])
                .into_iter()
                .find(|reservation| label(&reservation["labels"]["labels"], LABEL_REGISTRY) == Some(registry));
            if let Some(reservation) = labelled {
                let cluster = label(&reservation["labels"]["labels"], LABEL_CLUSTER).unwrap_or_default().to_owned();
                found.push(format!("volume {id} of {cluster} on {}", agent["hostname"].as_str().unwrap_or_default()));
            }
        }
    }
    found
}

/// A label's value, as Mesos writes labels in JSON.
fn label<'a>(labels: &'a Value, key: &str) -> Option<&'a str> {
    labels.as_array()?.iter().find(|label| label["key"] == key)?["value"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn live_tasks_and_volumes_of_this_registry_are_found() {
        let labels =
            |registry: &str| json!([{"key": LABEL_REGISTRY, "value": registry}, {"key": LABEL_CLUSTER, "value": "c"}]);
        let task = |id: &str, registry: &str| json!({"id": id, "name": "n", "labels": labels(registry)});
        let volume = |id: &str, registry: &str| json!({"disk": {"persistence": {"id": id}}, "reservations": [{"labels": {"labels": labels(registry)}}]});
        let state = json!({
            "frameworks": [{
                "tasks": [task("t1", "own"), task("t2", "other"), {"id": "t3"}],
                "unreachable_tasks": [task("t4", "own")],
                "completed_tasks": [task("t5", "own")],
            }],
            "slaves": [{
                "hostname": "h1",
                "reserved_resources_full": {"bigdata": [volume("v1", "own"), volume("v2", "other"), {"name": "cpus"}]},
            }],
        });
        let expected = ["task t1 (node n of c)", "task t4 (node n of c)", "volume v1 of c on h1"];
        assert_eq!(found_in(&state, "own"), expected);
        assert!(found_in(&json!({}), "own").is_empty());
    }
}
