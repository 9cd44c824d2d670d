//! Two registries side by side on one database.

use crate::support::{API, Harness, PAIR, SCRIPT, answer, node_fact, on_every_database, pair_options};
use bigdata_common::event::{EndpointRole, Envelope, Event, Output, RunRef, RunResult};
use bigdata_common::status::NodeStatus;
use bigdata_common::{ClusterId, EventId, RunId};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Picks from a sequence that is the same in every run (xorshift; its seed is not 0).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

async fn launch_with_key(registry: &Harness, key: &str) -> (StatusCode, Value) {
    settled(async || {
        let request = registry.request(Method::POST, "/products/demo/1.0").header("idempotency-key", key);
        answer(request.json(&json!({"mem": 64})).send().await.unwrap()).await
    })
    .await
}

/// The answer that is not a 503. Whoever does not get his turn to write within a few seconds is told that nothing was done
/// and that he may ask again, and on a slow machine not everybody of a crowd does.
async fn settled(ask: impl AsyncFn() -> (StatusCode, Value)) -> (StatusCode, Value) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let (status, body) = ask().await;
        if status != StatusCode::SERVICE_UNAVAILABLE {
            return (status, body);
        }
        assert!(Instant::now() < end, "in vain asked again and again: {body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_product_that_is_registered_twice_at_once_keeps_what_it_has() {
    on_every_database(async |registry| {
        let replica = registry.replica().await;
        for version in 0..12 {
            let product = json!({"name": "demo", "version": format!("1.{version}"), "description": "one"});
            let register = async |at: &Harness| {
                let (status, _) = at.post("/products", product.clone()).await;
                assert!(status == 201 || status == 200, "{status}");
                // As a publisher's script does it: registered, and at once the template.
                at.put(&format!("/products/demo/1.{version}/template"), PAIR).await.0
            };
            let replies = join_all([registry, &replica, registry, &replica].map(register)).await;
            assert!(replies.iter().all(|status| *status == 204), "{replies:?}");
            let (status, template) = registry.get(&format!("/products/demo/1.{version}/template")).await;
            assert_eq!((status, template), (StatusCode::OK, json!(PAIR)), "the template is what was accepted");
        }
    })
    .await;
}

#[tokio::test]
async fn replicas_that_launch_the_same_product_share_its_numbers() {
    on_every_database(async |registry| {
        // A file has one registry.
        if !registry.db.is_postgres() {
            return;
        }
        registry.product(PAIR, &pair_options(), None).await;
        let replicas = [registry.replica().await, registry.replica().await];
        let all = [registry, &replicas[0], &replicas[1]];
        let launches = (0..36).map(|index| all[index % 3].launch(json!({"mem": 64})));
        let numbers: BTreeSet<u64> = join_all(launches).await.iter().map(|cluster| cluster.dn().number).collect();
        assert_eq!(numbers, (1..=36).collect());
    })
    .await;
}

#[tokio::test]
async fn an_older_output_that_comes_later_does_not_replace_a_newer_one() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), Some(SCRIPT)).await;
        let cluster = registry.launch(json!({"mem": 64})).await;
        for (node, sequence) in [("a", 1), ("b", 1)] {
            registry.node(&cluster, node, sequence, NodeStatus::Running, None).await;
        }
        let run = registry.wanted_run(&cluster).await;
        let (older, newer) = (EventId(uuid::Uuid::now_v7()), EventId(uuid::Uuid::now_v7()));
        for (id, url) in [(newer, "http://new/"), (older, "http://old/")] {
            let endpoint = Some(EndpointRole { role: "writer".to_owned(), connect: None });
            let output = Output { key: "db".to_owned(), value: Some(url.to_owned()), secret: false, endpoint };
            let event = Event::RunOutput { run: run.clone(), output };
            let (at, cluster_id) = (registry.clock.now(), cluster.clone());
            registry
                .envelope(Envelope { id, cluster_id, revision: 1, at, request_id: None, traceparent: None, event })
                .await;
        }
        let (_, endpoints) = registry.get(&format!("/{}/endpoints", cluster.dn())).await;
        assert_eq!(endpoints["endpoints"][0]["url"], "http://new/");
    })
    .await;
}

