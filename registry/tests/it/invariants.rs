//! The invariants are found broken where they are.

use crate::support::{Harness, PAIR, on_every_database, pair_options};
use bigdata_common::ClusterId;
use bigdata_common::event::Event;
use bigdata_common::status::NodeStatus;
use reqwest::Method;
use serde_json::json;

async fn ready(registry: &Harness) -> ClusterId {
    registry.product(PAIR, &pair_options(), None).await;
    let request = registry.request(Method::POST, "/products/demo/1.0").header("idempotency-key", "k");
    assert_eq!(request.json(&json!({"mem": 64})).send().await.unwrap().status(), 202);
    let cluster: ClusterId = "clusters--ann--demo--1__0--1".parse().unwrap();
    registry.node(&cluster, "a", 1, NodeStatus::Running, Some(true)).await;
    cluster
}

async fn broken(registry: &Harness) -> Vec<String> {
    registry.invariants().await.violations.into_iter().map(|violation| violation.detail).collect()
}

#[tokio::test]
async fn each_break_is_found() {
    for (query, words) in [
        ("DELETE FROM events WHERE sequence = 2", "after event 1 comes 3"),
        ("UPDATE clusters SET record = '{}'", "missing field"),
        ("DELETE FROM operations", "it has 0 launches"),
        ("DELETE FROM clusters", "its cluster is not stored"),
        ("UPDATE nodes SET wanted_revision = 7", "its revision does not describe the node a"),
        ("UPDATE numbers SET last = 2", "the last number given is 2; there are 1 clusters"),
        ("UPDATE idempotency_keys SET reply = '{}'", "its reply cannot be read"),
        (
            "UPDATE nodes SET observation = (SELECT observation FROM nodes WHERE name = 'a'), status = 'running'",
            "is that of",
        ),
        (
            "UPDATE operations SET view = replace(view, '\"id\":\"', '\"id\":\"0190a0a0-0000-7000-8000-000000000000\",\"old\":\"')",
            "not the cluster's",
        ),
    ] {
        on_every_database(async |registry| {
            ready(registry).await;
            assert_eq!(broken(registry).await, Vec::<String>::new());
            registry.execute(query).await;
            let found = broken(registry).await;
            assert!(found.iter().any(|detail| detail.contains(words)), "{query}: {found:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn an_operation_past_its_deadline_and_what_is_left_of_a_destroyed_cluster() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        // The timer sees only the column; it is blinded here.
        registry.execute("UPDATE clusters SET deadline_at_ms = NULL").await;
        registry.clock.advance_millis(601_000);
        assert_eq!(broken(registry).await, Vec::<String>::new(), "the timer is given its time");
        registry.clock.advance_millis(60_000);
        let found = broken(registry).await;
        assert!(found.len() == 1 && found[0].contains("is open since its deadline"), "{found:?}");

        registry.delete(&format!("/{}", cluster.dn())).await;
        registry.fact(&cluster, Event::ClusterReleased { generation: 1, leftovers: Vec::new() }).await;
        assert_eq!(broken(registry).await, Vec::<String>::new(), "word of its nodes may be under way");
        registry.clock.advance_millis(61_000);
        let found = broken(registry).await;
        assert!(found.len() == 1 && found[0].contains("not listed: a"), "{found:?}");
        registry.node(&cluster, "a", 2, NodeStatus::Stopped, None).await;
        assert_eq!(broken(registry).await, Vec::<String>::new());
    })
    .await;
}
