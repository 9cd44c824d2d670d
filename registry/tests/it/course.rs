//! A cluster's way through facts, limits and wishes, over the bus and HTTP.

use crate::support::{Harness, PAIR, SCRIPT, eventually, node_fact, on_every_database, pair_options};
use bigdata_common::ClusterId;
use bigdata_common::event::{EndpointRole, Envelope, Event, Output, RunResult};
use bigdata_common::internal::Desired;
use bigdata_common::status::NodeStatus;
use serde_json::{Value, json};

async fn launched(registry: &Harness, script: Option<&str>) -> ClusterId {
    registry.product(PAIR, &pair_options(), script).await;
    registry.launch(json!({"mem": 64})).await
}

/// Brings a cluster with a script to `configuring`.
async fn configuring(registry: &Harness) -> (ClusterId, bigdata_common::event::RunRef) {
    let cluster = launched(registry, Some(SCRIPT)).await;
    registry.fact(&cluster, Event::PlacementWaiting { generation: 1, reasons: vec![] }).await;
    for (node, passing) in [("a", None), ("b", None)] {
        registry.node(&cluster, node, 1, NodeStatus::Running, passing).await;
    }
    let run = registry.wanted_run(&cluster).await;
    registry.fact(&cluster, Event::RunStarted(run.clone())).await;
    (cluster, run)
}

async fn ready(registry: &Harness) -> ClusterId {
    let (cluster, run) = configuring(registry).await;
    registry.end_run(&cluster, &run, RunResult::Succeeded {}).await;
    registry.node(&cluster, "a", 2, NodeStatus::Running, Some(true)).await;
    assert_eq!(registry.status(&cluster).await, "ready");
    cluster
}

/// The history's sequences are without gaps; its statuses, in their order.
async fn history(registry: &Harness, cluster: &ClusterId) -> Vec<String> {
    let (_, list) = registry.get(&format!("/{}/events?limit=500", cluster.dn())).await;
    let events = list["events"].as_array().unwrap().clone();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], json!(index + 1));
    }
    let of_status = events.iter().filter(|event| event["kind"] == "status");
    of_status.map(|event| event["status"].as_str().unwrap().to_owned()).collect()
}

async fn operation(registry: &Harness, cluster: &ClusterId, kind: &str) -> Value {
    let (_, list) = registry.get(&format!("/{}/operations", cluster.dn())).await;
    list["operations"].as_array().unwrap().iter().find(|operation| operation["kind"] == kind).unwrap().clone()
}

#[tokio::test]
async fn from_registered_to_ready() {
    on_every_database(async |registry| {
        let cluster = launched(registry, Some(SCRIPT)).await;
        registry.fact(&cluster, Event::PlacementWaiting { generation: 1, reasons: vec![] }).await;
        assert_eq!(registry.status(&cluster).await, "scheduling");
        let reasons = vec!["a: agent x lacks 12 MiB".to_owned()];
        registry.fact(&cluster, Event::PlacementWaiting { generation: 1, reasons }).await;
        assert!(registry.entry(&cluster).await["reason"].as_str().unwrap().contains("12 MiB"));
        registry.node(&cluster, "a", 1, NodeStatus::Launching, None).await;
        registry.node(&cluster, "a", 2, NodeStatus::Running, None).await;
        assert_eq!(registry.status(&cluster).await, "scheduling");
        registry.node(&cluster, "b", 1, NodeStatus::Running, None).await;
        assert_eq!(registry.status(&cluster).await, "scheduled");
        let run = registry.wanted_run(&cluster).await;
        assert_eq!(run.action, "start");
        registry.fact(&cluster, Event::RunStarted(run.clone())).await;
        assert_eq!(registry.status(&cluster).await, "configuring");
        registry.fact(&cluster, Event::RunProgress { run: run.clone(), percent: 40, message: "half".to_owned() }).await;
        assert_eq!(operation(registry, &cluster, "launch").await["steps"][1]["percent"], 40);
        for (key, value, secret, endpoint) in [
            ("url", Some("http://127.64.0.1/"), false, Some(EndpointRole { role: "web".to_owned(), connect: None })),
            ("password", None, true, None),
        ] {
            let output = Output { key: key.to_owned(), value: value.map(str::to_owned), secret, endpoint };
            registry.fact(&cluster, Event::RunOutput { run: run.clone(), output }).await;
        }
        let (_, endpoints) = registry.get(&format!("/{}/endpoints", cluster.dn())).await;
        assert_eq!(endpoints["endpoints"][0]["url"], "http://127.64.0.1/");
        assert_eq!(endpoints["outputs"][0]["value"], "********");
        registry.end_run(&cluster, &run, RunResult::Succeeded {}).await;
        // a declares health and has not passed; b declares none.
        assert_eq!(registry.status(&cluster).await, "configured");
        assert!(registry.state(&cluster).await.run.is_none());
        registry.node(&cluster, "a", 3, NodeStatus::Running, Some(true)).await;
        let entry = registry.entry(&cluster).await;
        assert_eq!(
            (&entry["status"], &entry["health"], &entry["nodes_running"]),
            (&json!("ready"), &json!("healthy"), &json!(2))
        );
        assert_eq!(entry["operation"], Value::Null);
        let wanted = ["registered", "scheduling", "scheduled", "configuring", "configured", "ready"];
        assert_eq!(history(registry, &cluster).await, wanted);
        let phases: Vec<_> = entry["phases"].as_array().unwrap().iter().map(|phase| phase["status"].clone()).collect();
        assert_eq!(json!(phases), json!(wanted));
        let launch = operation(registry, &cluster, "launch").await;
        assert_eq!((&launch["status"], &launch["steps"][2]["status"]), (&json!("succeeded"), &json!("succeeded")));
        let sequences: Vec<u64> = registry
            .outbox()
            .await
            .iter()
            .filter_map(|envelope| match &envelope.event {
                Event::ClusterStatus { sequence, .. } => Some(*sequence),
                _ => None,
            })
            .collect();
        assert!(sequences.len() == 5 && sequences.is_sorted(), "{sequences:?}");
    })
    .await;
}

