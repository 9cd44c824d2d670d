//! A database in memory: applies writes, and refuses what the real one would.

use crate::core::State;
use crate::core::model::{Agent, Cluster, EndedTask, Node, Task, Volume};
use crate::core::output::Write;
use bigdata_common::internal::Specification;
use bigdata_common::{AttemptId, ClusterId, Name};
use indexmap::IndexMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default, Clone)]
pub(super) struct Memory {
    pub framework: Option<String>,
    pub clusters: BTreeMap<ClusterId, Cluster>,
    pub specifications: BTreeMap<ClusterId, Arc<Specification>>,
    pub nodes: BTreeMap<ClusterId, IndexMap<Name, Node>>,
    pub tasks: BTreeMap<AttemptId, Task>,
    pub ended: BTreeMap<AttemptId, EndedTask>,
    pub leases: BTreeMap<(&'static str, String, String), AttemptId>,
    pub uids: BTreeMap<(String, u32), ClusterId>,
    pub volumes: BTreeMap<String, Volume>,
    pub agents: BTreeMap<String, Agent>,
}

/// As it comes back from the database: what is not stored is gone.
fn stored<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

impl Memory {
    pub(super) fn apply(&mut self, write: &Write) {
        match write {
            Write::Framework(id) => self.framework.clone_from(id),
            Write::Cluster(cluster) => {
                self.clusters.insert(cluster.id.clone(), stored(cluster));
            }
            Write::Specification(id, specification) => {
                self.specifications.insert(id.clone(), Arc::clone(specification));
            }
            Write::DeleteCluster(id) => {
                self.clusters.remove(id);
                self.specifications.remove(id);
                self.nodes.remove(id);
            }
            Write::Node { cluster, name, node, .. } => {
                self.nodes.entry(cluster.clone()).or_default().insert(name.clone(), stored(node));
            }
            Write::DeleteNode(id, name) => {
                assert!(
                    self.nodes.get_mut(id).and_then(|nodes| nodes.shift_remove(name)).is_some(),
                    "{name} was not stored"
                );
            }
            Write::Task(task) => {
                let other = self.tasks.values().find(|other| {
                    (&other.cluster, &other.node) == (&task.cluster, &task.node)
                        && other.id != task.id
                        && other.is_current()
                });
                assert!(other.is_none() || !task.is_current(), "a second live task for {} {}", task.cluster, task.node);
                self.tasks.insert(task.id, stored(task));
            }
            Write::TaskEnded(ended) => {
                assert!(self.tasks.remove(&ended.id).is_some(), "{} ended twice", ended.id);
                self.ended.insert(ended.id, stored(ended));
            }
            Write::DeleteTask(id) => {
                self.ended.remove(id);
            }
            Write::Lease { kind, scope, value, task } => {
                let key = (kind.as_str(), scope.clone(), value.clone());
                let former = self.leases.insert(key.clone(), *task);
                assert!(former.is_none(), "{key:?} is leased already");
            }
            Write::FreeLeases(task) => self.leases.retain(|_, owner| owner != task),
            Write::Uid { machine, uid, cluster } => {
                let former = self.uids.insert((machine.clone(), *uid), cluster.clone());
                assert!(former.is_none(), "uid {uid} is leased already");
            }
            Write::FreeUids(cluster) => self.uids.retain(|_, owner| owner != cluster),
            Write::Volume(volume) => {
                self.volumes.insert(volume.id.clone(), stored(volume));
            }
            Write::DeleteVolume(id) => {
                self.volumes.remove(id);
            }
            Write::DeleteAgent(id) => {
                self.agents.remove(id);
            }
            Write::Agent(agent) => {
                self.agents.insert(agent.id.clone(), stored(agent));
            }
        }
    }

    pub(super) fn load(&self) -> State {
        let mut clusters = self.clusters.clone();
        for (id, cluster) in &mut clusters {
            cluster.specification = self.specifications.get(id).cloned();
            cluster.nodes = self.nodes.get(id).cloned().unwrap_or_default();
        }
        State {
            framework: self.framework.clone(),
            clusters: clusters.into_iter().collect(),
            tasks: self.tasks.clone().into_iter().collect(),
            ended: self.ended.clone(),
            volumes: self.volumes.clone().into_iter().collect(),
            uids: self.uids.clone(),
            agents: self.agents.clone().into_iter().collect(),
        }
    }
}