#[tokio::test]
async fn the_history_has_an_output_when_it_is_new_and_not_when_it_is_told_again() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), Some(SCRIPT)).await;
        let cluster = registry.launch(json!({"mem": 64})).await;
        for node in ["a", "b"] {
            registry.node(&cluster, node, 1, NodeStatus::Running, None).await;
        }
        let run = registry.wanted_run(&cluster).await;
        for url in ["http://one/", "http://one/", "http://two/", "http://two/", "http://one/"] {
            let output = Output { key: "db".to_owned(), value: Some(url.to_owned()), secret: false, endpoint: None };
            registry.fact(&cluster, Event::RunOutput { run: run.clone(), output }).await;
        }
        let said = registry.texts("events", "event").await;
        assert_eq!(said.iter().filter(|event| event.contains("published db")).count(), 3, "{said:?}");
        assert_eq!(registry.texts("outputs", "output").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_parked_is_listed_and_brought_back() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let cluster = registry.launch(json!({"mem": 64})).await;
        let request = |method, path: &str| registry.request_as("x", "", method, &format!("/internal/v1/parked{path}"));
        let ask = async |method, path: &str| answer(request(method, path).send().await.unwrap()).await;
        assert_eq!(ask(Method::GET, "").await, (StatusCode::OK, json!({"parked": []})));
        let parked = "INSERT INTO parked (event_id, envelope, reason, parked_at_ms) \
                      VALUES ('e1', '{\"id\": 7}', 'nobody can read this', 1000), ('e2', 'no JSON', 'neither', 2000)";
        registry.execute(parked).await;
        let (_, list) = ask(Method::GET, "").await;
        let wanted = json!({"event_id": "e1", "parked_at": "1970-01-01T00:00:01.000Z", "reason": "nobody can read this",
                            "envelope": {"id": 7}});
        assert_eq!((&list["parked"][0]["envelope"], &list["parked"][1]), (&json!("no JSON"), &wanted));
        let outbox = registry.count("outbox").await;
        assert_eq!(ask(Method::POST, "/e1/retry").await.0, 204);
        assert_eq!(registry.count("outbox").await, outbox + 1);
        assert_eq!(ask(Method::POST, "/e1/retry").await.0, 404, "it is parked no more");
        assert_eq!(ask(Method::GET, "").await.1["parked"].as_array().unwrap().len(), 1);
        for (method, path) in [(Method::GET, ""), (Method::POST, "/e2/retry")] {
            let mut stranger = request(method, path).build().unwrap();
            stranger.headers_mut().remove("authorization");
            let bare = reqwest::Client::builder().no_proxy().build().unwrap();
            assert_eq!(bare.execute(stranger).await.unwrap().status(), 401);
        }
        assert_eq!(registry.status(&cluster).await, "registered");
    })
    .await;
}

/// Two replicas take facts about one cluster at the same time, the same ones among them: each counts once, and none is
/// built on what was before the other's.
#[tokio::test]
async fn facts_that_come_to_two_replicas_at_once_count_once_and_are_all_kept() {
    on_every_database(async |registry| {
        let replica = registry.replica().await;
        registry.product(PAIR, &pair_options(), None).await;
        for _ in 0..10 {
            let cluster = registry.launch(json!({"mem": 64})).await;
            let mut envelopes = Vec::new();
            for (node, passing) in [("a", Some(true)), ("b", None)] {
                let attempt = bigdata_common::AttemptId(uuid::Uuid::new_v4());
                for (sequence, status) in [(1, NodeStatus::Launching), (2, NodeStatus::Running)] {
                    let mut fact = node_fact(registry.clock.now(), 1, node, sequence, status, passing);
                    fact.observation.attempt.id = attempt;
                    let (id, at) = (EventId(uuid::Uuid::now_v7()), registry.clock.now());
                    let (cluster_id, event) = (cluster.clone(), Event::NodeHealth(fact));
                    envelopes.push(Envelope {
                        id,
                        cluster_id,
                        revision: 1,
                        at,
                        request_id: None,
                        traceparent: None,
                        event,
                    });
                }
            }
            let both = envelopes.iter().flat_map(|one| [registry, &replica].map(|at| at.envelope(one.clone())));
            join_all(both).await;
            assert_eq!(registry.status(&cluster).await, "ready");
            let operation = &registry.get(&format!("/{}/operations", cluster.dn())).await.1["operations"][0];
            assert_eq!(operation["status"], "succeeded", "{operation}");
        }
        assert_eq!(registry.invariants().await.violations, []);
    })
    .await;
}

/// What may be said of a cluster, in no order: the registry makes the best of it.
fn facts(registry: &Harness, cluster: &ClusterId, launched: &Value, dice: &mut Dice) -> Vec<Event> {
    let run = RunRef {
        run: RunId(uuid::Uuid::new_v4()),
        operation: launched["operation"].as_str().unwrap().parse().unwrap(),
        action: "start".to_owned(),
        step: 0,
        generation: 1,
        attempt: 1,
    };
    let node = |name: &str, sequence, status, passing| {
        let mut fact = node_fact(registry.clock.now(), 1, name, sequence, status, passing);
        fact.observation.attempt.id = bigdata_common::AttemptId(uuid::Uuid::new_v4());
        fact.observation.gave_up = false;
        Event::NodeHealth(fact)
    };
    let mut facts = vec![
        Event::PlacementWaiting { generation: 1, reasons: Vec::new() },
        Event::PlacementWaiting { generation: 1, reasons: vec!["a: no agent has 9 CPUs".to_owned()] },
        node("a", 1, NodeStatus::Launching, None),
        node("a", 2, NodeStatus::Running, None),
        node("a", 3, NodeStatus::Running, Some(false)),
        node("a", 4, NodeStatus::Running, Some(true)),
        node("b", 1, NodeStatus::Launching, None),
        node("b", 2, NodeStatus::Running, None),
        Event::RunStarted(run.clone()),
        Event::RunProgress { run: run.clone(), percent: 50, message: "half".to_owned() },
        Event::RunEnded { run, result: RunResult::Succeeded {} },
    ];
    if dice.below(3) == 0 {
        facts.push(Event::ClusterReleased { generation: 1, leftovers: vec![format!("a volume of {cluster}")] });
    }
    dice.shuffle(&mut facts);
    facts
}

