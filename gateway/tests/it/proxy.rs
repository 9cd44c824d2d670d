//! The hop to the services.

use crate::openapi::assert_described;
use crate::platform::{LIMIT, Platform, SOON, eventually, nowhere};
use crate::sample::CLUSTER;
use crate::upstream::{LARGE, Upstream, large_hash};
use bigdata_chassis::Tasks;
use bigdata_chassis::http::Upstreams;
use bigdata_chassis::readiness::CATALOG;
use bigdata_chassis::secret::{Token, sha256_hex};
use bigdata_chassis::testing::Stalls;
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const API: &str = "/bigdata/api/v1";

async fn problem(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

/// The body of `/ready` once the answer fits: its status, whether it says when to ask again, and the body. Each replica is
/// given two seconds there, so that one that stands still for a moment is told as one that does not answer: it is asked
/// again.
async fn ready(platform: &Platform, fits: impl Fn(u16, bool, &Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let answer = platform.get("/ready").send().await.unwrap();
        let (status, says_when) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        let told = answer.json::<Value>().await.unwrap();
        if fits(status, says_when, &told) {
            return told;
        }
        assert!(start.elapsed() < LIMIT, "{status}: {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let platform = Platform::start().await;
    let path = format!("{API}/products?a=%2F&b=%C3%A9");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let answer = platform.request(Method::POST, &path).header(form.0, form.1).body("{\"name\": \"é\"}").send().await;
    let told: Value = answer.unwrap().json().await.unwrap();
    assert_eq!((&told["path"], &told["body"]), (&path.as_str().into(), &"{\"name\": \"é\"}".into()));
    assert_eq!((&told["headers"]["content-type"], &told["headers"]["content-length"]), (&form.1.into(), &"14".into()));

    let pieces = futures_util::stream::iter(["{", "}"].map(Ok::<_, std::io::Error>));
    let chunked = platform.request(Method::POST, &path).body(Body::wrap_stream(pieces)).send().await.unwrap();
    assert_eq!(chunked.json::<Value>().await.unwrap()["body"], "{}");

    let queued = platform.get(&format!("{API}/queue/1")).send().await.unwrap();
    assert_eq!(
        (queued.status().as_u16(), &queued.headers()["location"]),
        (303, &format!("{API}/{CLUSTER}").parse().unwrap())
    );
    platform.stop().await;
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems() {
    let platform = Platform::start().await;
    let away = platform.get("/bigdata/api/v1/nothing").send().await.unwrap();
    assert_eq!(problem(away).await, (404, "BD0005".to_owned()));
    let wrong = platform.request(Method::DELETE, &format!("{API}/products")).send().await.unwrap();
    assert_eq!(wrong.headers()["allow"], "GET, POST");
    assert_eq!(problem(wrong).await, (405, "BD0006".to_owned()));
    let internal = platform.get("/internal/v1/clusters").send().await.unwrap();
    assert_eq!(problem(internal).await, (404, "BD0005".to_owned()));
    let encoded = platform.get(&format!("{API}/explain/%2e%2E/%2e%2e/internal")).send().await.unwrap();
    assert!(encoded.status().is_client_error(), "{}", encoded.status());
    // What a service says of it passes untouched.
    let unknown = platform.get(&format!("{API}/products/nothing")).send().await.unwrap();
    assert_eq!(problem(unknown).await, (404, "BD0005".to_owned()));
    platform.stop().await;
}

#[tokio::test]
async fn a_head_is_an_answer_without_its_body() {
    let platform = Platform::start().await;
    let answer = platform.request(Method::HEAD, &format!("{API}/agents")).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    platform.stop().await;
}

#[tokio::test]
async fn large_answers_stream_through_and_are_never_a_page_of_ours() {
    let platform = Platform::start().await;
    let answer = platform.get(&format!("{API}/products/large/1/template")).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let body = answer.bytes().await.unwrap();
    assert_eq!((body.len(), sha256_hex(&body)), (LARGE, large_hash()));
    platform.stop().await;
}

#[tokio::test]
async fn large_requests_are_refused_whether_or_not_they_say_so() {
    let platform = Platform::start().await;
    let post = || platform.request(Method::POST, &format!("{API}/products"));
    let told = post().body(vec![b'x'; 1024 * 1024 + 1]).send().await.unwrap();
    assert_eq!(problem(told).await, (413, "BD0002".to_owned()));
    let pieces = futures_util::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 65_536])));
    let untold = post().body(Body::wrap_stream(pieces)).send().await.unwrap();
    assert_eq!(problem(untold).await, (413, "BD0002".to_owned()));
    platform.stop().await;
}

#[tokio::test]
async fn a_service_that_is_away_or_slow_costs_a_moment() {
    let platform = Platform::start_with(|settings| {
        settings.orchestrator = nowhere();
        settings.answer_timeout_ms = 200;
    })
    .await;
    let (stalls, start) = (Stalls::watch(), Instant::now());
    let away = platform.get(&format!("{API}/{CLUSTER}/logs")).send().await.unwrap();
    assert!(away.headers().contains_key("retry-after"));
    assert_eq!(problem(away).await, (503, "BD0025".to_owned()));
    let slow = platform.get(&format!("{API}/products/slow")).send().await.unwrap();
    assert_eq!(problem(slow).await, (503, "BD0025".to_owned()));
    stalls.assert_kept(SOON, start.elapsed(), "both are refused");

    // Everything but scripts is as ever, and every other gateway lacks them, too.
    let services = json!({"framework": "ok", "orchestrator": "does not answer", "registry": "ok"});
    let waits_for = json!({"orchestrator": "does not answer"});
    let wanted = json!({"ready": true, "services": services, "waits_for": waits_for});
    ready(&platform, |status, _, told| status == 200 && *told == wanted).await;
    assert_eq!(platform.get("/health").send().await.unwrap().status(), 200);

    let metrics = platform.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = r#"bigdata_gateway_requests_total{route="/bigdata/api/v1/products/{name}",method="GET",status="503"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.contains("bigdata_gateway_answer_seconds_bucket"), "{metrics}");
    platform.stop().await;
}

