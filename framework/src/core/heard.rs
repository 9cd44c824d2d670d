//! Executors that say again what is known. It is no fact, and is not stored: it makes what is known younger.

use super::Core;
use super::model::Repeated;
use bigdata_common::internal::HeardNode;
use bigdata_common::status::NodeStatus;
use bigdata_common::{AttemptId, Timestamp};

impl Core {
    /// An executor has made its checks again, and they say what they said.
    pub(super) fn repeated(&mut self, id: AttemptId, now: Timestamp) {
        let Some(task) = self.state.tasks.get_mut(&id) else { return };
        let Some(checked_at) = task.report.checked_at else { return };
        self.repeats += 1;
        // An update that comes late, or twice, makes nothing younger; nor does an agent's clock that is ahead.
        task.repeated = Some(Repeated { at: checked_at.min(now), number: self.repeats });
    }

    /// The running nodes of which there was word again since the count of such words stood at `after`; and where it stands.
    pub(crate) fn heard_since(&self, after: u64) -> (Vec<HeardNode>, u64) {
        let heard = |task: &super::model::Task| {
            let repeated = task.repeated.filter(|repeated| repeated.number > after)?;
            let cluster = self.state.clusters.get(&task.cluster)?;
            let node = cluster.nodes.get(&task.node).filter(|node| node.task == Some(task.id))?;
            let known = node.observation.as_ref()?;
            // What has changed since is told by its fact.
            if known.status != NodeStatus::Running || known.attempt.id != task.id {
                return None;
            }
            let health = cluster.specification.as_ref()?.blueprint.nodes.get(&task.node)?.health.as_ref()?;
            Some(HeardNode {
                cluster: task.cluster.clone(),
                node: task.node.clone(),
                sequence: node.sequence,
                observed_at: repeated.at,
                holds_ms: u64::try_from(health.silence_limit().as_millis()).unwrap_or(u64::MAX),
            })
        };
        (self.state.tasks.values().filter_map(heard).collect(), self.repeats)
    }
}