/// What a user may wish of a cluster at any time.
async fn wish(registry: &Harness, kind: usize, cluster: &ClusterId, launched: &Value) -> (StatusCode, Value) {
    let dn = cluster.dn();
    match kind {
        0 => registry.delete(&format!("/{dn}")).await,
        1 => registry.post(&format!("/{dn}/retry"), json!({})).await,
        2 => registry.delete(&format!("/operations/{}", launched["operation"].as_str().unwrap())).await,
        _ => {
            let path = format!("{API}/{dn}/termination");
            let request = registry.request_as("ann", "user", Method::PUT, &path);
            answer(request.json(&json!({"termination": "keep-data"})).send().await.unwrap()).await
        }
    }
}

#[tokio::test]
async fn a_storm_of_launches_facts_and_wishes_breaks_nothing() {
    const KEYS: usize = 24;
    on_every_database(async |registry| {
        let replica = registry.replica().await;
        let both = [registry, &replica];
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        registry.product(PAIR, &pair_options(), Some(SCRIPT)).await;

        // Every key is sent to both replicas at once, while the template changes under them.
        let keys: Vec<String> = (0..KEYS).map(|key| format!("key-{key}")).collect();
        let launches = keys.iter().flat_map(|key| both.map(|at| launch_with_key(at, key)));
        let templates: Vec<String> = (0..10).map(|text| format!("{PAIR}{}", " ".repeat(text))).collect();
        let puts = templates.iter().enumerate().map(async |(index, text)| {
            settled(async || both[index % 2].put("/products/demo/1.0/template", text).await).await
        });
        let (launched, puts) = tokio::join!(join_all(launches), join_all(puts));
        assert!(puts.iter().all(|(status, _)| *status == 204));
        let mut clusters: Vec<(ClusterId, Value)> = Vec::new();
        for pair in launched.chunks(2) {
            assert!(pair.iter().all(|(status, _)| *status == 202), "{pair:?}");
            assert_eq!(pair[0].1, pair[1].1, "one key, one cluster");
            clusters.push((pair[0].1["id"].as_str().unwrap().parse().unwrap(), pair[0].1.clone()));
        }
        let numbers: BTreeSet<u64> = clusters.iter().map(|(cluster, _)| cluster.dn().number).collect();
        assert_eq!(numbers, (1..=u64::try_from(KEYS).unwrap()).collect());

        // Facts in any order, some twice, to either replica; and wishes in between.
        let mut deliveries: Vec<(usize, Envelope)> = Vec::new();
        let mut wishes: Vec<(usize, usize, ClusterId, Value)> = Vec::new();
        for (cluster, launched) in &clusters {
            for event in facts(registry, cluster, launched, &mut dice) {
                let envelope = Envelope {
                    id: EventId(uuid::Uuid::now_v7()),
                    cluster_id: cluster.clone(),
                    revision: 1,
                    at: registry.clock.now(),
                    request_id: None,
                    traceparent: None,
                    event,
                };
                if dice.below(4) == 0 {
                    deliveries.push((dice.below(2), envelope.clone()));
                }
                deliveries.push((dice.below(2), envelope));
            }
            for _ in 0..dice.below(3) {
                wishes.push((dice.below(2), dice.below(4), cluster.clone(), launched.clone()));
            }
        }
        dice.shuffle(&mut deliveries);
        let facts = deliveries.into_iter().map(|(at, envelope)| both[at].envelope(envelope));
        let wishes = wishes.into_iter().map(async |(at, kind, cluster, launched)| {
            settled(async || wish(both[at], kind, &cluster, &launched).await).await.0
        });
        let (_, wishes) = tokio::join!(join_all(facts), join_all(wishes));
        assert!(wishes.iter().all(|status| status.is_success() || *status == 409), "{wishes:?}");

        let found = replica.invariants().await;
        assert_eq!(found.violations, [], "{found:?}");
        let subjects = |name: &str| found.checked.iter().find(|checked| checked.name.contains(name)).unwrap().subjects;
        let wanted = u64::try_from(KEYS).unwrap();
        assert_eq!((subjects("history"), subjects("idempotency"), subjects("numbers")), (wanted, wanted, 1));
        assert_eq!(registry.count("parked").await, 0);
    })
    .await;
}