#[tokio::test]
async fn a_platform_that_is_whole_is_ready() {
    let platform = Platform::start().await;
    ready(&platform, |status, _, _| status == 200).await;
    platform.stop().await;
}

#[tokio::test]
async fn what_the_services_wait_for_is_handed_on() {
    let (token, tasks) = (Token::random(), Tasks::new());
    let (first, second) = (Upstream::start(&token, &tasks), Upstream::start(&token, &Tasks::new()));
    let platform = Platform::start_as(token, |settings, usual| {
        settings.registry = first.address.into();
        let replicas = [usual, second.address, first.address].map(|address| format!("http://{address}"));
        settings.framework = Upstreams::of(replicas).unwrap();
    })
    .await;
    tasks.readiness().is_held_up_by("mesos", "the master is away");
    let waits_for = json!({"framework.mesos": "the master is away", "registry.mesos": "the master is away"});
    ready(&platform, |status, _, told| status == 200 && told["waits_for"] == waits_for).await;
    tasks.readiness().has("mesos");
    tasks.readiness().waits_for("database", "refused");
    let services = json!({"framework": "ok", "orchestrator": "ok", "registry": "takes no requests"});
    let told = ready(&platform, |status, _, told| status == 503 && told["services"] == services).await;
    assert_described("Readiness", &told);
    tasks.readiness().has("database");
    ready(&platform, |status, _, _| status == 200).await;
    let (stalls, start) = (Stalls::watch(), Instant::now());
    assert!(tasks.shut_down(LIMIT).await);
    stalls.assert_kept(SOON, start.elapsed(), "a service ends");
    ready(&platform, |status, _, told| status == 503 && told["services"]["registry"] == "does not answer").await;
    platform.stop().await;
}

#[tokio::test]
async fn what_the_process_waits_for_is_told() {
    let platform = Platform::start().await;
    platform.readiness().waits_for(CATALOG, "the shipped products are being registered");
    let waits_for = json!({"catalog": "the shipped products are being registered"});
    let fits = |status, says_when, told: &Value| status == 503 && says_when && told["waits_for"] == waits_for;
    assert_described("Readiness", &ready(&platform, fits).await);
    platform.readiness().has(CATALOG);
    ready(&platform, |status, _, _| status == 200).await;
    platform.stop().await;
}

#[tokio::test]
async fn events_pass_at_once_and_end_with_their_reader() {
    let platform = Platform::start().await;
    let path = format!("{API}/{CLUSTER}/events");
    let mut answer = platform.get(&path).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    for number in 0..3 {
        let event = format!("id: {number}\ndata: {{}}\n\n");
        let (stalls, start) = (Stalls::watch(), Instant::now());
        platform.upstream.publish(&event);
        assert_eq!(answer.chunk().await.unwrap().unwrap(), event.as_bytes());
        stalls.assert_kept(SOON, start.elapsed(), "an event passes");
    }
    assert_eq!(platform.upstream.watchers(), 1);
    drop(answer);
    // A service notices a closed connection by writing to it.
    eventually("the service's stream ends too", || async {
        platform.upstream.publish("data: {}\n\n");
        platform.upstream.watchers() == 0
    })
    .await;
    platform.stop().await;
}

#[tokio::test]
async fn a_dry_run_asks_whether_it_fits() {
    let platform = Platform::start().await;
    let launch = |query: &str, body: &'static str| {
        platform.request(Method::POST, &format!("{API}/products/mysql/8.0{query}")).body(body).send()
    };
    let dry: Value = launch("?dry_run=true", "{\"size\":3}").await.unwrap().json().await.unwrap();
    assert_eq!(dry["fits"], json!({"fits": false, "reasons": ["node a: no agent has 64 CPUs"]}));
    assert_eq!(dry["options"], json!({"size": 3}));
    let refused = launch("?dry_run=true", "{}").await.unwrap();
    assert_eq!(problem(refused).await, (400, "BD0014".to_owned()));
    let real = launch("", "{}").await.unwrap();
    assert_eq!((real.status().as_u16(), real.json::<Value>().await.unwrap()), (202, json!({"launched": "{}"})));
    platform.stop().await;
}

#[tokio::test]
async fn a_dry_run_without_the_framework_says_so() {
    let platform = Platform::start_with(|settings| settings.framework = nowhere()).await;
    let path = format!("{API}/products/mysql/8.0?dry_run=true");
    let dry = platform.request(Method::POST, &path).body("{\"size\":3}").send().await.unwrap();
    assert_eq!(dry.status(), 200);
    let dry: Value = dry.json().await.unwrap();
    assert_eq!(dry.get("fits"), None);
    assert!(dry["warnings"][0].as_str().unwrap().contains("fits"), "{dry}");
    platform.stop().await;
}
