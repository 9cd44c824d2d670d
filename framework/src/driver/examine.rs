//! Asks the master, once, what it has of this framework's clusters: before it is subscribed to, and anything is placed, from
//! an empty database.
//!
//! What that is two signs say. The label of this registry; it stays with the framework's database alone where only that was
//! lost. And the framework's name and role: a registry that was lost as well has another id now, and so has a framework.

use super::mesos::MesosSettings;
use crate::core::output::Input;
use crate::leadership::Lease;
use crate::placement::take::{LABEL_CLUSTER, LABEL_REGISTRY};
use bigdata_mesos::client::scheduler::{StateError, master_state};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;

/// The wait after a master that could not be reached. Without one nothing could be placed either.
const RETRY: Duration = Duration::from_secs(1);

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub registry: String,
    /// The framework's name, as the master is told.
    pub name: String,
    pub role: String,
    /// Its id, if the database knows one: then no other framework was this one.
    pub framework: Option<String>,
}

/// See the [module](self).
pub(super) struct Examination(Option<mpsc::Receiver<Input>>);

impl Examination {
    /// Nothing is asked.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn spawn(settings: MesosSettings, asker: Asker, lease: &Lease) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let token = lease.tasks().token();
        lease.tasks().spawn("mesos examination", async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = ask(&settings, &asker, &sender) => {}
            }
        });
        Self(Some(receiver))
    }

    /// What was found, or why nothing can be. Cancel safe.
    pub(super) async fn next(&mut self) -> Input {
        let told = match &mut self.0 {
            Some(receiver) => receiver.recv().await,
            None => None,
        };
        match told {
            Some(told) => told,
            None => {
                self.0 = None;
                std::future::pending().await
            }
        }
    }
}

