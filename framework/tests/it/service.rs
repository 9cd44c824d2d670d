//! The way of clusters through the service.

use crate::stage::{LIMIT, Stage};
use bigdata_chassis::http::{ClientError, InternalClient};
use bigdata_chassis::secret::Token;
use bigdata_common::ClusterId;
use bigdata_common::api::cluster::Fit;
use bigdata_common::api::explain::{AgentList, Explanation};
use bigdata_common::event::{Event, NodeFact};
use bigdata_common::internal::{ControlGrant, Desired, NodeSpecification};
use bigdata_common::status::{ClusterStatus, NodeStatus};
use bigdata_common::{AttemptId, Principal, Role};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

fn cluster(number: u64) -> ClusterId {
    ClusterId::parse_any(&format!("clusters/alice/demo/1.0/{number}")).unwrap()
}

/// The first fact that says of each of two nodes that it runs, in the order of their names. The registry here never says
/// that it has seen one: while the other node is awaited, what is known already is told again.
async fn both_run(stage: &mut Stage) -> Vec<NodeFact> {
    let mut running = BTreeMap::new();
    while running.len() < 2 {
        let fact = stage.expect("a node running", |event| match event {
            Event::NodeRunning(fact) => Some(fact.clone()),
            _ => None,
        });
        let fact = fact.await;
        running.entry(fact.node.clone()).or_insert(fact);
    }
    running.into_values().collect()
}

#[actix_web::test]
async fn from_registered_to_released_over_a_restart() {
    let mut stage = Stage::new().await;
    let id = cluster(1);
    let disk = json!({"data": {"destination": "/data", "size": 64, "persistent": true, "type": "volume"}});
    stage
        .register(
            &id,
            json!({
                "first": {"cpu": 0.5, "mem": 64, "command": "run", "disks": disk},
                "second": {"cpu": 0.5, "mem": 64, "command": "run", "ports": {"web": {"port": 8080, "fixed": true}}},
            }),
        )
        .await;
    stage
        .expect("the search", |event| {
            matches!(event, Event::PlacementWaiting { reasons, .. } if reasons.is_empty()).then_some(())
        })
        .await;
    let running = both_run(&mut stage).await;
    let (first, second) = (&running[0].observation, &running[1].observation);
    assert!(first.address.starts_with("127.77.0.") && first.address != second.address, "{first:?} {second:?}");
    assert_eq!(first.last_lines, [first.address.as_str(), "2", "password"]);
    assert_eq!((first.passing, second.ports["web"]), (Some(true), 8080));

    let grant: ControlGrant = stage
        .client()
        .post(&format!("/internal/v1/clusters/{id}/nodes/first/control"), &json!({"caller": "alice"}))
        .await
        .unwrap();
    assert_eq!((grant.control.as_str(), grant.attempt), ("127.0.0.1:1", first.attempt.id));
    let caller = stage.client().on_behalf_of(&Principal::local());
    let agents: AgentList = caller.get("/bigdata/api/v1/agents").await.unwrap();
    assert_eq!((agents.agents.len(), agents.agents[0].nodes, agents.agents[0].total.cpus), (1, 2, 4.0));

    who_may_not(&stage, &id, first.attempt.id).await;

    stage.stop().await;
    stage.start().await;
    stage.change(&id, |state| state.status = ClusterStatus::Destroying);
    // The bus keeps no queue for the service that was stopped: the new one learns it from its timer.
    stage.change(&id, |state| state.desired = Desired::Release);
    let leftovers = stage
        .expect("the release", |event| match event {
            Event::ClusterReleased { leftovers, .. } => Some(leftovers.clone()),
            _ => None,
        })
        .await;
    assert_eq!(leftovers, Vec::<String>::new());
    stage.end().await;
}

