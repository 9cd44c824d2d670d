//! Products over HTTP.

use crate::support::{API, PAIR, SCRIPT, answer, on_every_database, pair_options};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_product_is_registered_shown_changed_and_deleted() {
    on_every_database(async |registry| {
        let body = json!({"name": "demo", "version": "1.0", "description": "d"});
        let response = registry.request(Method::POST, "/products").json(&body).send().await.unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["location"], "/bigdata/api/v1/products/demo/1.0");
        assert_eq!(registry.post("/products", json!({"name": "demo", "version": "1.0"})).await.0, 200);
        let (status, problem) =
            registry.post("/products", json!({"name": "demo", "version": "1.0", "description": "e"})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("BD0011")));
        let (_, shown) = registry.get("/products/demo/1.0").await;
        assert_eq!((&shown["dn"], &shown["missing"]), (&json!("products/demo/1.0"), &json!(["template"])));
        assert_eq!(registry.post("/products/demo/1.0", json!({})).await.1["code"], "BD0013");

        // Parts: raw text whatever the content type, a JSON string back, the text for who asks for text.
        for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
            let put =
                registry.request(Method::PUT, "/products/demo/1.0/template").header("content-type", kind).body(PAIR);
            assert_eq!(put.send().await.unwrap().status(), 204, "{kind}");
        }
        assert_eq!(registry.get("/products/demo/1.0/template").await.1, json!(PAIR));
        let text = registry.request(Method::GET, "/products/demo/1.0/template").header("accept", "text/plain");
        assert_eq!(text.send().await.unwrap().text().await.unwrap(), PAIR);
        assert_eq!(registry.put("/products/demo/1.0/options", pair_options().to_string()).await.0, 204);
        assert_eq!(registry.get("/products/demo/1.0/options").await.1, pair_options());
        assert_eq!(registry.put("/products/demo/1.0/orquestrator", SCRIPT).await.0, 204);
        assert_eq!(registry.get("/products/demo/1.0/orchestrator").await.1, json!(SCRIPT));
        assert_eq!(registry.put("/products/demo/1.0/logo_url", r#"{"logo_url": "http://l/x.png"}"#).await.0, 204);
        assert_eq!(registry.get("/products/demo/1.0/logo_url").await.1, json!("http://l/x.png"));
        let (_, changed) = registry.get("/products/demo/1.0").await;
        assert!(changed["missing"] == json!([]) && changed["revision"] != shown["revision"]);

        // In use: not deleted.
        let cluster = registry.launch(json!({"mem": 64})).await;
        let (status, problem) = registry.delete("/products/demo/1.0").await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("BD0012")));
        assert_eq!(registry.get("/products/demo/1.0").await.1["clusters"], 1);
        registry.delete(&format!("/{}", cluster.dn())).await;
        registry
            .fact(&cluster, bigdata_common::event::Event::ClusterReleased { generation: 1, leftovers: vec![] })
            .await;
        assert_eq!(registry.delete("/products/demo/1.0").await.0, 204);
        assert_eq!(registry.delete("/products/demo/1.0").await.0, 404);
        assert_eq!(registry.status(&cluster).await, "destroyed");
        // Numbers outlive the product.
        registry.product(PAIR, &pair_options(), None).await;
        assert_eq!(registry.launch(json!({"mem": 64})).await.dn().number, 2);
    })
    .await;
}

#[tokio::test]
async fn versions_are_sorted_as_people_do() {
    on_every_database(async |registry| {
        for version in ["3.10", "3.9", "3.9.1", "2.0"] {
            assert_eq!(registry.post("/products", json!({"name": "demo", "version": version})).await.0, 201);
        }
        assert_eq!(registry.post("/products", json!({"name": "abc", "version": "1"})).await.0, 201);
        let (_, list) = registry.get("/products/demo").await;
        assert_eq!(list, json!({"versions": ["2.0", "3.9", "3.9.1", "3.10"]}));
        let (_, list) = registry.get("/products").await;
        assert_eq!(list["products"], json!(["abc", "demo"]));
        assert_eq!(list["entries"].as_array().map(Vec::len), Some(5));
        assert_eq!(registry.get("/products/none").await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn only_publishers_change_products_and_only_operators_their_reach() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let path = |path: &str| format!("{API}{path}");
        let request = registry.request_as("ben", "user", Method::POST, &path("/products"));
        let (status, problem) = answer(request.json(&json!({"name": "x", "version": "1"})).send().await.unwrap()).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("BD0022")));
        for part in ["template", "options", "actions", "orchestrator", "logo_url", "reach"] {
            let request = registry.request_as("ben", "user", Method::PUT, &path(&format!("/products/demo/1.0/{part}")));
            assert_eq!(request.body("{}").send().await.unwrap().status(), 403, "{part}");
        }
        assert_eq!(registry.put("/products/demo/1.0/reach", "network").await.0, 403);
        let request = registry.request_as("root", "admin", Method::PUT, &path("/products/demo/1.0/reach"));
        assert_eq!(request.body("network").send().await.unwrap().status(), 204);
        assert_eq!(registry.get("/products/demo/1.0/reach").await.1, json!("network"));
        let cluster = registry.launch(json!({"mem": 64})).await;
        let request =
            registry.request_as("x", "", Method::GET, &format!("/internal/v1/clusters/{cluster}/revisions/1"));
        let specification: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(specification["reach_network"], true);
    })
    .await;
}

