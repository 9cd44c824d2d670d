//! What the others are told: one fact per change of a node, whole and numbered.

use super::Core;
use super::output::Output;
use bigdata_common::event::{Event, NodeFact};
use bigdata_common::internal::NodeObservation;
use bigdata_common::status::NodeStatus;
use bigdata_common::{ClusterId, Name, Timestamp};

/// What a fact is told as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Launching,
    Running,
    Health,
    Unreachable,
    Ended,
}

impl Kind {
    /// The kind that tells a node's status to whoever has heard nothing yet.
    fn of(status: NodeStatus) -> Self {
        match status {
            NodeStatus::Pending | NodeStatus::Queued | NodeStatus::Launching => Self::Launching,
            NodeStatus::Running => Self::Running,
            NodeStatus::Stopping => Self::Health,
            NodeStatus::Unreachable => Self::Unreachable,
            NodeStatus::Stopped | NodeStatus::Failed => Self::Ended,
        }
    }

    fn event(self, fact: NodeFact) -> Event {
        match self {
            Self::Launching => Event::NodeLaunching(fact),
            Self::Running => Event::NodeRunning(fact),
            Self::Health => Event::NodeHealth(fact),
            Self::Unreachable => Event::NodeUnreachable(fact),
            Self::Ended => Event::NodeEnded(fact),
        }
    }
}

impl Core {
    pub(super) fn emit(&mut self, id: &ClusterId, event: Event) {
        let known = self.state.clusters.get(id);
        let (revision, origin) = known.map_or((1, None), |cluster| (cluster.revision, cluster.origin.clone()));
        self.outputs.push(Output::Emit { cluster: id.clone(), revision, origin, event });
    }

    /// Stores a new observation of a node, and tells it.
    pub(super) fn observe(
        &mut self,
        id: &ClusterId,
        name: &Name,
        kind: Kind,
        observation: NodeObservation,
        now: Timestamp,
    ) {
        let Some(node) = self.state.clusters.get_mut(id).and_then(|cluster| cluster.nodes.get_mut(name)) else {
            return;
        };
        node.observation = Some(observation);
        self.tell(id, name, kind, now);
    }

    fn tell(&mut self, id: &ClusterId, name: &Name, kind: Kind, now: Timestamp) {
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let generation = cluster.generation;
        let Some(node) = cluster.nodes.get_mut(name) else { return };
        let Some(observation) = node.observation.clone() else { return };
        node.sequence += 1;
        node.told_at = Some(now);
        let fact = NodeFact { node: name.clone(), generation, sequence: node.sequence, observation };
        self.store_node(id, name);
        self.emit(id, kind.event(fact));
    }

    /// Tells the newest observation of a node again, under a new sequence.
    pub(super) fn tell_again(&mut self, id: &ClusterId, name: &Name, now: Timestamp) {
        let node = self.state.clusters.get(id).and_then(|cluster| cluster.nodes.get(name));
        if let Some(status) = node.and_then(|node| node.observation.as_ref()).map(|observation| observation.status) {
            self.tell(id, name, Kind::of(status), now);
        }
    }
}