#[actix_web::test]
async fn what_does_not_fit_is_explained_and_what_fails_is_given_up() {
    let mut stage = Stage::new().await;
    let large = cluster(2);
    stage.register(&large, json!({"node": {"cpu": 0.5, "mem": 100_000, "command": "run"}})).await;
    let reasons = stage
        .expect("the reasons", |event| match event {
            Event::PlacementWaiting { reasons, .. } if reasons.iter().any(|reason| reason.contains("lacks")) => {
                Some(reasons.clone())
            }
            _ => None,
        })
        .await;
    assert!(reasons[0].contains("lacks 97984 MiB of memory (mem)"), "{reasons:?}");
    let caller = stage.client().on_behalf_of(&Principal::local());
    let explanation: Explanation = caller.get("/bigdata/api/v1/explain/clusters/alice/demo/1.0/2").await.unwrap();
    assert_eq!(explanation.nodes[0].refusals[0].reason, "mem");
    let blueprint =
        json!({"dnsname": "x", "services": {}, "nodes": {"a": {"cpu": 1.0, "mem": 64, "docker_image": "i"}}});
    let fit: Fit = stage.client().post("/internal/v1/fit", &blueprint).await.unwrap();
    assert!(!fit.fits && fit.reasons[0].contains("no container engine"), "{fit:?}");

    let failing = cluster(3);
    stage.register(&failing, json!({"node": {"cpu": 0.5, "mem": 64, "command": "fail"}})).await;
    let ended = stage
        .expect("the last end", |event| match event {
            Event::NodeEnded(fact) if fact.observation.gave_up => Some(fact.clone()),
            _ => None,
        })
        .await;
    assert_eq!((ended.observation.attempt.number, ended.observation.status), (2, NodeStatus::Failed));
    assert_eq!(ended.observation.reason.as_deref(), Some("it was told to fail"));
    stage.change(&failing, |state| (state.status, state.desired) = (ClusterStatus::Failed, Desired::Release));
    stage.tell(&failing, Event::ClusterDestroying {}).await;
    stage.expect("the release", |event| matches!(event, Event::ClusterReleased { .. }).then_some(())).await;
    stage.end().await;
}