#[tokio::test]
async fn parts_that_cannot_be_used_are_refused_and_nothing_changes() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let before = registry.get("/products/demo/1.0").await.1;
        let big = "x".repeat(64 * 1024 + 1);
        for (part, body, status, code) in [
            ("template", "{% for %}", 422, "BD0015"),
            ("template", "{{ 'a' | nofilter }", 422, "BD0015"),
            ("template", &big, 413, "BD0002"),
            ("template", "a\0b", 400, "BD0001"),
            ("options", "{", 400, "BD0003"),
            ("options", r#"{"required": []}"#, 400, "BD0003"),
            ("actions", "{", 422, "BD0033"),
            ("actions", r#"{"a": {"deadline": "soon"}}"#, 422, "BD0033"),
            ("actions", &big, 413, "BD0002"),
            ("orchestrator", "#!/no/such/interpreter\n", 422, "BD0017"),
            ("orchestrator", "from fabric.api import *\n@task\ndef start(): pass\n", 422, "BD0017"),
            ("logo_url", r#"{"logo": 1}"#, 400, "BD0003"),
        ] {
            let (answered, problem) = registry.put(&format!("/products/demo/1.0/{part}"), body).await;
            assert_eq!(
                (answered.as_u16(), problem["code"].as_str()),
                (status, Some(code)),
                "{part} {body:.40}: {problem}"
            );
            assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        }
        assert_eq!(registry.put("/products/demo/9/template", "{}").await.0, 404);
        assert_eq!(registry.get("/products/demo/1.0").await.1, before);
    })
    .await;
}

#[tokio::test]
async fn actions_are_a_part_of_the_content() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let revision = async || registry.get("/products/demo/1.0").await.1["revision"].clone();
        let before = revision().await;
        assert_eq!(registry.get("/products/demo/1.0/actions").await.1, json!({}));
        let actions = r#"{"backup": {"changes": false, "every": "@{option:level}"}, "check": {"every": "30s"}}"#;
        assert_eq!(registry.put("/products/demo/1.0/actions", actions).await.0, 204);
        assert_ne!(revision().await, before);
        assert_eq!(registry.get("/products/demo/1.0/actions").await.1["check"]["every"], "30s");
        let (_, parsed) = registry.get("/products/demo/1.0/actions?parsed=true").await;
        assert_eq!((&parsed["actions"][0]["name"], &parsed["actions"][0]["users"]), (&json!("backup"), &json!(true)));
        assert_eq!(parsed["actions"][1]["every_ms"], 30_000);
        assert_eq!(registry.get("/products/demo/1.0/actions?pased=true").await.0, 400);
        let (status, problem) = registry.put("/products/demo/1.0/actions", r#"{"a": {"keep": 1, "x": 2}}"#).await;
        let pointers: Vec<&Value> =
            problem["errors"].as_array().unwrap().iter().map(|fault| &fault["pointer"]).collect();
        assert_eq!((status.as_u16(), pointers), (422, vec![&json!("/a/x"), &json!("/a/keep")]));
        // Where an option says how often, a launch says it.
        for (level, status) in [("info", 400), ("1d", 202), ("", 202)] {
            let (answered, problem) = registry.post("/products/demo/1.0", json!({"mem": 64, "level": level})).await;
            assert_eq!(answered.as_u16(), status, "{level}: {problem}");
        }
        for option in ["password", "none"] {
            let actions = format!(r#"{{"backup": {{"every": "@{{option:{option}}}"}}}}"#);
            assert_eq!(registry.put("/products/demo/1.0/actions", actions).await.0, 204);
            let (status, problem) = registry.post("/products/demo/1.0", json!({"mem": 64})).await;
            assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("BD0013")), "{option}");
        }
        assert_eq!(registry.put("/products/demo/1.0/actions", "").await.0, 204);
        assert_eq!(revision().await, before);
    })
    .await;
}
