//! What the registry wants of each node of a cluster, compared with what there is: nodes come, are begun anew, and go.
//!
//! A wish names a revision, which never changes: it is read once. The cluster's specification here has each node as the
//! revision describes it that is wanted of it.

use super::Core;
use super::facts::Kind;
use super::model::{Cluster, Node, Standing, Task, TaskStage};
use super::output::Write;
use bigdata_common::blueprint::Blueprint;
use bigdata_common::internal::{ClusterState, Desired, NodeWish, Specification};
use bigdata_common::status::NodeStatus;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use indexmap::IndexMap;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Core {
    /// The revisions that must be read before what the registry says of a cluster can be taken in.
    pub(crate) fn revisions_wanted(&self, state: &ClusterState) -> BTreeSet<u32> {
        if state.desired != Desired::Run {
            return BTreeSet::new();
        }
        let cluster = self.state.clusters.get(&state.cluster);
        let known = cluster.and_then(|cluster| cluster.specification.as_ref());
        if state.nodes.is_empty() {
            let is_known = known.is_some_and(|known| known.revision >= state.revision);
            return (!is_known).then_some(state.revision).into_iter().collect();
        }
        let is_described = |name: &Name, wish: &NodeWish| {
            cluster.is_some_and(|cluster| described_by(cluster, name) == Some(wish.revision))
        };
        let missing = state.nodes.iter().filter(|(name, wish)| !is_described(name, wish));
        missing.map(|(_, wish)| wish.revision).collect()
    }

    /// Whether what the registry says wants anything of a cluster's nodes that is not known yet. Whoever reads many
    /// clusters at once may have read what is old by now: only what says nothing new may be taken as it is.
    pub(crate) fn is_news(&self, state: &ClusterState) -> bool {
        let Some(cluster) = self.state.clusters.get(&state.cluster) else { return true };
        let is_known = |(name, wish): (&Name, &NodeWish)| match cluster.nodes.get(name) {
            Some(node) => node.wish == Some(*wish),
            None => cluster.departures.get(name).is_some_and(|departure| departure.told_at.is_none()),
        };
        let same = state.nodes.len() == cluster.nodes.len() && state.nodes.iter().all(is_known);
        state.desired != cluster.desired
            || state.generation != cluster.generation
            || (state.desired == Desired::Run && !state.nodes.is_empty() && !same)
            || state.leaving.iter().any(|name| !cluster.departures.contains_key(name))
    }

    /// Takes the wishes in: describes the nodes that are wanted, lets go of those that are not, and begins those anew that
    /// an earlier incarnation runs of.
    pub(super) fn take_wishes(&mut self, state: &ClusterState, read: &[Arc<Specification>], now: Timestamp) {
        let id = &state.cluster;
        if state.desired == Desired::Run {
            let wishes = wishes(state, read);
            let known = self.state.clusters.get(id).is_some_and(|cluster| {
                cluster.specification.is_some()
                    && wishes
                        .iter()
                        .all(|(name, wish)| cluster.nodes.get(name).is_some_and(|node| node.wish == Some(*wish)))
            });
            if !known {
                self.describe(id, state.revision, &wishes, read, now);
            }
            if !state.nodes.is_empty() {
                self.let_go(id, &state.nodes, now);
            }
            self.begin_anew(id, now);
        }
        self.tell_of_departures(state, now);
    }

    fn describe(
        &mut self,
        id: &ClusterId,
        revision: u32,
        wishes: &IndexMap<Name, NodeWish>,
        read: &[Arc<Specification>],
        now: Timestamp,
    ) {
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let Some(mut specification) = base(cluster.specification.as_deref(), read) else { return };
        let mut changed = Vec::new();
        for (name, wish) in wishes {
            let described = read.iter().find(|one| one.revision == wish.revision);
            match described.and_then(|one| one.blueprint.nodes.get(name)) {
                Some(node) => drop(specification.blueprint.nodes.insert(name.clone(), node.clone())),
                None if described_by(cluster, name) == Some(wish.revision) => {}
                // It is read with the next word of the registry.
                None => continue,
            }
            if is_wanted(cluster, name, *wish, now) {
                changed.push(name.clone());
            }
        }
        cluster.revision = revision;
        cluster.wishes += 1;
        let specification = Arc::new(specification);
        cluster.specification = Some(Arc::clone(&specification));
        self.persist(Write::Specification(id.clone(), specification));
        self.store_cluster(id);
        for name in &changed {
            self.store_node(id, name);
            self.give_up_place(id, name, now);
        }
        self.changed = true;
    }

    /// Ends attempts of earlier incarnations.
    fn begin_anew(&mut self, id: &ClusterId, now: Timestamp) {
        let Some(cluster) = self.state.clusters.get(id).filter(|cluster| cluster.is_placed()) else { return };
        let is_old = |task: &&Task| {
            let wish = cluster.nodes.get(&task.node).and_then(|node| node.wish);
            task.is_current()
                && task.standing == Standing::Kept
                && wish.is_some_and(|wish| task.incarnation < wish.incarnation)
        };
        let old: Vec<AttemptId> = self.state.tasks.of_cluster(id).filter(is_old).map(|task| task.id).collect();
        for task in old {
            self.renew(task, now);
        }
        self.supersede_lost_of(id, now);
    }

    fn renew(&mut self, id: AttemptId, now: Timestamp) {
        let Some(task) = self.state.tasks.get_mut(&id) else { return };
        task.standing = Standing::Renewed;
        task.report.passing = None;
        task.report.reason = Some("it is begun anew, as was asked for".to_owned());
        if !task.is_away() {
            task.state = TaskStage::Stopping;
        }
        let status = if task.is_away() { NodeStatus::Unreachable } else { NodeStatus::Stopping };
        let kind = if task.is_away() { Kind::Unreachable } else { Kind::Health };
        let (cluster, name, observation) = (task.cluster.clone(), task.node.clone(), task.observation(status, now));
        self.store_task(id);
        self.observe(&cluster, &name, kind, observation, now);
    }
}

