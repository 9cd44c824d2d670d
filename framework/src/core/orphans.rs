//! What lies with Mesos under our framework or role, and belongs to no cluster of ours: told, and never touched. Beside it,
//! what was left behind by clusters of ours, and is ended in time.

use super::Core;
use super::model::{Fate, Phase, Volume};
use crate::placement::take::{LABEL_CLUSTER, LABEL_REGISTRY};
use bigdata_common::ClusterId;
use bigdata_common::api::orphan::Orphan;
use bigdata_mesos::v1::{Resource, TaskState, TaskStatus};
use std::sync::Arc;

/// One of the kinds `task`, `reservation` and `volume`, with its id, its agent and why it is one. Where agents are is said at
/// the end.
pub(super) fn orphan(kind: &str, id: &str, agent: Option<&str>, reason: String) -> Orphan {
    Orphan { kind: kind.to_owned(), id: id.to_owned(), agent: agent.map(str::to_owned), host: None, reason }
}

impl Core {
    /// Everything that is known to be nobody's, of reservations those that agents offer; and attempts and volumes whose
    /// clusters were released without them, or whose nodes have given them up.
    pub(crate) fn orphans(&self) -> Vec<Orphan> {
        let reservations = self.state.agents.values().flat_map(|agent| {
            let entries = agent.free.reserved_for(&self.policy.rules.role);
            let found = entries.iter().filter_map(|entry| Some((entry.to_string(), self.why_orphaned(entry)?)));
            let reservation = |(id, reason): (String, String)| orphan("reservation", &id, Some(&agent.id), reason);
            found.map(reservation).collect::<Vec<_>>()
        });
        let all =
            self.foreign_tasks.values().cloned().chain(self.outliving()).chain(self.volumes_left()).chain(reservations);
        let located = |it: Orphan| {
            let agent = it.agent.as_ref().and_then(|agent| self.state.agents.get(agent));
            Orphan { host: agent.map(|agent| agent.host.clone()), ..it }
        };
        all.map(located).collect()
    }

    fn volumes_left(&self) -> impl Iterator<Item = Orphan> {
        self.state.volumes.values().filter_map(|volume: &Volume| {
            let why = self.why_left(volume)?;
            let what = match volume.fate {
                _ if volume.lost_at.is_some() => "it is lost with its agent, which was marked as gone",
                Fate::Used => "it is taken for one in use",
                Fate::Doomed => "it is destroyed when its agent offers it",
                Fate::Kept => "it is kept by the termination policy",
            };
            let reason =
                format!("disk {} of node {} of {}, which {why}; {what}", volume.disk, volume.node, volume.cluster);
            Some(orphan("volume", &volume.id, Some(&volume.agent), reason))
        })
    }

    /// What a volume's cluster does without it; None: it is its node's, or is being dealt with.
    pub(super) fn why_left(&self, volume: &Volume) -> Option<&'static str> {
        let given_up = volume.left || volume.fate == Fate::Doomed;
        match self.state.clusters.get(&volume.cluster).map(|cluster| &cluster.phase) {
            None | Some(Phase::Released { .. }) => Some("was released"),
            Some(Phase::Active) if given_up => Some("goes on without it"),
            Some(Phase::Releasing { .. }) if volume.lost_at.is_some() => Some("is being released"),
            Some(Phase::Active | Phase::Releasing { .. }) => None,
        }
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
                let is_known = id.is_some_and(|id| self.state.clusters.contains_key(&id));
                match entry.persistence_id() {
                    Some(id) if self.state.volumes.contains_key(id) => None,
                    Some(_) if is_known => Some(format!("the cluster {cluster} has no such volume in the database")),
                    None if is_known => None,
                    _ => Some(format!("its cluster {cluster} is not known here: the database may be another's")),
                }
            }
        }
    }

    /// What an agent offered last is without a volume that has been destroyed since.
    pub(super) fn no_longer_offered(&mut self, volume: &Volume) {
        if let Some(agent) = self.state.agents.get_mut(&volume.agent) {
            agent.free = Arc::new(agent.free.filter(|entry| entry.persistence_id() != Some(&volume.id)));
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
        let agent = status.agent_id.as_ref().map(|agent| agent.value.as_str());
        self.foreign_tasks.insert(id.clone(), orphan("task", &id, agent, reason));
    }
}