#[tokio::test]
async fn without_a_script_it_goes_on_at_once_and_facts_may_come_in_any_order() {
    on_every_database(async |registry| {
        let cluster = launched(registry, None).await;
        registry.node(&cluster, "b", 5, NodeStatus::Running, None).await;
        registry.node(&cluster, "a", 7, NodeStatus::Running, Some(true)).await;
        assert_eq!(registry.status(&cluster).await, "ready");
        // Stale by sequence, by generation, and about a node that it has not.
        registry.node(&cluster, "a", 6, NodeStatus::Failed, None).await;
        registry.node(&cluster, "zz", 9, NodeStatus::Failed, None).await;
        registry.fact(&cluster, Event::PlacementWaiting { generation: 0, reasons: vec!["old".to_owned()] }).await;
        let entry = registry.entry(&cluster).await;
        assert_eq!(
            (&entry["status"], &entry["health"], &entry["reason"]),
            (&json!("ready"), &json!("healthy"), &Value::Null)
        );
        assert_eq!(json!(registry.state(&cluster).await.observed), json!({"a": 7, "b": 5}));
    })
    .await;
}

#[tokio::test]
async fn an_event_that_comes_twice_counts_once() {
    on_every_database(async |registry| {
        let cluster = launched(registry, None).await;
        let fact = node_fact(registry.clock.now(), 1, "a", 1, NodeStatus::Running, Some(true));
        let id = bigdata_common::EventId(uuid::Uuid::now_v7());
        let envelope = Envelope {
            id,
            cluster_id: cluster.clone(),
            revision: 1,
            at: registry.clock.now(),
            request_id: None,
            traceparent: None,
            event: Event::NodeRunning(fact),
        };
        registry.envelope(envelope.clone()).await;
        let after_one = registry.count("events").await;
        registry.envelope(envelope).await;
        assert_eq!(registry.count("events").await, after_one);
        assert_eq!(registry.count("parked").await, 0);
    })
    .await;
}

#[tokio::test]
async fn health_follows_the_observations_of_a_ready_cluster() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        registry.node(&cluster, "a", 3, NodeStatus::Running, Some(false)).await;
        let entry = registry.entry(&cluster).await;
        assert_eq!((&entry["status"], &entry["health"]), (&json!("ready"), &json!("degraded")));
        assert!(entry["health_reasons"][0].as_str().unwrap().contains('a'));
        registry.node(&cluster, "b", 2, NodeStatus::Unreachable, None).await;
        assert_eq!(registry.entry(&cluster).await["health"], "unavailable");
        registry.clock.advance_millis(5000);
        registry.node(&cluster, "a", 4, NodeStatus::Running, Some(true)).await;
        registry.node(&cluster, "b", 3, NodeStatus::Running, None).await;
        let entry = registry.entry(&cluster).await;
        assert_eq!((&entry["health"], &entry["health_observed_at"]), (&json!("healthy"), &json!(registry.clock.now())));
    })
    .await;
}