/// What is wanted of each node. An older registry names no wishes: it wants every node of its newest revision.
fn wishes(state: &ClusterState, read: &[Arc<Specification>]) -> IndexMap<Name, NodeWish> {
    if !state.nodes.is_empty() {
        return state.nodes.clone();
    }
    let newest = read.iter().find(|one| one.revision == state.revision);
    let names = newest.into_iter().flat_map(|one| one.blueprint.nodes.keys());
    names.map(|name| (name.clone(), NodeWish { revision: state.revision, incarnation: 0, elsewhere: false })).collect()
}

/// The revision that a known node's description is of.
fn described_by(cluster: &Cluster, name: &Name) -> Option<u32> {
    let specification = cluster.specification.as_ref()?;
    let node = cluster.nodes.get(name).filter(|_| specification.blueprint.nodes.contains_key(name))?;
    Some(node.wish.map_or(specification.revision, |wish| wish.revision))
}

/// What nodes are described in: the newest revision, with the nodes that are known.
fn base(known: Option<&Specification>, read: &[Arc<Specification>]) -> Option<Specification> {
    let newest = read.iter().max_by_key(|one| one.revision);
    Some(match (known, newest) {
        (Some(known), Some(newest)) if newest.revision > known.revision => Specification {
            blueprint: Blueprint { nodes: known.blueprint.nodes.clone(), ..newest.blueprint.clone() },
            ..newest.as_ref().clone()
        },
        (Some(known), _) => known.clone(),
        (None, newest) => {
            let newest = newest?;
            Specification {
                blueprint: Blueprint { nodes: IndexMap::new(), ..newest.blueprint.clone() },
                ..newest.as_ref().clone()
            }
        }
    })
}

/// Writes a wish down; whether it was news. A node that is being released is wanted again once it has been.
fn is_wanted(cluster: &mut Cluster, name: &Name, wish: NodeWish, now: Timestamp) -> bool {
    let Some(node) = cluster.nodes.get_mut(name) else {
        let mut node = Node { wish: Some(wish), ..Node::default() };
        if let Some(former) = cluster.departures.get(name) {
            if former.told_at.is_none() {
                return false;
            }
            (node.sequence, node.attempts) = (former.sequence, former.attempts);
            cluster.departures.remove(name);
        }
        cluster.nodes.insert(name.clone(), node);
        if !cluster.status.is_launching() {
            cluster.waiting_since.get_or_insert(now);
        }
        return true;
    };
    if node.wish == Some(wish) {
        return false;
    }
    let incarnation = node.wish.map_or(0, |known| known.incarnation);
    node.wish = Some(wish);
    if wish.incarnation > incarnation {
        (node.faults, node.failures, node.gave_up, node.not_before) = (0, 0, false, None);
        node.gives_up |= wish.elsewhere;
    }
    true
}
