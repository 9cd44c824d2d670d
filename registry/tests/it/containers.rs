//! Containers: what a product may ask its engine for, and who allows it.

use crate::support::{API, Harness, answer, on_every_database};
use bigdata_common::ClusterId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Nodes that want to be as good as root, with a password that nobody reads.
const TEMPLATE: &str = r#"{"nodes": {
  {% for n in range(opts['size']) %}{{ "," if not loop.first }}
  "n{{ n }}": {"cpu": 1, "mem": 64, "docker_image": "i:1",
    "docker_opts": "--privileged -v /sys/fs/cgroup:/sys/fs/cgroup:ro -e PASSWORD={{ opts['password'] }} -e TAG={{ opts['tag'] }}"}
  {% endfor %}
}}"#;
/// The same with options of the launch's own.
const FREE: &str = r#"{"nodes": {"n0": {"cpu": 1, "mem": 64, "docker_image": "i:1",
    "docker_opts": "--privileged -v /sys/fs/cgroup:/sys/fs/cgroup:ro {{ opts['tag'] }} -e P={{ opts['password'] }}"}}}"#;

fn options() -> Value {
    json!({
        "required": {"size": 1},
        "optional": {"password": "", "tag": "none"},
        "schema": {"password": {"type": "string", "secret": true, "generate": true}}
    })
}

async fn allow(registry: &Harness, rights: Value) -> (StatusCode, Value) {
    let path = format!("{API}/products/demo/1.0/container-rights");
    let request = registry.request_as("root", "admin", Method::PUT, &path);
    answer(request.json(&rights).send().await.unwrap()).await
}

fn places(problem: &Value) -> Vec<(String, String)> {
    let text = |fault: &Value, key: &str| fault[key].as_str().unwrap().to_owned();
    let faults = problem["errors"].as_array().unwrap_or_else(|| panic!("{problem}"));
    faults.iter().map(|fault| (text(fault, "pointer"), text(fault, "detail"))).collect()
}

#[tokio::test]
async fn what_leads_out_of_a_container_takes_an_operators_word() {
    on_every_database(async |registry| {
        registry.product(TEMPLATE, &options(), None).await;
        let (_, shown) = registry.get("/products/demo/1.0").await;
        assert_eq!(shown["container_rights"]["needed"], json!(["privileged", "host-mounts"]), "{shown}");
        for path in ["/products/demo/1.0?dry_run=true", "/products/demo/1.0"] {
            let (status, problem) = registry.post(path, json!({"size": 2})).await;
            assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("BD0034")), "{path}: {problem}");
            let places = places(&problem);
            assert_eq!(places.len(), 4, "{places:?}");
            assert_eq!(places[0].0, "/nodes/n0/docker_opts");
            assert!(places[0].1.contains("--privileged is refused"), "{places:?}");
            assert!(places[1].1.contains("-v /sys/fs/cgroup:/sys/fs/cgroup:ro is refused"), "{places:?}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("bigdata product allow demo 1.0 privileged host-mounts"), "{detail}");
        }
        assert_eq!(registry.get("/clusters").await.1["clusters"], json!([]), "nothing is stored");

        // One right of two is not enough.
        assert_eq!(allow(registry, json!(["privileged"])).await.0, 204);
        let (status, problem) = registry.post("/products/demo/1.0?dry_run=true", json!({"size": 1})).await;
        let places = places(&problem);
        assert_eq!((status.as_u16(), places.len()), (403, 1), "{problem}");
        assert!(places[0].1.contains("host-mounts"), "{places:?}");
        assert_eq!(allow(registry, json!(["privileged", "host-mounts", "devices"])).await.0, 204);
        let (_, shown) = registry.get("/products/demo/1.0/container-rights").await;
        assert_eq!(shown["given"], json!(["privileged", "host-mounts", "devices"]));
        assert_eq!((&shown["by"], &shown["at"]), (&json!("root"), &json!("2027-01-15T08:00:00.000Z")));
        let cluster = registry.launch(json!({"size": 2})).await;
        let node = &revision(registry, &cluster).await["blueprint"]["nodes"]["n1"];
        // The executor is given the rights that the node takes, no others; the password stays where it was.
        assert_eq!(node["container_rights"], json!(["privileged", "host-mounts"]));
        let words = "--privileged -v /sys/fs/cgroup:/sys/fs/cgroup:ro -e PASSWORD=@{secret:password} -e TAG=none";
        assert_eq!(node["docker_opts"], words);

        // What is taken away is gone at the next launch; who did it is kept.
        assert_eq!(allow(registry, json!([])).await.0, 204);
        let (status, problem) = registry.post("/products/demo/1.0", json!({"size": 2})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("BD0034")));
        let (_, shown) = registry.get("/products/demo/1.0/container-rights").await;
        assert_eq!((&shown["given"], &shown["by"]), (&json!([]), &json!("root")));
        assert_eq!(registry.status(&cluster).await, "registered");
    })
    .await;
}

