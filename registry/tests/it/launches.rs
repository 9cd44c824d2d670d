//! Launches: the reply, what is stored with it, numbers, secrets, repetition, dry runs.

use crate::support::{API, PAIR, SCRIPT, answer, on_every_database, pair_options};
use bigdata_chassis::readiness::CATALOG;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn a_launch_and_everything_that_belongs_to_it() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), Some(SCRIPT)).await;
        let request = registry
            .request(Method::POST, "/products/demo/1.0")
            .json(&json!({"mem": "64", "termination": "keep-data"}));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 202);
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let reply: Value = response.json().await.unwrap();
        assert_eq!(reply["url"], json!(location));
        assert_eq!(reply["dn"], "clusters/ann/demo/1.0/1");
        assert_eq!((&reply["id"], &reply["status"]), (&json!("clusters--ann--demo--1__0--1"), &json!("registered")));
        let cluster = reply["id"].as_str().unwrap().parse().unwrap();

        // The older way on: 303 to the cluster.
        let (status, queue) = registry.get(location.strip_prefix(API).unwrap()).await;
        assert_eq!((status.as_u16(), &queue["url"]), (303, &json!("/bigdata/api/v1/clusters/ann/demo/1.0/1")));
        let (_, entry) = registry.get("/clusters/ann/demo/1.0/1").await;
        assert_eq!((&entry["result"], &entry["uri"]), (&json!("success"), &json!("clusters/ann/demo/1.0/1")));
        let data = &entry["data"];
        assert_eq!((&data["name"], &data["nodes"]), (&json!("clusters--ann--demo--1__0--1"), &json!(2)));
        assert_eq!((&data["termination"], &data["options"]["password"]), (&json!("keep-data"), &json!("********")));

        // The event, and what the other services read.
        let outbox = registry.outbox().await;
        assert_eq!(outbox.iter().map(|envelope| envelope.event.kind()).collect::<Vec<_>>(), ["cluster.registered.v1"]);
        let state = registry.state(&cluster).await;
        assert!(state.placement_deadline.is_some() && state.run.is_none());
        let internal = async |path: &str| {
            registry.request_as("x", "", Method::GET, path).send().await.unwrap().json::<Value>().await.unwrap()
        };
        let specification = internal(&format!("/internal/v1/clusters/{cluster}/revisions/1")).await;
        assert_eq!(specification["blueprint"]["nodes"]["a"]["env"]["PASSWORD"], "@{secret:password}");
        assert_eq!((&specification["options"]["mem"], specification["options"].get("password")), (&json!(64), None));
        assert_eq!(specification["orchestrator"], SCRIPT);
        let secrets = internal(&format!("/internal/v1/clusters/{cluster}/secrets")).await;
        let password = secrets["password"].as_str().unwrap().to_owned();
        assert_eq!(password.len(), 24);
        let page = internal("/internal/v1/clusters?limit=10").await;
        assert_eq!((page["clusters"].as_array().map(Vec::len), &page["next"]), (Some(1), &Value::Null));
        let id = internal("/internal/v1/registry").await;
        assert_eq!(id, internal("/internal/v1/registry").await);

        // The secret stands nowhere else.
        for path in [
            "/clusters",
            "/clusters/ann/demo/1.0/1",
            "/clusters/ann/demo/1.0/1/nodes",
            "/clusters/ann/demo/1.0/1/events",
            "/operations",
        ] {
            assert!(!registry.get(path).await.1.to_string().contains(&password), "{path}");
        }

        for (table, column) in [
            ("clusters", "record"),
            ("revisions", "specification"),
            ("secrets", "sealed"),
            ("operations", "view"),
            ("events", "event"),
            ("outbox", "envelope"),
        ] {
            let texts = registry.texts(table, column).await;
            assert!(!texts.is_empty() && texts.iter().all(|text| !text.contains(&password)), "{table}");
        }

        // Nodes and services before anything runs.
        let (_, nodes) = registry.get("/clusters/ann/demo/1.0/1/nodes").await;
        assert_eq!(
            (&nodes["nodes"][0]["status"], &nodes["nodes"][1]["disks"][0]["size"]),
            (&json!("pending"), &json!(10))
        );
        assert_eq!(nodes["nodes"][0]["dn"], "clusters/ann/demo/1.0/1/nodes/a");
        let (_, services) = registry.get("/clusters/ann/demo/1.0/1/services").await;
        assert_eq!(services["services"][0]["properties"]["level"], "info");
        assert_eq!(registry.get("/clusters/ann/demo/1.0/1/nodes/c").await.1["code"], "BD0009");
    })
    .await;
}

#[tokio::test]
async fn the_internal_token_is_wanted() {
    on_every_database(async |registry| {
        let request = registry.request_as("ann", "user", Method::GET, "/internal/v1/clusters").build().unwrap();
        let url = request.url().clone();
        let bare = reqwest::Client::builder().no_proxy().build().unwrap().get(url);
        let (status, problem) = answer(bare.send().await.unwrap()).await;
        assert_eq!((status.as_u16(), &problem["code"]), (401, &json!("BD0021")));
    })
    .await;
}