async fn ask(settings: &MesosSettings, asker: &Asker, sender: &mpsc::Sender<Input>) {
    loop {
        let told = match master_state(&settings.client()).await {
            Ok(state) => Input::Examined { found: found_in(&state, asker) },
            Err(error @ StateError::Refused { .. }) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "what the master has cannot be read; only offers show whether the database was lost"
                );
                Input::Examined { found: Vec::new() }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the master is asked again what it has");
                Input::Disconnected { reason: error.to_string() }
            }
        };
        let is_over = matches!(told, Input::Examined { .. });
        // Whoever does not take it has ended.
        if sender.send(told).await.is_err() || is_over {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The live tasks and the persistent volumes that the database should know, in words.
fn found_in(state: &Value, asker: &Asker) -> Vec<String> {
    let known = known_registries(state, asker);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for framework in list(&state["frameworks"]) {
        let is_self = is_former_self(framework, asker);
        for task in list(&framework["tasks"]).chain(list(&framework["unreachable_tasks"])) {
            let Some(registry) = label(&task["labels"], LABEL_REGISTRY) else { continue };
            if registry == asker.registry || is_self {
                let cluster = label(&task["labels"], LABEL_CLUSTER).unwrap_or_default();
                let (id, name, whose) = (text(&task["id"]), text(&task["name"]), asker.whose(registry));
                found.push(format!("task {id} (node {name} of {cluster}{whose})"));
            }
        }
    }
    for agent in list(&state["slaves"]) {
        let roles = agent["reserved_resources_full"].as_object();
        for entry in roles.into_iter().flat_map(|roles| roles.values()).flat_map(list) {
            let Some(id) = entry["disk"]["persistence"]["id"].as_str() else { continue };
            let labels = list(&entry["reservations"]).map(|reservation| &reservation["labels"]["labels"]);
            let mut labelled = labels.filter_map(|labels| Some((label(labels, LABEL_REGISTRY)?, labels)));
            if let Some((registry, labels)) = labelled.find(|(registry, _)| known.contains(registry)) {
                let cluster = label(labels, LABEL_CLUSTER).unwrap_or_default();
                let (host, whose) = (text(&agent["hostname"]), asker.whose(registry));
                found.push(format!("volume {id} of {cluster}{whose} on {host}"));
            }
        }
    }
    found
}

/// This registry, and those whose clusters a former self of the framework had: a volume does not say which framework made
/// it.
fn known_registries<'a>(state: &'a Value, asker: &'a Asker) -> BTreeSet<&'a str> {
    let former = list(&state["frameworks"]).chain(list(&state["completed_frameworks"]));
    let former = former.filter(|framework| is_former_self(framework, asker));
    let tasks = former.flat_map(|framework| {
        ["tasks", "unreachable_tasks", "completed_tasks"].into_iter().flat_map(|kind| list(&framework[kind]))
    });
    let registries = tasks.filter_map(|task| label(&task["labels"], LABEL_REGISTRY));
    registries.chain([asker.registry.as_str()]).collect()
}

/// Whether this may be what the framework was before its database was lost.
fn is_former_self(framework: &Value, asker: &Asker) -> bool {
    let has_role = framework["role"] == *asker.role || list(&framework["roles"]).any(|role| *role == *asker.role);
    let may_be = asker.framework.as_ref().is_none_or(|id| framework["id"] == **id);
    framework["name"] == *asker.name && has_role && may_be
}

impl Asker {
    /// The registry that something is labelled with, unless it is this one.
    fn whose(&self, registry: &str) -> String {
        if registry == self.registry { String::new() } else { format!(", of the registry {registry}") }
    }
}

/// A label's value, as Mesos writes labels in JSON.
fn label<'a>(labels: &'a Value, key: &str) -> Option<&'a str> {
    labels.as_array()?.iter().find(|label| label["key"] == key)?["value"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(registry: &str) -> Value {
        json!([{"key": LABEL_REGISTRY, "value": registry}, {"key": LABEL_CLUSTER, "value": "c"}])
    }

    fn task(id: &str, registry: &str) -> Value {
        json!({"id": id, "name": "n", "labels": labels(registry)})
    }

    fn agent(volumes: &[(&str, &str)]) -> Value {
        let volume = |(id, registry): &(&str, &str)| json!({"disk": {"persistence": {"id": id}}, "reservations": [{"labels": {"labels": labels(registry)}}]});
        let mut entries: Vec<Value> = volumes.iter().map(volume).collect();
        entries.push(json!({"name": "cpus"}));
        json!({"hostname": "h1", "reserved_resources_full": {"bigdata": entries}})
    }

    fn asker(framework: Option<&str>) -> Asker {
        let [registry, name, role] = ["own", "bigdata", "analysts"].map(str::to_owned);
        Asker { registry, name, role, framework: framework.map(str::to_owned) }
    }

    #[test]
    fn live_tasks_and_volumes_of_this_registry_are_found() {
        let state = json!({
            "frameworks": [{
                "tasks": [task("t1", "own"), task("t2", "other"), {"id": "t3"}],
                "unreachable_tasks": [task("t4", "own")],
                "completed_tasks": [task("t5", "own")],
            }],
            "slaves": [agent(&[("v1", "own"), ("v2", "other")])],
        });
        let expected = ["task t1 (node n of c)", "task t4 (node n of c)", "volume v1 of c on h1"];
        assert_eq!(found_in(&state, &asker(None)), expected);
        assert!(found_in(&json!({}), &asker(None)).is_empty());
    }

    #[test]
    fn what_the_framework_had_under_a_registry_that_was_lost_with_it_is_found() {
        let state = json!({
            "frameworks": [
                {"id": "f1", "name": "bigdata", "roles": ["analysts"], "tasks": [task("t1", "lost"), {"id": "t2"}]},
                {"id": "f2", "name": "a rival", "roles": ["analysts"], "tasks": [task("t3", "rivals")]},
                {"id": "f3", "name": "bigdata", "role": "elsewhere", "tasks": [task("t4", "elsewhere")]},
            ],
            "completed_frameworks": [
                {"id": "f0", "name": "bigdata", "role": "analysts", "completed_tasks": [task("t5", "removed")]},
            ],
            "slaves": [agent(&[("v1", "lost"), ("v2", "rivals"), ("v3", "elsewhere"), ("v4", "removed")])],
        });
        let expected = [
            "task t1 (node n of c, of the registry lost)",
            "volume v1 of c, of the registry lost on h1",
            "volume v4 of c, of the registry removed on h1",
        ];
        assert_eq!(found_in(&state, &asker(None)), expected);
        assert_eq!(found_in(&state, &asker(Some("f1"))), expected[..2], "another's, since this one's id is known");
        assert!(found_in(&state, &asker(Some("f9"))).is_empty());
    }
}
