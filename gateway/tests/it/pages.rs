//! What the pages show, and what they do not let through.

use crate::platform::{LIMIT, Platform, SOON, eventually, nowhere};
use crate::sample::CLUSTER;
use bigdata_chassis::testing::Stalls;
use bigdata_common::status::ClusterStatus;
use reqwest::Response;
use serde_json::Value;
use std::time::Instant;

async fn page(platform: &Platform, path: &str) -> String {
    let answer = platform.get(path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-type").starts_with("text/html"), "{path}");
    let policy = header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!((header("x-content-type-options"), header("referrer-policy")), ("nosniff".into(), "no-referrer".into()));
    let text = answer.text().await.unwrap();
    assert_harmless(path, &text);
    text
}

/// Nothing hostile came through as markup, and nothing that the policy would stop is relied on.
fn assert_harmless(path: &str, html: &str) {
    assert!(!html.contains("<script>") && !html.contains("<img src=x"), "{path}: {html}");
    assert!(!html.contains(" style=") && !html.contains("onclick="), "{path}");
    assert!(!html.contains("href=\"javascript:"), "{path}");
}

#[tokio::test]
async fn the_first_page_shows_clusters_products_and_agents() {
    let platform = Platform::start().await;
    let text = page(&platform, "/").await;
    for part in [
        "clusters/local/mysql/8.0/1",
        "&lt;script&gt;",
        "degraded",
        "during configuring",
        "exit code 1",
        "3 of 3",
        "lacks options, orchestrator",
        "agent-7.example",
        "48 GiB",
        "noscript",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains("clusters/local/mysql/8.0/9"), "destroyed ones are hidden");
    assert!(page(&platform, "/?destroyed=show").await.contains("clusters/local/mysql/8.0/9"));
    platform.stop().await;
}

#[tokio::test]
async fn the_page_of_a_cluster_shows_all_of_it() {
    let platform = Platform::start().await;
    let text = page(&platform, &format!("/ui/{CLUSTER}")).await;
    for part in [
        "configuring",
        "37 s",
        "db2",
        "connection refused on port 3306",
        "InnoDB",
        "127.64.0.3",
        "mysql 3306",
        "href=\"http://127.64.0.3:8080/\"",
        "<code>javascript:alert(3)</code>",
        "replication: gtid",
        "every node passes its checks",
        "creating the replication user",
        "<strong>launch</strong>",
        "action node-lost",
        "node-lost: node1 failed",
        "mariadb --host=127.64.0.3",
        "0193b5a0-5b7c-7c3e-9d3a-3a7b5f1e2d4d",
        "24 MiB",
        "data-last-event=\"6\"",
        "data-last-line=\"6\"",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(text.matches("&lt;script&gt;").count() >= 6, "every hostile text is shown, escaped");
    platform.stop().await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_a_page_too() {
    let platform = Platform::start().await;
    let answer = platform.get("/ui/clusters/local/mysql/8.0/77").send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    platform.stop().await;
}

#[tokio::test]
async fn a_service_that_is_away_costs_its_part_of_a_page() {
    let platform = Platform::start_with(|settings| {
        settings.framework = nowhere();
        settings.orchestrator = nowhere();
    })
    .await;
    let index = page(&platform, "/").await;
    assert!(index.contains("the framework does not answer now") && index.contains(CLUSTER), "{index}");
    let cluster = page(&platform, &format!("/ui/{CLUSTER}")).await;
    assert!(cluster.contains("the orchestrator does not answer now") && cluster.contains("db2"), "{cluster}");
    platform.stop().await;
}

#[tokio::test]
async fn documentation_assets_and_errors_are_there() {
    let platform = Platform::start().await;
    let docs = page(&platform, "/docs").await;
    assert!(docs.contains("/bigdata/api/v1/products/{name}/{version}") && docs.contains("DryRun"));
    assert!(page(&platform, "/docs/errors").await.contains("BD0028"));
    for code in bigdata_common::api::problem::ProblemCode::ALL {
        let text = page(&platform, &format!("/docs/errors/{}", code.as_str())).await;
        assert!(text.contains("What to do"), "{}", code.as_str());
    }
    assert_eq!(platform.get("/docs/errors/BD9999").send().await.unwrap().status(), 404);
    for (file, kind) in [("style.css", "text/css"), ("live.js", "text/javascript"), ("icon.svg", "image/svg+xml")] {
        let asset = platform.get(&format!("/ui/assets/{file}")).send().await.unwrap();
        assert!(asset.headers()["content-type"].to_str().unwrap().starts_with(kind), "{file}");
    }
    assert_eq!(platform.get("/ui/assets/other").send().await.unwrap().status(), 404);
    let openapi: Value = platform.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    assert_eq!(openapi["openapi"], "3.1.0");
    platform.stop().await;
}

/// The next event of a stream that is no comment: its name and data.
async fn next_event(answer: &mut Response, held: &mut String) -> (String, Value) {
    loop {
        if let Some((event, rest)) = held.clone().split_once("\n\n") {
            *held = rest.to_owned();
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            if let Some(data) = field("data: ") {
                return (field("event: ").unwrap(), serde_json::from_str(&data).unwrap());
            }
            continue;
        }
        let piece = tokio::time::timeout(LIMIT, answer.chunk()).await.unwrap().unwrap().unwrap();
        held.push_str(std::str::from_utf8(&piece).unwrap());
    }
}

#[tokio::test]
async fn the_first_page_is_told_what_changes() {
    let platform = Platform::start().await;
    let mut answer = platform.get("/ui/stream").send().await.unwrap();
    let mut held = String::new();
    let (name, all) = next_event(&mut answer, &mut held).await;
    assert_eq!((name.as_str(), all["rows"].as_array().unwrap().len()), ("rows", 3));
    assert_harmless("/ui/stream", all["rows"][0]["html"].as_str().unwrap());
    assert!(all.to_string().contains("&lt;script&gt;"));

    let (stalls, changed_at) = (Stalls::watch(), Instant::now());
    platform.upstream.change(|clusters| {
        clusters[1].data.status = ClusterStatus::Ready;
        clusters.remove(2);
    });
    let (_, changes) = next_event(&mut answer, &mut held).await;
    stalls.assert_kept(SOON, changed_at.elapsed(), "a change is told");
    let rows = changes["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["dn"]), (1, &"clusters/local/spark/3.5.1/7".into()));
    assert!(rows[0]["html"].as_str().unwrap().contains("ready"));
    assert_eq!(changes["order"].as_array().unwrap().len(), 2);
    platform.stop().await;
}

#[tokio::test]
async fn many_watchers_cost_one_poll_and_none_when_they_are_gone() {
    let platform = Platform::start().await;
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push(platform.get("/ui/stream").send().await.unwrap());
    }
    let (start, before) = (Instant::now(), platform.upstream.lists());
    eventually("three polls", || async { platform.upstream.lists() >= before + 3 }).await;
    assert!(start.elapsed().as_millis() >= 1_900, "polls come once a second for all: {:?}", start.elapsed());
    drop(watchers);
    // Polls end once the gateway has noticed; a pause of three would-be polls shows it.
    let last = std::cell::Cell::new((platform.upstream.lists(), Instant::now()));
    eventually("the polls end", || async {
        let now = platform.upstream.lists();
        if now != last.get().0 {
            last.set((now, Instant::now()));
        }
        last.get().1.elapsed().as_secs() >= 3
    })
    .await;
    platform.stop().await;
}