async fn revision(registry: &Harness, cluster: &ClusterId) -> Value {
    let path = format!("/internal/v1/clusters/{cluster}/revisions/1");
    registry.request_as("x", "", Method::GET, &path).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn a_value_of_a_launch_brings_no_right_in() {
    on_every_database(async |registry| {
        let mut options = options();
        options["optional"]["tag"] = json!("");
        registry.product(FREE, &options, None).await;
        assert_eq!(allow(registry, json!(["privileged", "host-mounts", "capabilities"])).await.0, 204);
        for (tag, status) in [
            ("", 200),
            ("--init", 200),
            ("-v /:/host", 403),
            ("-v /sys/fs/cgroup:/sys/fs/cgroup", 403),
            ("--cap-add SYS_ADMIN", 403),
            ("--device /dev/sda", 403),
            ("--name other", 422),
        ] {
            let (answered, problem) =
                registry.post("/products/demo/1.0?dry_run=true", json!({"size": 1, "tag": tag})).await;
            assert_eq!(answered.as_u16(), status, "{tag}: {problem}");
        }
    })
    .await;
}

#[tokio::test]
async fn rights_lapse_when_the_product_becomes_another() {
    on_every_database(async |registry| {
        registry.product(TEMPLATE, &options(), None).await;
        assert_eq!(allow(registry, json!(["privileged", "host-mounts"])).await.0, 204);
        let revision = async || registry.get("/products/demo/1.0").await.1["revision"].clone();
        let allowed = revision().await;
        let launch = async || registry.post("/products/demo/1.0?dry_run=true", json!({"size": 1})).await;
        // The same text again is nothing new.
        for (part, body) in [("template", TEMPLATE), ("orchestrator", "")] {
            assert_eq!(registry.put(&format!("/products/demo/1.0/{part}"), body).await.0, 204);
        }
        assert_eq!(registry.put("/products/demo/1.0/options", options().to_string()).await.0, 204);
        assert_eq!((launch().await.0.as_u16(), revision().await), (200, allowed.clone()));
        let other = TEMPLATE.replace("/sys/fs/cgroup:/sys/fs/cgroup:ro", "/:/host");
        // A publisher who is no operator may write what he likes; it is not what was allowed.
        assert_eq!(registry.put("/products/demo/1.0/template", other.clone()).await.0, 204);
        let (status, problem) = launch().await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("BD0034")));
        assert!(problem["detail"].as_str().unwrap().contains("lapsed"), "{problem}");
        assert!(registry.get("/products/demo/1.0").await.1["container_rights"]["lapsed_at"].is_string());
        assert_ne!(revision().await, allowed);
        // Not even the old text brings them back; an operator does.
        assert_eq!(registry.put("/products/demo/1.0/template", TEMPLATE).await.0, 204);
        assert_eq!(launch().await.0, 403);
        assert_eq!(allow(registry, json!(["privileged", "host-mounts"])).await.0, 204);
        assert_eq!((launch().await.0.as_u16(), revision().await), (200, allowed));
        // A script may do in the containers what they may, and has its own reach.
        let as_root = async |part: &str, body: String| {
            let path = format!("{API}/products/demo/1.0/{part}");
            let request = registry.request_as("root", "publisher,admin", Method::PUT, &path);
            request.body(body).send().await.unwrap().status().as_u16()
        };
        let reach = async || registry.get("/products/demo/1.0/reach").await.1;
        assert_eq!((as_root("reach", "network".to_owned()).await, reach().await), (204, json!("network")));
        assert_eq!(registry.put("/products/demo/1.0/orchestrator", "#!/bin/sh\n").await.0, 204);
        assert_eq!((launch().await.0.as_u16(), reach().await), (403, json!("socket")));
        assert_eq!(registry.put("/products/demo/1.0/orchestrator", "").await.0, 204);
        assert_eq!(allow(registry, json!(["privileged", "host-mounts"])).await.0, 204);
        assert_eq!(launch().await.0, 200);
        // What an operator writes needs no second word of his.
        assert_eq!(as_root("template", other).await, 204);
        assert_eq!(launch().await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn a_cluster_grows_only_while_its_product_has_the_rights() {
    on_every_database(async |registry| {
        registry.product(TEMPLATE, &options(), None).await;
        assert_eq!(allow(registry, json!(["privileged", "host-mounts"])).await.0, 204);
        let cluster = registry.launch(json!({"size": 1})).await;
        registry.runs(&cluster, "n0", 1, 1).await;
        assert_eq!(registry.status(&cluster).await, "ready");
        let scale = format!("/{}/scale?dry_run=true", cluster.dn());
        let (status, plan) = registry.post(&scale, json!({"size": 2})).await;
        assert_eq!((status.as_u16(), &plan["added"]), (200, &json!(["n1"])), "{plan}");
        assert_eq!(allow(registry, json!(["privileged"])).await.0, 204);
        let (status, problem) = registry.post(&scale, json!({"size": 2})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("BD0034")), "{problem}");
        let back = format!("/{}/upgrade?dry_run=true", cluster.dn());
        let (status, problem) = registry.post(&back, json!({"revision": 1})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("BD0034")), "{problem}");
    })
    .await;
}

#[tokio::test]
async fn publishers_are_told_of_what_nobody_may_have() {
    on_every_database(async |registry| {
        assert_eq!(registry.post("/products", json!({"name": "demo", "version": "1.0"})).await.0, 201);
        assert_eq!(allow(registry, json!(["privileged"])).await.1["code"], "BD0013", "there is nothing to look at");
        let typed = TEMPLATE.replace("--privileged", "--priveleged");
        // Without its options the template renders to nothing yet: it is told with them.
        assert_eq!(registry.put("/products/demo/1.0/template", typed.clone()).await.0, 204);
        for (part, body) in [("options", options().to_string()), ("template", TEMPLATE.replace("-e TAG", "--name TAG"))]
        {
            let (status, problem) = registry.put(&format!("/products/demo/1.0/{part}"), body).await;
            let places = if part == "options" { places(&problem) } else { Vec::new() };
            if part == "options" {
                assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("BD0016")));
                assert_eq!(places[0].0, "/nodes/n0/docker_opts");
                assert!(places[0].1.contains("did you mean --privileged?"), "{places:?}");
            } else {
                assert_eq!(status, 204, "there are no options still");
            }
        }
        assert_eq!(registry.put("/products/demo/1.0/template", TEMPLATE).await.0, 204);
        assert_eq!(registry.put("/products/demo/1.0/options", options().to_string()).await.0, 204);
        let (status, problem) = registry.put("/products/demo/1.0/template", typed).await;
        assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("BD0016")), "{problem}");
        assert_eq!(registry.get("/products/demo/1.0/template").await.1, json!(TEMPLATE));
        // Who may say what is allowed, and in which words.
        for (user, roles, body, status) in [
            ("ann", "user,publisher", json!(["privileged"]), 403),
            ("root", "admin", json!(["root"]), 400),
            ("root", "admin", json!({"privileged": true}), 400),
            ("root", "admin", json!([]), 204),
        ] {
            let path = format!("{API}/products/demo/1.0/container-rights");
            let answered = registry.request_as(user, roles, Method::PUT, &path).json(&body).send().await.unwrap();
            assert_eq!(answered.status().as_u16(), status, "{user} {body}");
        }
        assert_eq!(registry.get("/products/none/1/container-rights").await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_an_image_alone_is_refused_where_no_agent_has_an_engine() {
    on_every_database(async |registry| {
        let template = r#"{"nodes": {"a": {"cpu": 1, "mem": 64, "docker_image": "i:1"}}}"#;
        registry.product(template, &json!({}), None).await;
        let tell = async |agents: u32, with_engine: u32| {
            let kinds: &[&str] = if with_engine > 0 { &["Podman-4.3.1"] } else { &[] };
            let told = json!({"agents": agents, "with_engine": with_engine, "kinds": kinds});
            let request = registry.request_as("x", "", Method::PUT, "/internal/v1/engines");
            assert_eq!(request.json(&told).send().await.unwrap().status(), 204);
        };
        let launch = async || {
            let (status, body) = registry.post("/products/demo/1.0", json!({})).await;
            (status.as_u16(), body)
        };
        // As long as nothing is known, a launch waits for its place.
        assert_eq!(launch().await.0, 202);
        tell(0, 0).await;
        assert_eq!(launch().await.0, 202);
        tell(2, 0).await;
        let (status, problem) = launch().await;
        assert_eq!((status, &problem["code"]), (409, &json!("BD0035")), "{problem}");
        assert_eq!(places(&problem)[0].0, "/nodes/a/docker_image");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("none of the 2 agents") && detail.contains("bigdata doctor"), "{detail}");
        let (status, plan) = registry.post("/products/demo/1.0?dry_run=true", json!({})).await;
        assert_eq!(status, 200, "a dry run shows what it would be: {plan}");
        assert!(plan["warnings"][0].as_str().unwrap().contains("none of the 2 agents"), "{plan}");
        // One agent is enough, and so is a command.
        tell(2, 1).await;
        assert_eq!(launch().await.0, 202);
        tell(2, 0).await;
        let template = template.replace("\"i:1\"", "\"i:1\", \"command\": \"run\"");
        assert_eq!(registry.put("/products/demo/1.0/template", template.clone()).await.0, 204);
        assert_eq!(launch().await.0, 202);
        assert_eq!(
            registry.put("/products/demo/1.0/template", template.replace(", \"command\": \"run\"", "")).await.0,
            204
        );
        assert_eq!(launch().await.0, 409);
        // A word from long ago says nothing of now.
        registry.clock.advance_millis(120_000);
        assert_eq!(launch().await.0, 202);
        // And it is not for users to say.
        let request = registry.request_as("ann", "user,publisher,admin", Method::PUT, &format!("{API}/engines"));
        assert_eq!(request.json(&json!({})).send().await.unwrap().status(), 404);
    })
    .await;
}
