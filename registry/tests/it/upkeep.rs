//! What is refused, forgotten, or left out, and with which words.

use crate::support::{PAIR, SCRIPT, answer, eventually, on_every_database, pair_options};
use bigdata_chassis::db::Engine;
use bigdata_chassis::secret::sha256_hex;
use bigdata_common::event::Event;
use bigdata_common::status::NodeStatus;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn the_history_of_a_destroyed_cluster_is_forgotten_and_no_other() {
    const DAY_MS: i64 = 24 * 3_600_000;
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let (gone, alive) = (registry.launch(json!({"mem": 64})).await, registry.launch(json!({"mem": 64})).await);
        for (node, passing) in [("a", Some(true)), ("b", None)] {
            registry.node(&alive, node, 1, NodeStatus::Running, passing).await;
        }
        registry.clock.advance_millis(DAY_MS);
        registry.delete(&format!("/{}", gone.dn())).await;
        registry.fact(&gone, Event::ClusterReleased { generation: 1, leftovers: Vec::new() }).await;
        let history = async |dn: String| {
            let (_, list) = registry.get(&format!("/{dn}/events")).await;
            list["events"].as_array().unwrap().len()
        };
        let before = (history(gone.dn().to_string()).await, history(alive.dn().to_string()).await);
        registry.clock.advance_millis(30 * DAY_MS - 3_600_000);
        eventually("old inbox entries are forgotten", async || registry.count("inbox").await == 0).await;
        assert_eq!((history(gone.dn().to_string()).await, history(alive.dn().to_string()).await), before);
        registry.clock.advance_millis(2 * 3_600_000);
        eventually("its history is forgotten", async || history(gone.dn().to_string()).await == 0).await;
        assert_eq!(history(alive.dn().to_string()).await, before.1);
        assert_eq!(registry.status(&gone).await, "destroyed");
        assert_eq!(registry.invariants().await.violations, []);
    })
    .await;
}

#[tokio::test]
async fn parameters_that_are_unknown_repeated_or_out_of_range_are_refused() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let cluster = registry.launch(json!({"mem": 64})).await;
        for (path, pointer) in [
            ("/clusters?limit=0".to_owned(), "/limit"),
            ("/clusters?limit=501".to_owned(), "/limit"),
            ("/operations?limit=99999999999".to_owned(), "/limit"),
            ("/clusters?stauts=ready".to_owned(), "/stauts"),
            ("/clusters/ann/demo?statsu=ready".to_owned(), "/statsu"),
            ("/products?limit=3".to_owned(), "/limit"),
            (format!("/{}?wiat=ready", cluster.dn()), "/wiat"),
            (format!("/{}/events?limit=5&limit=6", cluster.dn()), "/limit"),
        ] {
            let (status, problem) = registry.get(&path).await;
            assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("BD0004")), "{path}");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains(&pointer[1..]), "{problem}");
        }
        for query in ["dry_run=true&dry_run=false", "dryrun=true", "force=true"] {
            let (status, problem) = registry.post(&format!("/products/demo/1.0?{query}"), json!({"mem": 64})).await;
            assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("BD0004")), "{query}");
        }
        assert_eq!(registry.count("clusters").await, 1, "nothing was launched by mistake");
        assert_eq!(registry.delete(&format!("/{}?forse=true", cluster.dn())).await.0, 400);
        for path in [
            "/clusters?limit=500&status=ready&after=x".to_owned(),
            format!("/{}?wait=registered&timeout=1", cluster.dn()),
        ] {
            assert_eq!(registry.get(&path).await.0, 200, "{path}");
        }
        assert_eq!(registry.delete(&format!("/{}?force=true", cluster.dn())).await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_cannot_be_read_is_left_out_of_lists_and_counted() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        for _ in 0..3 {
            registry.launch(json!({"mem": 64})).await;
        }
        registry.execute("UPDATE clusters SET record = '{}' WHERE number = 2").await;
        let response = registry.request(Method::GET, "/clusters?limit=2").send().await.unwrap();
        assert_eq!(response.headers()["x-bigdata-unreadable"], "1");
        let (_, first) = answer(response).await;
        assert_eq!(first["clusters"].as_array().map(Vec::len), Some(1));
        let (_, rest) = registry.get(&format!("/clusters?after={}", first["next"].as_str().unwrap())).await;
        assert_eq!(rest["clusters"][0]["uri"], "clusters/ann/demo/1.0/3");
        let page = registry.request_as("x", "", Method::GET, "/internal/v1/clusters").send().await.unwrap();
        assert_eq!(page.json::<Value>().await.unwrap()["clusters"].as_array().map(Vec::len), Some(2));
    })
    .await;
}

