//! Whatever is sent, the answer is a problem with its place, and nothing is stored.

use crate::support::{API, PAIR, answer, on_every_database, pair_options};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn launches_that_are_refused() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        for (body, status, code, pointer) in [
            ("{", 400, "BD0001", ""),
            ("[]", 400, "BD0003", ""),
            ("null", 400, "BD0003", ""),
            ("{\"mem\": 64} x", 400, "BD0001", ""),
            ("{\"mem\": 64, \"mem\": 65}", 400, "BD0001", "/mem"),
            (&deep, 400, "BD0001", "/a/a/a"),
            ("\u{0}", 400, "BD0001", ""),
            ("{}", 400, "BD0014", "/mem"),
            ("", 400, "BD0014", "/mem"),
            ("{\"mem\": \"much\"}", 400, "BD0014", "/mem"),
            ("{\"mem\": 8}", 400, "BD0014", "/mem"),
            ("{\"mem\": 64, \"memory\": 1}", 400, "BD0014", "/memory"),
            ("{\"mem\": 64, \"level\": {\"a\": 1}}", 400, "BD0014", "/level"),
            ("{\"mem\": 64, \"termination\": \"soon\"}", 400, "BD0014", "/termination"),
        ] {
            let request = registry.request(Method::POST, "/products/demo/1.0").body(body.to_owned());
            let response = request.send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let (answered, problem) = answer(response).await;
            assert_eq!((answered.as_u16(), &problem["code"]), (status, &json!(code)), "{body:.60}: {problem}");
            let places = problem["errors"].as_array().cloned().unwrap_or_default();
            let found = places.iter().any(|fault| fault["pointer"].as_str().is_some_and(|at| at.starts_with(pointer)));
            assert!(found, "{body:.60}: {problem}");
            assert!(problem["message"] == problem["detail"] && problem["error"] == problem["title"]);
        }
        for table in ["clusters", "numbers", "operations", "nodes", "outbox"] {
            assert_eq!(registry.count(table).await, 0, "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn bodies_and_names_that_are_refused() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let request = registry.request(Method::POST, "/products/demo/1.0").body(vec![b'x'; 10 * 1024 * 1024]);
        // The answer may come before the body is sent to its end.
        if let Ok(response) = request.send().await {
            let (status, problem) = answer(response).await;
            assert_eq!((status.as_u16(), &problem["code"]), (413, &json!("BD0002")));
        }
        for name in ["a/b", "A", "", "a--b", "-a", "é", &"a".repeat(64), "a\u{0}"] {
            let (status, problem) = registry.post("/products", json!({"name": name, "version": "1"})).await;
            assert_eq!(
                (status.as_u16(), &problem["code"], &problem["errors"][0]["pointer"]),
                (400, &json!("BD0003"), &json!("/name")),
                "{name}"
            );
        }
        for body in [
            json!({"name": "x"}),
            json!({"name": "x", "version": "1", "colour": "red"}),
            json!({"name": "x", "version": 1}),
        ] {
            assert_eq!(registry.post("/products", body).await.1["code"], "BD0003");
        }
        for (method, path, status, code) in [
            (Method::POST, "/products/none/1", 404, "BD0007"),
            (Method::POST, "/products/De%2Fmo/1", 400, "BD0004"),
            (Method::GET, "/products/none/1/template", 404, "BD0007"),
            (Method::GET, "/clusters/ann/demo/1.0/1", 404, "BD0008"),
            (Method::GET, "/clusters/ann/demo/1.0/x", 404, "BD0008"),
            (Method::GET, "/clusters/ann/demo/1.0/99999999999999999999", 404, "BD0008"),
            (Method::DELETE, "/clusters/ann/demo/1.0/1", 404, "BD0008"),
            (Method::GET, "/clusters?limit=many", 400, "BD0004"),
            (Method::GET, "/clusters?status=happy", 400, "BD0004"),
            (Method::GET, "/operations/7", 404, "BD0010"),
            (Method::GET, "/queue/00000000-0000-0000-0000-000000000000", 404, "BD0010"),
            (Method::GET, "/nothing", 404, "BD0005"),
            (Method::PATCH, "/products", 405, "BD0006"),
        ] {
            let (answered, problem) = answer(registry.request(method.clone(), path).send().await.unwrap()).await;
            assert_eq!((answered.as_u16(), &problem["code"]), (status, &json!(code)), "{method} {path}: {problem}");
        }
    })
    .await;
}

