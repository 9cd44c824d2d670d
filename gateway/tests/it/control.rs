//! The hop to a node's executor.

use crate::platform::Platform;
use crate::sample::CLUSTER;
use bigdata_chassis::secret::sha256_hex;
use reqwest::{Method, Response};
use serde_json::Value;

fn node(rest: &str) -> String {
    format!("/bigdata/api/v1/{CLUSTER}/nodes/db0/{rest}")
}

async fn problem(answer: Response) -> (u16, Value) {
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn an_exec_is_streamed_line_by_line() {
    let platform = Platform::start().await;
    let executor = platform.executor().await;
    let body = r#"{"command":["id"]}"#;
    let mut answer = platform.request(Method::POST, &node("exec")).body(body).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/jsonl".parse().unwrap())
    );
    // The first line is here while the command still runs.
    let first: Value = serde_json::from_slice(&answer.chunk().await.unwrap().unwrap()).unwrap();
    assert_eq!(first["stdout"], body);
    executor.go_on.notify_one();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "{\"exit\":0}\n");
    assert_eq!(answer.chunk().await.unwrap(), None);
    let large = format!(r#"{{"command":["cat"],"stdin":"{}"}}"#, "QUFB".repeat(500_000));
    let answer = platform.request(Method::POST, &node("exec")).body(large.clone()).send().await.unwrap();
    executor.go_on.notify_one();
    let answer = answer.text().await.unwrap();
    let first: Value = serde_json::from_str(answer.lines().next().unwrap()).unwrap();
    assert!(
        first["stdout"] == large,
        "an exec's input is larger than other bodies: {}",
        &answer[..answer.len().min(200)]
    );
    platform.stop().await;
}

#[tokio::test]
async fn files_go_through_with_their_query_and_nothing_of_the_caller() {
    let platform = Platform::start().await;
    let _executor = platform.executor().await;
    let file = vec![7; 20 * 1024 * 1024];
    let put = platform.request(Method::PUT, &node("files?path=a%2Fb&mode=600&late=true"));
    let answer = put.header("x-bigdata-user", "root").body(file.clone()).send().await.unwrap();
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("sandbox"));
    let expected = format!("PUT /v1/files?path=a%2Fb&mode=600&late=true {} {} []", file.len(), sha256_hex(&file));
    assert_eq!(answer.text().await.unwrap(), expected);
    for (method, path, arrived) in [
        (Method::GET, "logs?stream=stdout&tail=5", "GET /v1/logs?stream=stdout&tail=5"),
        (Method::GET, "stats", "GET /v1/stats"),
        (Method::GET, "health", "GET /v1/health"),
        (Method::POST, "start", "POST /v1/start"),
        (Method::POST, "stop", "POST /v1/stop"),
        (Method::POST, "restart", "POST /v1/restart"),
    ] {
        let text = platform.request(method, &node(path)).send().await.unwrap().text().await.unwrap();
        assert!(text.starts_with(&format!("{arrived} 0 ")), "{text}");
    }
    assert_eq!(platform.upstream.grants(), 1, "one grant served them all");
    let too_large = platform.request(Method::PUT, &node("files?path=a")).body(vec![0; 64 * 1024 * 1024 + 1]);
    assert_eq!(too_large.send().await.unwrap().status(), 413);
    platform.stop().await;
}

#[tokio::test]
async fn another_certificate_than_the_enrolled_one_is_not_spoken_to() {
    let platform = Platform::start().await;
    let executor = platform.executor().await;
    let mut grant = executor.grant();
    grant.fingerprint = sha256_hex(b"another certificate");
    platform.upstream.grant(grant);
    let (status, problem) = problem(platform.get(&node("stats")).send().await.unwrap()).await;
    assert_eq!((status, &problem["code"]), (503, &"BD0024".into()));
    assert!(problem["detail"].as_str().unwrap().contains("another certificate"), "{problem}");
    // With the right one again it is, at once.
    platform.upstream.grant(executor.grant());
    assert_eq!(platform.get(&node("stats")).send().await.unwrap().status(), 200);
    platform.stop().await;
}

#[tokio::test]
async fn a_refused_token_is_not_used_again() {
    let platform = Platform::start().await;
    let executor = platform.executor().await;
    let mut grant = executor.grant();
    grant.token = "6f0c9c4e-28a5-4c5e-8a3b-0b8f4a7d9e11.99999999999999.mallory.ab".to_owned();
    platform.upstream.grant(grant);
    let (status, problem) = problem(platform.get(&node("stats")).send().await.unwrap()).await;
    assert_eq!((status, &problem["code"]), (503, &"BD0024".into()));
    platform.upstream.grant(executor.grant());
    assert_eq!(platform.get(&node("stats")).send().await.unwrap().status(), 200);
    platform.stop().await;
}

#[tokio::test]
async fn a_node_that_moved_is_found_again_and_one_that_is_gone_is_a_problem() {
    let platform = Platform::start().await;
    let first = platform.executor().await;
    assert_eq!(platform.get(&node("stats")).send().await.unwrap().status(), 200);
    first.end().await;
    let second = platform.executor().await;
    assert_eq!(platform.get(&node("stats")).send().await.unwrap().status(), 200, "a new grant was fetched");
    second.end().await;
    let (status, problem) = problem(platform.get(&node("stats")).send().await.unwrap()).await;
    assert_eq!((status, &problem["code"]), (503, &"BD0024".into()));
    platform.stop().await;
}

#[tokio::test]
async fn what_the_registry_and_the_framework_refuse_is_passed_on() {
    let platform = Platform::start().await;
    let (status, problem_of_node) = problem(platform.get(&node("stats")).send().await.unwrap()).await;
    assert_eq!((status, &problem_of_node["code"]), (503, &"BD0024".into()));
    assert_eq!(problem_of_node["detail"], "db0 has no executor for local");

    let _executor = platform.executor().await;
    let as_mallory =
        platform.get(&node("stats")).bearer_auth(platform.token.expose()).header("x-bigdata-user", "mallory");
    let answer = as_mallory.header("x-bigdata-roles", "user").send().await.unwrap();
    let (status, problem_of_cluster) = problem(answer).await;
    assert_eq!((status, &problem_of_cluster["code"]), (404, &"BD0008".into()));
    assert_eq!(platform.upstream.grants(), 1, "nothing was granted to a stranger");
    platform.stop().await;
}
