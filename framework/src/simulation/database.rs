//! A database as the service leaves it behind: what the core has written while it placed clusters on a simulated fleet.

use super::fleet::{Fleet, Shape, policy};
use super::world;
use crate::core::State;
use crate::store::{Acquired, acquire, commit, release, set_registry_id};
use bigdata_chassis::Db;
use bigdata_common::Timestamp;
use bigdata_common::internal::ClusterState;
use bigdata_common::status::ClusterStatus;
use std::time::Duration;
use uuid::Uuid;

/// Clusters that are asked for between two allocations.
const PER_ROUND: usize = 500;
/// Allocations after which clusters that have no place will never have one.
const ROUNDS: usize = 100;

/// What a database was filled with.
#[derive(Debug)]
pub struct Filled {
    /// The registry that it belongs to.
    pub registry: Uuid,
    /// What the registry says of every cluster, in the order of their ids.
    pub clusters: Vec<ClusterState>,
    /// Every task, and its agent.
    pub tasks: Vec<(String, String)>,
}

/// Fills an empty database with that many `ready` clusters of `nodes` running nodes each, on so many agents.
///
/// # Panics
/// When the database refuses, or the agents do not suffice.
pub async fn fill(db: &Db, clusters: usize, nodes: usize, agents: usize) -> Filled {
    let now = Timestamp::from_millis(1_000_000);
    let held = acquire(db, Uuid::new_v4(), "", Duration::from_secs(3600), true, now).await;
    let Ok(Acquired::Leads(claim)) = held else { panic!("the database is another's: {held:?}") };
    let registry = policy().rules.registry;
    set_registry_id(db, &claim, &registry).await.expect("an empty database takes a registry");
    let mut fleet = Fleet::recording(Shape { agents, nodes: clusters * nodes, per_round: PER_ROUND * nodes, seed: 1 });
    let mut asked = 0;
    for _ in 0..clusters.div_ceil(PER_ROUND) + ROUNDS {
        let now_asked = PER_ROUND.min(clusters - asked);
        (0..now_asked).for_each(|_| fleet.want_plain(nodes));
        asked += now_asked;
        fleet.round();
        commit(db, &claim, &fleet.take_writes(), now).await.expect("the database takes what the core writes");
        if asked == clusters && fleet.is_settled() {
            break;
        }
    }
    assert!(fleet.is_settled(), "the simulated agents have room for every node");
    let clusters = ready(fleet.state());
    for state in &clusters {
        fleet.say(state.clone());
    }
    commit(db, &claim, &fleet.take_writes(), now).await.expect("the database takes what the core writes");
    release(db, &claim).await.expect("the database takes the lease back");
    let tasks = fleet.state().tasks.values().map(|task| (task.id.to_string(), task.agent.clone())).collect();
    Filled { registry: registry.parse().expect("a registry's id is a UUID"), clusters, tasks }
}

/// What the registry says once it has taken every fact in.
fn ready(state: &State) -> Vec<ClusterState> {
    let of = |cluster: &crate::core::model::Cluster| {
        let observed = cluster.nodes.iter().map(|(name, node)| (name.clone(), node.sequence));
        ClusterState { observed: observed.collect(), ..world::cluster_state(&cluster.id, ClusterStatus::Ready) }
    };
    state.clusters.values().map(of).collect()
}
