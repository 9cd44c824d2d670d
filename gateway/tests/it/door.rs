//! Who may come in, and as whom.

use crate::platform::Platform;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Tasks};
use bigdata_gateway::{BuildError, GatewayDeps, Settings, build};
use reqwest::Method;
use serde_json::Value;

const PRODUCTS: &str = "/bigdata/api/v1/products";

#[tokio::test]
async fn other_hosts_and_origins_are_refused_before_anything_is_asked() {
    let platform = Platform::start().await;
    let own = format!("http://{}", platform.address);
    for (header, value) in [
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example:5000"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:1"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let answer = platform.request(Method::POST, PRODUCTS).header(header, value).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{header}: {value}");
        assert!(answer.headers().contains_key("x-request-id"));
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "BD0023", "{header}: {value}");
    }
    for (header, value) in [("host", "localhost"), ("origin", own.as_str()), ("sec-fetch-site", "same-origin")] {
        let answer = platform.request(Method::POST, PRODUCTS).header(header, value).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{header}: {value}");
    }
    platform.stop().await;
}

#[tokio::test]
async fn a_client_cannot_say_who_it_is() {
    let platform = Platform::start().await;
    let answer = platform
        .request(Method::POST, PRODUCTS)
        .header("x-bigdata-user", "root")
        .header("x-bigdata-roles", "user")
        .header("authorization", "Bearer guessed")
        .header("cookie", "a=b")
        .header("x-auth-token", "older")
        .header("idempotency-key", "k1")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    for dropped in ["set-cookie", "access-control-allow-origin"] {
        assert!(!answer.headers().contains_key(dropped), "{dropped}");
    }
    assert_eq!(answer.headers()["location"], "/bigdata/api/v1/products/a/1");
    let told: Value = answer.json().await.unwrap();
    assert_eq!((&told["user"], &told["roles"]), (&"local".into(), &serde_json::json!(["user", "publisher", "admin"])));
    for dropped in ["cookie", "x-auth-token"] {
        assert_eq!(told["headers"].get(dropped), None, "{dropped}");
    }
    assert_eq!(told["headers"]["idempotency-key"], "k1");
    platform.stop().await;
}

#[tokio::test]
async fn a_service_of_ours_speaks_for_its_user() {
    let platform = Platform::start().await;
    let call = || platform.request(Method::POST, PRODUCTS).bearer_auth(platform.token.expose());
    let answer = call().header("x-bigdata-user", "alice").header("x-bigdata-roles", "user").send().await.unwrap();
    let told: Value = answer.json().await.unwrap();
    assert_eq!((&told["user"], &told["roles"]), (&"alice".into(), &serde_json::json!(["user"])));
    let nobody = call().send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    platform.stop().await;
}

#[tokio::test]
async fn requests_are_named_through_all_services() {
    let platform = Platform::start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = platform.request(Method::POST, PRODUCTS).header("x-request-id", "r-1").header("traceparent", trace);
    let answer = call.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "r-1");
    let told: Value = answer.json().await.unwrap();
    let passed = told["headers"]["traceparent"].as_str().unwrap();
    // The trace is the client's, the span the gateway's own.
    assert_eq!((&passed[..36], &passed[52..], passed.len()), (&trace[..36], &trace[52..], trace.len()));
    assert_ne!(passed, trace);
    assert_eq!(told["headers"]["x-request-id"], "r-1");
    let answer = platform.request(Method::POST, PRODUCTS).send().await.unwrap();
    let made = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["headers"]["x-request-id"], made.as_str());
    platform.stop().await;
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused() {
    let settings = Settings { listen: "0.0.0.0:0".parse().unwrap(), ..Settings::default() };
    let deps = GatewayDeps { clock: Clock::system(), tasks: Tasks::new(), internal_token: Token::random() };
    let error = build(settings, deps).await.unwrap_err();
    assert!(matches!(error, BuildError::NotLoopback(_)) && error.to_string().contains("loopback"), "{error}");
}

#[test]
fn settings_name_their_services_and_can_be_shown() {
    let text = r#"{"registry": "https://x:1/path"}"#;
    let error = serde_json::from_str::<Settings>(text).unwrap_err();
    assert!(error.to_string().contains("https://x:1/path"), "{error}");
    let text = r#"{"registry": "http://a:1,http://b:2", "framework": ["http://c:3"], "workers": 3}"#;
    let settings: Settings = serde_json::from_str(text).unwrap();
    let shown = serde_json::to_value(&settings).unwrap();
    assert_eq!((&shown["registry"], &shown["workers"]), (&"http://a:1,http://b:2".into(), &3.into()));
    assert_eq!(serde_json::from_value::<Settings>(shown).unwrap(), settings);
}