#[tokio::test]
async fn a_failing_script_fails_the_cluster_and_a_retry_takes_it_up_there() {
    on_every_database(async |registry| {
        let (cluster, run) = configuring(registry).await;
        registry.end_run(&cluster, &run, RunResult::Failed { reason: "exit 3: no java".to_owned() }).await;
        let entry = registry.entry(&cluster).await;
        assert_eq!((&entry["status"], &entry["failed_during"]), (&json!("failed"), &json!("configuring")));
        assert_eq!(entry["reason"], "exit 3: no java");
        assert_eq!(registry.state(&cluster).await.desired, Desired::Run);
        assert!(operation(registry, &cluster, "launch").await["error"].as_str().unwrap().contains("no java"));
        let (status, retry) = registry.post(&format!("/{}/retry", cluster.dn()), json!({})).await;
        assert_eq!((status.as_u16(), &retry["kind"]), (202, &json!("retry")));
        assert_eq!(registry.status(&cluster).await, "scheduled");
        // The old run's end is stale now.
        registry.end_run(&cluster, &run, RunResult::Succeeded {}).await;
        assert_eq!(registry.status(&cluster).await, "scheduled");
        let again = registry.wanted_run(&cluster).await;
        assert_eq!((again.generation, again.operation != run.operation), (2, true));
        registry.node(&cluster, "a", 2, NodeStatus::Running, Some(true)).await;
        registry.end_run(&cluster, &again, RunResult::Succeeded {}).await;
        assert_eq!(registry.status(&cluster).await, "ready");
        assert_eq!(registry.post(&format!("/{}/retry", cluster.dn()), json!({})).await.1["code"], "BD0018");
    })
    .await;
}

#[tokio::test]
async fn a_node_given_up_fails_the_cluster_and_its_nodes_are_kept_for_a_while() {
    on_every_database(async |registry| {
        let cluster = launched(registry, None).await;
        registry.node(&cluster, "b", 1, NodeStatus::Running, None).await;
        registry.node(&cluster, "a", 1, NodeStatus::Failed, None).await;
        let entry = registry.entry(&cluster).await;
        assert_eq!((&entry["status"], &entry["failed_during"]), (&json!("failed"), &json!("scheduling")));
        assert!(entry["reason"].as_str().unwrap().contains("no such file"), "{entry}");
        registry.clock.advance_millis(3_599_000);
        assert_eq!(registry.state(&cluster).await.desired, Desired::Run);
        registry.clock.advance_millis(2_000);
        eventually("its nodes are released", async || registry.state(&cluster).await.desired == Desired::Release).await;
        assert_eq!(registry.status(&cluster).await, "failed");
        registry.fact(&cluster, Event::ClusterReleased { generation: 1, leftovers: vec!["a volume".to_owned()] }).await;
        // Nothing is left to be ended: destroyed at once, with what was told.
        registry.delete(&format!("/{}", cluster.dn())).await;
        let entry = registry.entry(&cluster).await;
        assert_eq!((&entry["status"], &entry["leftovers"]), (&json!("destroyed"), &json!(["a volume"])));
    })
    .await;
}

#[tokio::test]
async fn every_limit_fails_its_own_phase() {
    on_every_database(async |registry| {
        let cluster = launched(registry, None).await;
        let reasons = vec!["a: no agent has 64 MiB".to_owned()];
        registry.fact(&cluster, Event::PlacementWaiting { generation: 1, reasons }).await;
        registry.clock.advance_millis(601_000);
        eventually("placement ends", async || registry.status(&cluster).await == "failed").await;
        let entry = registry.entry(&cluster).await;
        assert!(
            entry["failed_during"] == "scheduling" && entry["reason"].as_str().unwrap().contains("64 MiB"),
            "{entry}"
        );

        let second = registry.launch(json!({"mem": 64})).await;
        registry.node(&second, "b", 1, NodeStatus::Running, None).await;
        registry.node(&second, "a", 1, NodeStatus::Running, Some(false)).await;
        assert_eq!(registry.status(&second).await, "configured");
        registry.clock.advance_millis(301_000);
        eventually("health ends", async || registry.status(&second).await == "failed").await;
        assert_eq!(registry.entry(&second).await["failed_during"], "configured");

        registry.put("/products/demo/1.0/orchestrator", SCRIPT).await;
        let (third, _) = configuring(registry).await;
        registry.clock.advance_millis(1_816_000);
        eventually("the script ends", async || registry.status(&third).await == "failed").await;
        assert_eq!(registry.entry(&third).await["failed_during"], "configuring");
    })
    .await;
}

