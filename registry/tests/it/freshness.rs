//! Nothing is called healthy without a fresh word, where words are promised.

use crate::support::{Harness, PAIR, eventually, on_every_database, pair_options};
use bigdata_common::ClusterId;
use bigdata_common::status::NodeStatus;
use reqwest::{Method, StatusCode};
use serde_json::json;

async fn ready(registry: &Harness) -> ClusterId {
    registry.product(PAIR, &pair_options(), None).await;
    let cluster = registry.launch(json!({"mem": 64})).await;
    registry.node(&cluster, "a", 1, NodeStatus::Running, Some(true)).await;
    registry.node(&cluster, "b", 1, NodeStatus::Running, None).await;
    assert_eq!(registry.entry(&cluster).await["health"], "healthy");
    cluster
}

async fn hear(registry: &Harness, cluster: &ClusterId, node: &str, sequence: u64) -> StatusCode {
    let heard = json!({"nodes": [{"cluster": cluster, "node": node, "sequence": sequence,
                                  "observed_at": registry.clock.now(), "holds_ms": 70_000}]});
    let request = registry.request_as("x", "", Method::POST, "/internal/v1/heard");
    request.json(&heard).send().await.unwrap().status()
}

async fn messages(registry: &Harness, cluster: &ClusterId) -> Vec<String> {
    let (_, list) = registry.get(&format!("/{}/events", cluster.dn())).await;
    let events = list["events"].as_array().unwrap();
    events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_node_without_a_word_is_not_called_healthy() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        assert_eq!(hear(registry, &cluster, "a", 1).await, 204);
        registry.clock.advance_millis(84_000);
        let entry = registry.entry(&cluster).await;
        assert_eq!((&entry["health"], &entry["health_age_s"]), (&json!("healthy"), &json!(84)));
        registry.clock.advance_millis(2_000);
        // At once, before the timer has looked.
        let entry = registry.entry(&cluster).await;
        assert_eq!(
            (&entry["health"], &entry["health_reasons"]),
            (&json!("degraded"), &json!(["a is unknown: no word for 86 s"]))
        );
        let (_, list) = registry.get("/clusters").await;
        assert_eq!(list["clusters"][0]["data"]["health"], "degraded");
        let (_, node) = registry.get(&format!("/{}/nodes/a", cluster.dn())).await;
        assert_eq!(
            (&node["health"], &node["reason"], &node["observed_age_s"]),
            (&json!("unknown"), &json!("unknown: no word for 86 s"), &json!(86))
        );
        eventually("the history says so", async || {
            messages(registry, &cluster).await.iter().any(|message| message.contains("healthy → degraded"))
        })
        .await;
        // A word about what was known before does not count; the right one does.
        assert_eq!(hear(registry, &cluster, "a", 0).await, 204);
        assert_eq!(registry.entry(&cluster).await["health"], "degraded");
        assert_eq!(hear(registry, &cluster, "a", 1).await, 204);
        registry.clock.advance_millis(2_000);
        eventually("the history says that, too", async || {
            messages(registry, &cluster).await.iter().any(|message| message.contains("degraded → healthy"))
        })
        .await;
        let messages = messages(registry, &cluster).await;
        let once = |words: &str| messages.iter().filter(|message| message.contains(words)).count();
        assert_eq!((once("a: no word of it for 86 s"), once("a: it is heard of again")), (1, 1), "{messages:?}");
        assert_eq!(registry.entry(&cluster).await["health"], "healthy");
        assert_eq!(registry.invariants().await.violations, []);
    })
    .await;
}

#[tokio::test]
async fn two_replicas_say_it_once_and_a_node_that_is_told_of_on_changes_alone_stays_healthy() {
    on_every_database(async |registry| {
        let (cluster, replica) = (ready(registry).await, registry.replica().await);
        registry.clock.advance_millis(30 * 24 * 3_600_000);
        assert_eq!(registry.entry(&cluster).await["health"], "healthy");
        for node in ["a", "b"] {
            hear(&replica, &cluster, node, 1).await;
        }
        registry.clock.advance_millis(100_000);
        eventually("nothing is known any more", async || {
            messages(registry, &cluster).await.iter().any(|message| message.contains("healthy → unavailable"))
        })
        .await;
        let entry = registry.entry(&cluster).await;
        assert_eq!(entry["health_reasons"], json!(["a, b: is unknown: no word for 100 s"]));
        // A changed observation is a word, too.
        registry.node(&cluster, "a", 2, NodeStatus::Running, Some(true)).await;
        assert_eq!(registry.entry(&cluster).await["health"], "degraded");
        let messages = messages(registry, &cluster).await;
        assert_eq!(messages.iter().filter(|message| message.contains("no word of it")).count(), 1, "{messages:?}");
    })
    .await;
}
