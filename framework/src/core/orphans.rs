//! What lies with Mesos under our framework or role, and belongs to no cluster of ours: told, and never touched. Beside it,
//! what was left behind by clusters of ours, and is ended in time.

use super::Core;
use crate::placement::take::{LABEL_CLUSTER, LABEL_REGISTRY};
use bigdata_common::ClusterId;
use bigdata_mesos::v1::{Resource, TaskState, TaskStatus};
use serde::Serialize;

/// Something that nobody here knows, or that outlives its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Orphan {
    /// `task` or `reservation`.
    pub kind: &'static str,
    /// The task's id, or the resource as Mesos writes it.
    pub id: String,
    /// Where it lies; none where Mesos did not say.
    pub agent: Option<String>,
    /// Why it is not ours, or not ended yet.
    pub reason: String,
}

impl Core {
    /// Everything that is known to be nobody's, of reservations those that agents offer; and attempts whose clusters were
    /// released without them.
    pub(crate) fn orphans(&self) -> Vec<Orphan> {
        let reservations = self.state.agents.values().flat_map(|agent| {
            let entries = agent.free.reserved_for(&self.policy.rules.role);
            let found = entries.iter().filter_map(|entry| Some((entry.to_string(), self.why_orphaned(entry)?)));
            let orphan = |(id, reason)| Orphan { kind: "reservation", id, agent: Some(agent.id.clone()), reason };
            found.map(orphan).collect::<Vec<_>>()
        });
        self.foreign_tasks.values().cloned().chain(self.outliving()).chain(reservations).collect()
    }

    fn why_orphaned(&self, entry: &Resource) -> Option<String> {
        if !entry.is_dynamically_reserved() {
            return None;
        }
        let labels = entry.reservations.last().and_then(|reservation| reservation.labels.as_ref());
        let own = self.policy.rules.registry.as_str();
        match labels.and_then(|labels| labels.get(LABEL_REGISTRY)) {
            None => Some("it carries no registry's label".to_owned()),
            Some(other) if other != own => Some(format!("it belongs to the registry {other}; this one is {own}")),
            Some(_) => {
                let cluster = labels.and_then(|labels| labels.get(LABEL_CLUSTER)).unwrap_or_default();
                let id = cluster.parse::<ClusterId>().ok();
                let volume = entry.persistence_id().is_some_and(|id| self.state.volumes.contains_key(id));
                let known = volume || id.is_some_and(|id| self.state.clusters.contains_key(&id));
                (!known).then(|| format!("its cluster {cluster} is not known here: the database may be another's"))
            }
        }
    }

    /// A task that Mesos tells of, and that is not known here. Once it has ended it is no orphan.
    pub(super) fn found_task(&mut self, status: &TaskStatus) {
        let id = status.task_id.value.clone();
        if status.state().is_terminal() {
            self.foreign_tasks.remove(&id);
            return;
        }
        let state: TaskState = status.state();
        let reason = format!("the framework's database does not know it; Mesos says {state}");
        let agent = status.agent_id.as_ref().map(|agent| agent.value.clone());
        self.foreign_tasks.insert(id.clone(), Orphan { kind: "task", id, agent, reason });
    }
}
