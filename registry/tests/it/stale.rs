//! What comes late, and what cannot be read: it changes nothing else.

use crate::support::{PAIR, SCRIPT, eventually, node_fact, on_every_database, pair_options};
use bigdata_chassis::on_tx;
use bigdata_common::event::Event;
use bigdata_common::internal::Desired;
use bigdata_common::status::NodeStatus;
use serde_json::json;

#[tokio::test]
async fn a_release_of_an_earlier_generation_ends_nothing() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let cluster = registry.launch(json!({"mem": 64})).await;
        registry.node(&cluster, "a", 1, NodeStatus::Failed, None).await;
        registry.clock.advance_millis(3_601_000);
        eventually("its nodes are released", async || registry.state(&cluster).await.desired == Desired::Release).await;
        let released =
            |generation, leftover: &str| Event::ClusterReleased { generation, leftovers: vec![leftover.to_owned()] };
        registry.fact(&cluster, released(1, "first")).await;
        assert_eq!(registry.post(&format!("/{}/retry", cluster.dn()), json!({})).await.0, 202);
        for (node, sequence) in [("a", 2), ("b", 2)] {
            let fact = node_fact(registry.clock.now(), 2, node, sequence, NodeStatus::Running, Some(true));
            registry.fact(&cluster, Event::NodeRunning(fact)).await;
        }
        assert_eq!(registry.status(&cluster).await, "ready");
        registry.delete(&format!("/{}", cluster.dn())).await;
        // It was told once more before the retry, and comes now: the nodes of the second generation still run.
        registry.fact(&cluster, released(1, "first")).await;
        assert_eq!(registry.status(&cluster).await, "destroying");
        registry.fact(&cluster, released(2, "second")).await;
        assert_eq!(registry.entry(&cluster).await["leftovers"], json!(["second"]));
        let history = registry.get(&format!("/{}/events", cluster.dn())).await;
        registry.fact(&cluster, released(2, "third")).await;
        assert_eq!(registry.entry(&cluster).await["leftovers"], json!(["second"]));
        assert_eq!(registry.get(&format!("/{}/events", cluster.dn())).await, history, "it was released once");
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_cannot_be_read_does_not_stop_the_clock_of_the_others() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), Some(SCRIPT)).await;
        let broken = registry.launch(json!({"mem": 64})).await;
        registry.clock.advance_millis(1000);
        let other = registry.launch(json!({"mem": 64})).await;
        let mut tx = registry.db.begin().await.unwrap();
        on_tx!(tx, connection => sqlx::query("UPDATE clusters SET record = '{}' WHERE id = $1")
            .bind(broken.to_string())
            .execute(connection)
            .await
            .map(drop))
        .unwrap();
        tx.commit().await.unwrap();
        registry.clock.advance_millis(601_000);
        eventually("its limit is seen", async || registry.status(&other).await == "failed").await;
    })
    .await;
}