#[tokio::test]
async fn destroying_runs_the_script_then_releases_and_is_idempotent() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let path = format!("/{}", cluster.dn());
        let (status, reply) = registry.delete(&path).await;
        assert_eq!(
            (status.as_u16(), &reply["message"], &reply["status"]),
            (200, &json!("success"), &json!("destroying"))
        );
        let state = registry.state(&cluster).await;
        assert_eq!((state.desired, state.run.as_ref().map(|run| run.action.as_str())), (Desired::Run, Some("destroy")));
        assert_eq!(registry.delete(&path).await.1["operation"], reply["operation"]);
        let run = registry.wanted_run(&cluster).await;
        registry.end_run(&cluster, &run, RunResult::Failed { reason: "never mind".to_owned() }).await;
        let state = registry.state(&cluster).await;
        assert!(state.desired == Desired::Release && state.run.is_none());
        registry
            .fact(&cluster, Event::ClusterReleased { generation: 1, leftovers: vec!["volume v kept".to_owned()] })
            .await;
        let entry = registry.entry(&cluster).await;
        assert_eq!((&entry["status"], &entry["leftovers"]), (&json!("destroyed"), &json!(["volume v kept"])));
        let (status, again) = registry.delete(&path).await;
        assert_eq!((status.as_u16(), &again["operation"]), (200, &reply["operation"]));
        assert_eq!(operation(registry, &cluster, "destroy").await["status"], "succeeded");
        assert_eq!(registry.get("/clusters?status=ready").await.1["clusters"], json!([]));
        let page = registry.request_as("x", "", reqwest::Method::GET, "/internal/v1/clusters").send().await.unwrap();
        assert_eq!(page.json::<Value>().await.unwrap()["clusters"], json!([]));
        let kinds: Vec<_> = registry.outbox().await.iter().map(|envelope| envelope.event.kind()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "cluster.destroying.v1").count(), 2);
    })
    .await;
}

#[tokio::test]
async fn destroying_while_launching_cancels_the_launch() {
    on_every_database(async |registry| {
        let (cluster, run) = configuring(registry).await;
        registry.delete(&format!("/{}", cluster.dn())).await;
        assert_eq!(operation(registry, &cluster, "launch").await["status"], "cancelled");
        registry.end_run(&cluster, &run, RunResult::Cancelled {}).await;
        let state = registry.state(&cluster).await;
        assert_eq!(state.run.map(|run| run.action).as_deref(), Some("destroy"));
        let kinds: Vec<_> = registry.outbox().await.iter().map(|envelope| envelope.event.kind()).collect();
        assert!(kinds.contains(&"operation.cancelled.v1"));
        // The script does not come back: its limit passes.
        registry.clock.advance_millis(136_000);
        eventually("the script is given up", async || registry.state(&cluster).await.desired == Desired::Release).await;
        assert!(!registry.state(&cluster).await.force);
        registry.delete(&format!("/{}?force=true", cluster.dn())).await;
        assert!(registry.state(&cluster).await.force);
    })
    .await;
}

#[tokio::test]
async fn an_operation_is_cancelled_and_a_protected_cluster_is_not_destroyed() {
    on_every_database(async |registry| {
        let cluster = launched(registry, None).await;
        let launch = operation(registry, &cluster, "launch").await;
        let path = format!("/operations/{}", launch["id"].as_str().unwrap());
        let (status, cancelled) = registry.delete(&path).await;
        assert_eq!((status.as_u16(), &cancelled["status"]), (200, &json!("cancelled")));
        assert_eq!(registry.delete(&path).await.1["status"], "cancelled");
        let entry = registry.entry(&cluster).await;
        assert!(entry["status"] == "failed" && entry["reason"] == "cancelled by ann", "{entry}");

        let kept = registry.launch(json!({"mem": 64, "termination": "do-not-terminate"})).await;
        let (status, problem) = registry.delete(&format!("/{}", kept.dn())).await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("BD0019")));
        assert_eq!(registry.status(&kept).await, "registered");
        let path = format!("/{}/termination", kept.dn());
        assert_eq!(registry.put(&path, json!({"termination": "never"}).to_string()).await.0.as_u16(), 400);
        assert_eq!(registry.put(&path, json!({"termination": "wipe"}).to_string()).await.0.as_u16(), 204);
        assert_eq!(registry.entry(&kept).await["termination"], "wipe");
        assert_eq!(registry.delete(&format!("/{}", kept.dn())).await.0.as_u16(), 200);
        assert_eq!(registry.put(&path, json!({"termination": "keep-data"}).to_string()).await.0.as_u16(), 409);
    })
    .await;
}