#[actix_web::test]
async fn the_registry_is_told_of_which_nodes_there_was_word_again() {
    let mut stage = Stage::new().await;
    let id = cluster(4);
    let health = json!({"tcp": [80], "interval_ms": 5_000, "timeout_ms": 2_000, "failures": 3, "deadline_ms": 60_000});
    let node = |command: &str| json!({"cpu": 0.5, "mem": 64, "command": command, "health": health});
    stage.register(&id, json!({"loud": node("repeat"), "silent": node("run")})).await;
    let loud = both_run(&mut stage).await.into_iter().find(|fact| fact.node.as_str() == "loud").unwrap();
    let deadline = Instant::now() + LIMIT;
    let heard = loop {
        let heard = stage.truth.lock().unwrap().heard.clone();
        // The first says when it was, a later one that it goes on.
        if heard.len() >= 2 {
            break heard;
        }
        assert!(Instant::now() < deadline, "the registry was not told: {heard:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for node in &heard {
        assert_eq!((&node.cluster, &node.node, node.holds_ms), (&id, &loud.node, 67_000));
        // This registry says of no fact that it has seen it: each is told again, under its next number.
        assert!(node.sequence >= loud.sequence, "{node:?}");
        assert!(node.observed_at >= loud.observation.observed_at, "{node:?}");
    }
    assert!(heard[0].observed_at < heard[1].observed_at);
    let deadline = Instant::now() + LIMIT;
    let engines = loop {
        let engines = stage.truth.lock().unwrap().engines.clone();
        // The first word may have come before the first offer.
        if let Some(engines) = engines.clone().filter(|engines| engines.agents > 0) {
            break engines;
        }
        assert!(Instant::now() < deadline, "the registry was not told of engines: {engines:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((engines.with_engine, engines.kinds.len()), (0, 0), "these agents have no engine");
    stage.change(&id, |state| (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release));
    stage.tell(&id, Event::ClusterDestroying {}).await;
    stage.expect("the release", |event| matches!(event, Event::ClusterReleased { .. }).then_some(())).await;
    stage.end().await;
}

/// Past 8 tries an event whose fault it is would be parked.
#[actix_web::test]
async fn a_registry_that_is_away_for_long_lets_no_event_be_parked() {
    let mut stage = Stage::new().await;
    let id = cluster(6);
    stage.truth.lock().unwrap().is_away = true;
    stage.tell(&id, Event::ClusterRegistered {}).await;
    let deadline = Instant::now() + LIMIT;
    while stage.truth.lock().unwrap().asked_in_vain < 10 {
        assert!(Instant::now() < deadline, "it is not asked again: {}", stage.truth.lock().unwrap().asked_in_vain);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let parked: Value = stage.client().get("/internal/v1/parked").await.unwrap();
    assert_eq!(parked, json!({"parked": []}));
    stage.truth.lock().unwrap().is_away = false;
    stage.register(&id, json!({"node": {"cpu": 0.5, "mem": 64, "command": "run"}})).await;
    stage.expect("the node", |event| matches!(event, Event::NodeRunning(_)).then_some(())).await;
    stage.end().await;
}

#[actix_web::test]
async fn an_empty_database_beside_live_nodes_of_this_registry_places_nothing() {
    let mut stage = Stage::new().await;
    let id = cluster(5);
    stage.register(&id, json!({"node": {"cpu": 0.5, "mem": 64, "command": "run"}})).await;
    stage.expect("the node", |event| matches!(event, Event::NodeRunning(_)).then_some(())).await;
    stage.stop().await;
    stage.lose_database();
    stage.start().await;
    let deadline = Instant::now() + LIMIT;
    let summary = loop {
        let caller = stage.client().on_behalf_of(&Principal::local());
        let explanation = caller.get::<Explanation>(&format!("/bigdata/api/v1/explain/{id}")).await;
        match explanation {
            Ok(explanation) if explanation.summary.contains("restore") => break explanation.summary,
            other => assert!(Instant::now() < deadline, "the loss was not found: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(summary.contains("(node node of clusters--alice--demo--1__0--5)"), "{summary}");
    let awaited = stage.service.as_ref().unwrap().tasks.readiness().awaited();
    assert!(awaited["placement"].contains("framework.adopt_nothing"), "{awaited:?}");
    stage.end().await;
}

#[actix_web::test]
async fn a_master_and_a_registry_that_are_not_there_are_said_to_be_waited_for() {
    let mut stage = Stage::new().await;
    let id = cluster(8);
    stage.register(&id, json!({"node": {"cpu": 0.5, "mem": 64, "command": "run"}})).await;
    stage.expect("the node", |event| matches!(event, Event::NodeRunning(_)).then_some(())).await;
    stage.awaits_nothing().await;
    stage.stop().await;
    let own = std::mem::replace(&mut stage.truth.lock().unwrap().id, uuid::Uuid::new_v4());
    stage.start().await;
    stage.awaits("registry", "this framework's nodes belong to").await;
    stage.truth.lock().unwrap().id = own;
    stage.awaits_nothing().await;
    stage.lose_master().await;
    stage.awaits("mesos", "the Mesos master is away since").await;
    stage.end().await;
}

/// Wrong tokens, unknown attempts and other people's clusters.
async fn who_may_not(stage: &Stage, id: &ClusterId, attempt: AttemptId) {
    let client = stage.client();
    let enrol = |attempt: AttemptId| json!({"attempt": attempt, "token": "guess", "fingerprint": "cd".repeat(32), "control": "127.0.0.1:2", "isolation": ""});
    let unknown = AttemptId(uuid::Uuid::from_u128(1));
    for (attempt, expected) in [(attempt, 403), (unknown, 404)] {
        let answer = client.post::<NodeSpecification>("/internal/v1/nodes/enrol", &enrol(attempt)).await;
        assert_eq!(status_of(answer.map(drop)), expected);
    }
    let stranger = Principal { user: "bob".parse().unwrap(), roles: BTreeSet::from([Role::User]) };
    let explain = format!("/bigdata/api/v1/explain/{id}");
    assert_eq!(status_of(client.on_behalf_of(&stranger).get::<Explanation>(&explain).await.map(drop)), 404);
    let outsider = InternalClient::new(client.base(), Token::random()).unwrap();
    assert_eq!(status_of(outsider.post::<Fit>("/internal/v1/fit", &json!({})).await.map(drop)), 401);
    let path = format!("/internal/v1/clusters/{id}/nodes/nobody/control");
    assert_eq!(status_of(client.post::<ControlGrant>(&path, &json!({"caller": "alice"})).await.map(drop)), 404);
}

fn status_of(answer: Result<(), ClientError>) -> u16 {
    match answer {
        Err(ClientError::Problem(problem)) => problem.status,
        other => panic!("a problem was expected, not {other:?}"),
    }
}