#[tokio::test]
async fn parallel_launches_get_numbers_of_their_own_without_gaps() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let replica = registry.replica().await;
        let launches = (0..20).map(|index| if index % 2 == 0 { registry } else { &replica }.launch(json!({"mem": 64})));
        let numbers: BTreeSet<u64> = join_all(launches).await.iter().map(|cluster| cluster.dn().number).collect();
        assert_eq!(numbers, (1..=20).collect());
        assert_eq!(registry.outbox().await.len(), 20);
    })
    .await;
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_reply() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let send = async |key: &str, body: Value| {
            let request =
                registry.request(Method::POST, "/products/demo/1.0").header("idempotency-key", key).json(&body);
            answer(request.send().await.unwrap()).await
        };
        let replies = join_all((0..6).map(|_| send("k1", json!({"mem": 64})))).await;
        assert!(replies.iter().all(|(status, reply)| status.as_u16() == 202 && reply == &replies[0].1), "{replies:?}");
        assert_eq!(registry.count("clusters").await, 1);
        let (status, problem) = send("k1", json!({"mem": 65})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("BD0020")));
        assert_eq!(send("k2", json!({"mem": 65})).await.0, 202);
        assert_eq!(send(&"k".repeat(256), json!({"mem": 65})).await.0, 400);
        // Another user's key of the same name is another key.
        let request = registry.request_as("ben", "user", Method::POST, &format!("{API}/products/demo/1.0"));
        let request = request.header("idempotency-key", "k1").json(&json!({"mem": 99}));
        assert_eq!(answer(request.send().await.unwrap()).await.1["dn"], "clusters/ben/demo/1.0/1");
    })
    .await;
}

#[tokio::test]
async fn what_the_catalog_may_still_bring_is_not_said_to_be_unknown() {
    on_every_database(async |registry| {
        let launch = async |path: &str| {
            let request =
                registry.request(Method::POST, path).header("idempotency-key", "k1").json(&json!({"mem": 64}));
            let response = request.send().await.unwrap();
            let retry_after = response.headers().contains_key("retry-after");
            let (status, body) = answer(response).await;
            (status.as_u16(), retry_after, body)
        };
        let refused = |(status, retry_after, problem): (u16, bool, Value)| {
            assert_eq!((status, retry_after, &problem["code"]), (503, true, &json!("BD0025")), "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains("the catalog is being loaded"), "{problem}");
        };
        let path = "/products/demo/1.0";
        registry.tasks.readiness().waits_for(CATALOG, "the shipped products are being registered");
        refused(launch(path).await);
        refused(launch(&format!("{path}?dry_run=true")).await);
        for path in [path, "/products/demo", "/products/demo/1.0/options"] {
            let response = registry.request(Method::GET, path).send().await.unwrap();
            let retry_after = response.headers().contains_key("retry-after");
            let (status, problem) = answer(response).await;
            refused((status.as_u16(), retry_after, problem));
        }
        // A product that is there, and has no template yet, is on its way as well.
        registry.post("/products", json!({"name": "demo", "version": "1.0"})).await;
        refused(launch(path).await);
        assert_eq!(registry.get(path).await.0, 200);

        registry.product(PAIR, &pair_options(), None).await;
        let (status, _, first) = launch(path).await;
        assert_eq!(status, 202, "{first}");
        registry.tasks.readiness().has(CATALOG);
        let (status, _, again) = launch(path).await;
        assert_eq!((status, &again), (202, &first));
        assert_eq!(registry.count("clusters").await, 1);
        assert_eq!(registry.get("/products/demo/2").await.1["code"], "BD0007");
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_shows_everything_and_stores_nothing() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let (status, shown) =
            registry.post("/products/demo/1.0?dry_run=true", json!({"mem": 64, "password": "canary-1"})).await;
        assert_eq!(status, 200);
        assert_eq!(shown["blueprint"]["nodes"]["a"]["mem"], 64);
        assert_eq!(shown["options"]["password"], "********");
        assert!(!shown.to_string().contains("canary-1"));
        for table in ["clusters", "numbers", "operations", "nodes", "secrets", "outbox"] {
            assert_eq!(registry.count(table).await, 0, "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_cluster_keeps_the_product_that_it_was_launched_with() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), Some(SCRIPT)).await;
        let cluster = registry.launch(json!({"mem": 64})).await;
        let path = format!("/internal/v1/clusters/{cluster}/revisions/1");
        let read =
            async || registry.request_as("x", "", Method::GET, &path).send().await.unwrap().text().await.unwrap();
        let before = read().await;
        registry.put("/products/demo/1.0/orchestrator", "#!/bin/sh\nexit 1\n").await;
        registry.put("/products/demo/1.0/template", "{}").await;
        assert_eq!(read().await, before);
    })
    .await;
}