#[tokio::test]
async fn secrets_cannot_be_guessed_from_what_is_remembered_of_a_request() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let body = json!({"mem": 64, "password": "1234"}).to_string();
        let send = async |body: &str| {
            let request = registry.request(Method::POST, "/products/demo/1.0").header("idempotency-key", "k");
            answer(request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap()).await
        };
        let first = send(&body).await;
        assert_eq!(first.0, 202);
        let hash = sha256_hex(format!("/bigdata/api/v1/products/demo/1.0\n{body}").as_bytes());
        let stored = registry.texts("idempotency_keys", "request_hash").await;
        assert!(!stored[0].contains(&hash), "whoever reads the database could try passwords");
        assert_eq!(send(&body).await, first);
        assert_eq!(send(&body.replace("1234", "1235")).await.1["code"], "BD0020");
    })
    .await;
}

#[tokio::test]
async fn a_database_that_cannot_be_written_to_is_told_as_such() {
    on_every_database(async |registry| {
        let Engine::Sqlite { write, .. } = registry.db.engine() else { return };
        sqlx::query("PRAGMA query_only = 1").execute(write).await.unwrap();
        let request = registry.request(Method::POST, "/products").json(&json!({"name": "demo", "version": "1.0"}));
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"));
        let (status, problem) = answer(response).await;
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("BD0025")));
        assert!(problem["detail"].as_str().unwrap().contains("cannot be written to"), "{problem}");
        sqlx::query("PRAGMA query_only = 0").execute(write).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn words_that_are_said_once_and_in_the_right_place() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), Some(SCRIPT)).await;
        let (status, problem) = registry.put("/products/demo/1.0/orchestrator", "#!/bin/sh\r\necho\r\n").await;
        assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("BD0017")));
        assert!(problem["detail"].as_str().unwrap().contains("carriage return"), "{problem}");
        registry.post("/products", json!({"name": "bare", "version": "1"})).await;
        let (status, problem) = registry.get("/products/bare/1/template").await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("BD0005")), "the product is there");

        let cluster = registry.launch(json!({"mem": 64})).await;
        let reasons = ["a", "b"].map(|node| format!("{node}: no agent has 9 CPUs")).to_vec();
        registry.fact(&cluster, Event::PlacementWaiting { generation: 1, reasons }).await;
        let reason = registry.entry(&cluster).await["reason"].clone();
        assert_eq!(reason, "waits for places: a, b: no agent has 9 CPUs");
        for node in ["a", "b"] {
            let mut fact = crate::support::node_fact(registry.clock.now(), 1, node, 1, NodeStatus::Failed, None);
            fact.observation.gave_up = false;
            fact.observation.reason = Some("it failed: exit code 3".to_owned());
            registry.fact(&cluster, Event::NodeEnded(fact)).await;
        }
        registry.fact(&cluster, Event::PlacementWaiting { generation: 1, reasons: Vec::new() }).await;
        registry.clock.advance_millis(601_000);
        eventually("its limit has passed", async || registry.status(&cluster).await == "failed").await;
        let reason = registry.entry(&cluster).await["reason"].as_str().unwrap().to_owned();
        assert!(reason.ends_with("within 600 s: a, b: failed: exit code 3"), "{reason}");
        let (_, events) = registry.get(&format!("/{}/events", cluster.dn())).await;
        assert!(events.to_string().contains("\"failed, attempt 1: exit code 3\""), "{events}");
    })
    .await;
}
