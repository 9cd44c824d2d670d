//! Nodes that come, are begun anew and go while their cluster is ready, each on its disk.

use crate::stage::Stage;
use bigdata_common::event::{Event, NodeFact};
use bigdata_common::internal::{Desired, NodeWish};
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterId, Name};
use serde_json::{Value, json};

const FIRST: NodeWish = NodeWish { revision: 1, incarnation: 0, elsewhere: false };

fn counting() -> Value {
    let disk = json!({"destination": "/data", "size": 64, "persistent": true, "type": "volume"});
    json!({"cpu": 0.5, "mem": 64, "command": "count", "disks": {"data": disk}})
}

/// The next fact that a node runs in this incarnation (what was said of the one before may be told again for a while);
/// what it says: how many attempts have been on its disk, and how many peers it has.
async fn running(stage: &mut Stage, name: &str, incarnation: u32) -> (NodeFact, String, String) {
    let fact = stage
        .expect("a node running", |event| match event {
            Event::NodeRunning(fact) if fact.node.as_str() == name && fact.observation.incarnation == incarnation => {
                Some(fact.clone())
            }
            _ => None,
        })
        .await;
    let said = fact.observation.last_lines.clone();
    let [.., attempts, peers] = &said[..] else { panic!("{said:?}") };
    (fact, attempts.clone(), peers.clone())
}

/// The registry wishes something else of a node, and says so.
async fn wish(stage: &Stage, id: &ClusterId, name: &str, wish: NodeWish) {
    let name: Name = name.parse().unwrap();
    stage.change(id, |state| {
        state.revision = state.revision.max(wish.revision);
        state.nodes.insert(name, wish);
    });
    stage.tell(id, Event::ClusterChanged {}).await;
}

async fn released(stage: &mut Stage, name: &str) -> Vec<String> {
    let released = stage.expect("the node's release", |event| match event {
        Event::NodeReleased { node, leftovers, .. } if node.as_str() == name => Some(leftovers.clone()),
        _ => None,
    });
    released.await
}

#[actix_web::test]
async fn nodes_come_are_begun_anew_on_their_disks_and_go() {
    let mut stage = Stage::new().await;
    let id = ClusterId::parse_any("clusters/alice/demo/1.0/11").unwrap();
    stage.register(&id, json!({"a": counting()})).await;
    wish(&stage, &id, "a", FIRST).await;
    let (first, attempts, peers) = running(&mut stage, "a", 0).await;
    assert_eq!((attempts.as_str(), peers.as_str(), first.observation.revision), ("1", "1", 1));
    stage.change(&id, |state| state.status = ClusterStatus::Ready);

    stage.revise(&id, 2, json!({"a": counting(), "b": counting()}));
    wish(&stage, &id, "b", NodeWish { revision: 2, ..FIRST }).await;
    let (second, attempts, peers) = running(&mut stage, "b", 0).await;
    assert_eq!((attempts.as_str(), peers.as_str(), second.observation.revision), ("1", "2", 2));

    wish(&stage, &id, "a", NodeWish { incarnation: 1, revision: 2, elsewhere: false }).await;
    let (again, attempts, peers) = running(&mut stage, "a", 1).await;
    assert_eq!((attempts.as_str(), peers.as_str()), ("2", "2"), "it is on its disk");
    let (one, other) = (&first.observation, &again.observation);
    assert_eq!((other.incarnation, other.revision, &other.agent, &other.address), (1, 2, &one.agent, &one.address));

    // A service that comes back goes on where it was, and takes in what was wished meanwhile.
    stage.stop().await;
    // Nobody is there to be told: it is read.
    stage.change(&id, |state| state.nodes.get_mut("a").unwrap().incarnation = 2);
    stage.start().await;
    let (_, attempts, _) = running(&mut stage, "a", 2).await;
    assert_eq!(attempts, "3");

    wish(&stage, &id, "a", NodeWish { incarnation: 3, revision: 2, elsewhere: true }).await;
    let (fresh, attempts, _) = running(&mut stage, "a", 3).await;
    assert_eq!((attempts.as_str(), fresh.observation.incarnation), ("1", 3), "its disk is empty");

    stage.change(&id, |state| {
        state.nodes.shift_remove("a");
        state.leaving = vec!["a".parse().unwrap()];
    });
    stage.tell(&id, Event::ClusterChanged {}).await;
    assert_eq!(released(&mut stage, "a").await, Vec::<String>::new());
    let found: bigdata_common::invariants::Invariants = stage.client().get("/internal/v1/invariants").await.unwrap();
    assert_eq!(found.violations, []);

    stage.change(&id, |state| (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release));
    stage.tell(&id, Event::ClusterDestroying {}).await;
    let leftovers = stage.expect("the release", |event| match event {
        Event::ClusterReleased { leftovers, .. } => Some(leftovers.clone()),
        _ => None,
    });
    assert_eq!(leftovers.await, Vec::<String>::new());
    stage.end().await;
}