#[tokio::test]
async fn templates_that_do_not_describe_clusters() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        for (template, code, pointer) in [
            ("{\"nodes\": {% for n in range(10000) %}{{ n }}{% endfor %}", "BD0015", ""),
            ("[]", "BD0016", ""),
            ("{\"nodes\": {}}", "BD0016", "/nodes"),
            ("{\"nodes\": {\"a\": {\"cpu\": {{ opts['cpus'] }}, \"mem\": 1}}}", "BD0015", ""),
            (
                "{\"nodes\": { {% for n in range(10000) %}\"n{{ n }}\":{\"cpu\":1,\"mem\":1,\"command\":\"x\"}{{ ',' if not loop.last }}{% endfor %} } }",
                "BD0016",
                "/nodes",
            ),
            ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "BD0015", ""),
        ] {
            assert_eq!(registry.put("/products/demo/1.0/template", template).await.0, 204, "{template}");
            let (status, problem) = registry.post("/products/demo/1.0", json!({"mem": 64})).await;
            assert_eq!((status.as_u16(), &problem["code"]), (422, &json!(code)), "{template}: {problem}");
            if code == "BD0016" {
                assert_eq!(problem["errors"][0]["pointer"], json!(pointer));
            }
        }
        assert_eq!(registry.count("clusters").await, 0);
    })
    .await;
}

#[tokio::test]
async fn another_users_clusters_do_not_exist() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let cluster = registry.launch(json!({"mem": 64})).await;
        let operation = registry.entry(&cluster).await["operation"].as_str().unwrap().to_owned();
        let own = format!("/{}", cluster.dn());
        let as_user = async |user: &str, roles: &str, method: Method, path: &str| {
            answer(registry.request_as(user, roles, method, &format!("{API}{path}")).send().await.unwrap()).await
        };
        for tail in ["", "/nodes", "/nodes/a", "/services", "/endpoints", "/events", "/operations"] {
            let (status, _) = as_user("ben", "user,publisher", Method::GET, &format!("{own}{tail}")).await;
            assert_eq!(status, 404, "{tail}");
        }
        for path in [format!("/operations/{operation}"), format!("/queue/{operation}")] {
            assert_eq!(as_user("ben", "user", Method::GET, &path).await.0, 404);
        }
        assert_eq!(as_user("ben", "user", Method::DELETE, &own).await.0, 404);
        assert_eq!(as_user("ben", "user", Method::POST, &format!("{own}/retry")).await.0, 404);
        assert_eq!(as_user("ben", "user", Method::DELETE, &format!("/operations/{operation}")).await.0, 404);
        for path in ["/clusters", "/clusters/ann", "/clusters/ann/demo", "/clusters/ann/demo/1.0"] {
            assert_eq!(as_user("ben", "user", Method::GET, path).await.1["clusters"], json!([]), "{path}");
        }
        assert_eq!(as_user("ben", "user", Method::GET, "/operations").await.1["operations"], json!([]));
        assert_eq!(as_user("root", "admin", Method::GET, &own).await.0, 200);
        assert_eq!(registry.status(&cluster).await, "registered");
    })
    .await;
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        for _ in 0..5 {
            registry.launch(json!({"mem": 64})).await;
        }
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let (_, page) = registry.get(&format!("/clusters/ann/demo?limit=2&after={after}")).await;
            seen.extend(page["clusters"].as_array().unwrap().iter().map(|entry| entry["uri"].clone()));
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen.len(), 5);
        let count = async |query: &str| registry.get(query).await.1["clusters"].as_array().map(Vec::len);
        assert_eq!(count("/clusters?status=registered,ready").await, Some(5));
        assert_eq!(count("/clusters?status=ready").await, Some(0));
        assert_eq!(count("/clusters/ann/other").await, Some(0));
        let (_, operations) = registry.get("/operations?limit=3").await;
        assert_eq!(operations["operations"].as_array().map(Vec::len), Some(3));
        let next = operations["next"].as_str().unwrap();
        let (_, rest) = registry.get(&format!("/operations?after={next}")).await;
        assert_eq!((rest["operations"].as_array().map(Vec::len), &rest["next"]), (Some(2), &Value::Null));
    })
    .await;
}