#[tokio::test]
async fn a_retry_after_the_nodes_were_released_places_them_anew() {
    on_every_database(async |registry| {
        let (cluster, run) = configuring(registry).await;
        registry.end_run(&cluster, &run, RunResult::Failed { reason: "exit 3".to_owned() }).await;
        registry.clock.advance_millis(3_601_000);
        eventually("its nodes are released", async || registry.state(&cluster).await.desired == Desired::Release).await;
        registry.post(&format!("/{}/retry", cluster.dn()), json!({})).await;
        let state = registry.state(&cluster).await;
        assert_eq!((state.generation, state.desired, state.status.as_str()), (2, Desired::Run, "scheduling"));
        // What the old nodes still say counts no more; the new ones count.
        registry.node(&cluster, "a", 8, NodeStatus::Running, None).await;
        registry.fact(&cluster, Event::ClusterReleased { generation: 1, leftovers: vec![] }).await;
        assert_eq!(registry.entry(&cluster).await["nodes_running"], 0);
        for node in ["a", "b"] {
            let fact = node_fact(registry.clock.now(), 2, node, 9, NodeStatus::Running, None);
            registry.fact(&cluster, Event::NodeRunning(fact)).await;
        }
        assert_eq!(registry.status(&cluster).await, "scheduled");
    })
    .await;
}

#[tokio::test]
async fn a_bus_that_repeats_delays_and_reorders_changes_nothing() {
    on_every_database(async |registry| {
        let seed = u64::from_le_bytes(bigdata_chassis::secret::random_bytes());
        println!("seed {seed}");
        let cluster = launched(registry, None).await;
        let mut events = Vec::new();
        for (sequence, status, passing) in [
            (1, NodeStatus::Launching, None),
            (2, NodeStatus::Running, None),
            (3, NodeStatus::Running, Some(false)),
            (4, NodeStatus::Running, Some(true)),
        ] {
            for node in ["a", "b"] {
                let fact = node_fact(registry.clock.now(), 1, node, sequence, status, passing);
                let id = bigdata_common::EventId(uuid::Uuid::now_v7());
                let event = Event::NodeHealth(fact);
                let (cluster_id, at) = (cluster.clone(), registry.clock.now());
                events.extend([(); 2].map(|()| Envelope {
                    id,
                    cluster_id: cluster_id.clone(),
                    revision: 1,
                    at,
                    request_id: None,
                    traceparent: None,
                    event: event.clone(),
                }));
            }
        }
        // Fisher and Yates, by the seed.
        let mut state = seed | 1;
        for index in (1..events.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            events.swap(index, usize::try_from((state >> 33) % (index as u64 + 1)).unwrap());
        }
        for envelope in events {
            registry.envelope(envelope).await;
        }
        let entry = registry.entry(&cluster).await;
        assert_eq!((&entry["status"], &entry["health"]), (&json!("ready"), &json!("healthy")));
        history(registry, &cluster).await;
    })
    .await;
}

#[tokio::test]
async fn nodes_that_were_started_anew_are_configured_again() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let anew = |sequence, attempt, status| {
            let mut fact = node_fact(registry.clock.now(), 1, "b", sequence, status, None);
            fact.observation.attempt.number = attempt;
            fact
        };
        registry.fact(&cluster, Event::NodeEnded(anew(5, 1, NodeStatus::Stopped))).await;
        registry.fact(&cluster, Event::NodeLaunching(anew(6, 2, NodeStatus::Launching))).await;
        assert!(registry.state(&cluster).await.run.is_none());
        registry.fact(&cluster, Event::NodeRunning(anew(7, 2, NodeStatus::Running))).await;
        let run = registry.wanted_run(&cluster).await;
        assert_eq!((run.action.as_str(), registry.status(&cluster).await.as_str()), ("start", "ready"));
        assert_eq!(operation(registry, &cluster, "reconfigure").await["status"], "running");
        registry.fact(&cluster, Event::RunStarted(run.clone())).await;
        registry.end_run(&cluster, &run, RunResult::Failed { reason: "exit 3".to_owned() }).await;
        let ended = operation(registry, &cluster, "reconfigure").await;
        assert_eq!((&ended["status"], &ended["error"]), (&json!("failed"), &json!("exit 3")));
        // The cluster stays what it is; the next new attempt is the next occasion.
        assert_eq!(registry.status(&cluster).await, "ready");
        assert!(registry.state(&cluster).await.run.is_none());
        registry.fact(&cluster, Event::NodeRunning(anew(9, 3, NodeStatus::Running))).await;
        let run = registry.wanted_run(&cluster).await;
        registry.end_run(&cluster, &run, RunResult::Succeeded {}).await;
        assert_eq!(operation(registry, &cluster, "reconfigure").await["status"], "succeeded");
        assert!(registry.state(&cluster).await.run.is_none());
    })
    .await;
}
