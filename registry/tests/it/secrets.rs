//! What a cluster's owner may see of its secrets.

use crate::support::{API, PAIR, on_every_database, pair_options};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn the_owner_sees_the_secrets_and_the_history_says_so_without_them() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let generated = registry.launch(json!({"mem": 64})).await;
        let given = registry.launch(json!({"mem": 64, "password": "canary-7"})).await;
        let show = async |user: &str, roles: &str, path: &str| {
            registry.request_as(user, roles, Method::GET, &format!("{API}/{path}/secrets")).send().await.unwrap()
        };
        let (generated, given) = (generated.dn().to_string(), given.dn().to_string());
        for (user, roles) in [("ben", "user,publisher"), ("ann", "")] {
            assert_eq!(show(user, roles, &given).await.status(), StatusCode::NOT_FOUND, "{user}");
        }
        assert_eq!(show("ann", "user", "clusters/ann/demo/1.0/9").await.status(), StatusCode::NOT_FOUND);
        let response = show("ann", "user", &given).await;
        assert_eq!(
            (response.status(), &response.headers()["cache-control"]),
            (StatusCode::OK, &"no-store".parse().unwrap())
        );
        assert_eq!(response.json::<Value>().await.unwrap(), json!({"secrets": {"password": "canary-7"}}));
        let shown: Value = show("root", "admin", &generated).await.json().await.unwrap();
        assert_eq!(shown["secrets"]["password"].as_str().map(str::len), Some(24));
        let (_, events) = registry.get(&format!("/{given}/events")).await;
        let told =
            events["events"].as_array().unwrap().iter().filter(|event| event["message"] == "secrets were shown to ann");
        assert_eq!(told.count(), 1);
        for (table, column) in
            [("events", "event"), ("clusters", "record"), ("outbox", "envelope"), ("idempotency_keys", "reply")]
        {
            assert!(registry.texts(table, column).await.iter().all(|text| !text.contains("canary-7")), "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_script_changes_a_secret_option_and_the_history_says_that_alone() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let cluster = registry.launch(json!({"mem": 64, "password": "canary-7"})).await;
        let change = async |name: &str, value: String| {
            let path = format!("/internal/v1/clusters/{cluster}/secrets/{name}");
            let request = registry.request_as("x", "", Method::PUT, &path).json(&json!({"value": value}));
            request.send().await.unwrap().status()
        };
        assert_eq!(change("password", "canary-8".to_owned()).await, StatusCode::NO_CONTENT);
        assert_eq!(change("password", "canary-8".to_owned()).await, StatusCode::NO_CONTENT, "told again");
        assert_eq!(change("mem", "canary-9".to_owned()).await, StatusCode::NOT_FOUND, "no secret option");
        assert_eq!(change("password", "x".repeat(70_000)).await, StatusCode::BAD_REQUEST);
        let (_, shown) = registry.get(&format!("/{}/secrets", cluster.dn())).await;
        assert_eq!(shown, json!({"secrets": {"password": "canary-8"}}));
        let (_, events) = registry.get(&format!("/{}/events", cluster.dn())).await;
        let told = events["events"].as_array().unwrap().iter();
        assert_eq!(told.filter(|event| event["message"] == "the secret password was changed").count(), 1);
        for (table, column) in
            [("events", "event"), ("clusters", "record"), ("outbox", "envelope"), ("secrets", "sealed")]
        {
            assert!(registry.texts(table, column).await.iter().all(|text| !text.contains("canary-")), "{table}");
        }
    })
    .await;
}
