//! What is told as it happens: the stream of events, and waiting.

use crate::support::{API, Harness, PAIR, on_every_database, pair_options};
use bigdata_chassis::testing::Stalls;
use bigdata_common::ClusterId;
use bigdata_common::event::Event;
use bigdata_common::status::NodeStatus;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What is told comes within this time, also on a busy machine: whoever is told nothing looks anew only after 5 s.
const TOLD: Duration = Duration::from_secs(4);

/// Each was told in time; time by which the machine itself was late is not counted.
fn assert_told(stalls: &Stalls, took: &[Duration]) {
    for took in took {
        stalls.assert_kept(TOLD, *took, "it was told after");
    }
}

struct Stream {
    response: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>>>>,
    text: String,
}

impl Stream {
    async fn open(registry: &Harness, path: &str, last: Option<&str>) -> Self {
        let mut request = registry.request(Method::GET, path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        Self { response: Box::pin(response.bytes_stream()), text: String::new() }
    }

    /// The next event.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                    return (id, serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let bytes = tokio::time::timeout(Duration::from_secs(60), self.response.next()).await;
            self.text.push_str(std::str::from_utf8(&bytes.expect("something comes").unwrap().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn events_are_streamed_at_once_and_resumed_without_gaps() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let cluster = registry.launch(json!({"mem": 64})).await;
        let path = format!("/{}/events", cluster.dn());
        let mut stream = Stream::open(registry, &path, None).await;
        for wanted in ["1", "2"] {
            assert_eq!(stream.next().await.0, wanted);
        }
        let (stalls, mut took) = (Stalls::watch(), Vec::new());
        for (sequence, id) in [(1, "3"), (2, "5"), (3, "6")] {
            let begun = Instant::now();
            let status = if sequence == 2 { NodeStatus::Launching } else { NodeStatus::Running };
            registry.node(&cluster, "a", sequence, status, None).await;
            let (told, event) = stream.next().await;
            took.push(begun.elapsed());
            assert_eq!((told.as_str(), &event["kind"], &event["node"]), (id, &json!("node"), &json!("a")));
            // The first one moves the cluster on, too.
            if sequence == 1 {
                assert_eq!(stream.next().await.1["kind"], "status");
            }
        }
        assert_told(&stalls, &took);
        drop(stream);
        registry.node(&cluster, "b", 1, NodeStatus::Running, None).await;
        let mut resumed = Stream::open(registry, &path, Some("6")).await;
        assert_eq!(resumed.next().await.0, "7");
        let (_, page) = registry.get(&format!("{path}?after=1&limit=2")).await;
        assert_eq!((&page["events"][0]["sequence"], &page["next"]), (&json!(2), &json!(3)));
    })
    .await;
}

#[tokio::test]
async fn what_another_replica_writes_is_streamed_within_a_second() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let replica = registry.replica().await;
        let cluster = registry.launch(json!({"mem": 64})).await;
        let mut stream = Stream::open(registry, &format!("/{}/events?after=2", cluster.dn()), None).await;
        let (stalls, mut took) = (Stalls::watch(), Vec::new());
        for sequence in 1..=5_u64 {
            let begun = Instant::now();
            let status = if sequence % 2 == 0 { NodeStatus::Launching } else { NodeStatus::Running };
            replica.node(&cluster, "b", sequence, status, None).await;
            assert_eq!(stream.next().await.1["node"], "b");
            took.push(begun.elapsed());
            // The first one moves the cluster on, too.
            if sequence == 1 {
                assert_eq!(stream.next().await.1["kind"], "status");
            }
        }
        assert_told(&stalls, &took);
        // A machine that is busy for a moment makes one of them late, not all.
        assert!(took.iter().any(|it| *it < Duration::from_secs(1)), "{took:?}");

        let (stalls, mut took) = (Stalls::watch(), Vec::new());
        for cluster in [cluster, registry.launch(json!({"mem": 64})).await, registry.launch(json!({"mem": 64})).await] {
            let path = format!("{API}/{}?wait=destroyed&timeout=30", cluster.dn());
            let wait = async { registry.request_as("ann", "user", Method::GET, &path).send().await.unwrap() };
            let begun = Instant::now();
            let (waited, ()) = tokio::join!(wait, async {
                replica.delete(&format!("/{}", cluster.dn())).await;
                let released = Event::ClusterReleased { generation: 1, leftovers: Vec::new() };
                replica.fact(&cluster, released).await;
            });
            assert_eq!(waited.headers()["x-bigdata-wait"], "met");
            took.push(begun.elapsed());
        }
        assert_told(&stalls, &took);
    })
    .await;
}

#[tokio::test]
async fn waiting_ends_with_what_is_waited_for() {
    on_every_database(async |registry| {
        registry.product(PAIR, &pair_options(), None).await;
        let wait = async |cluster: &ClusterId, query: &str| {
            let path = format!("{API}/{}?{query}", cluster.dn());
            let response = registry.request_as("ann", "user", Method::GET, &path).send().await.unwrap();
            let outcome = response.headers().get("x-bigdata-wait").map(|value| value.to_str().unwrap().to_owned());
            (response.status().as_u16(), outcome.unwrap_or_default())
        };
        let (stalls, mut took) = (Stalls::watch(), Vec::new());
        for _ in 0..3 {
            let cluster = registry.launch(json!({"mem": 64})).await;
            assert_eq!(wait(&cluster, "wait=ready&timeout=0").await, (200, "timeout".to_owned()));
            assert_eq!(wait(&cluster, "wait=registered").await, (200, "met".to_owned()));
            assert_eq!(wait(&cluster, "wait=happy").await.0, 400);
            let begun = Instant::now();
            let (waited, ()) = tokio::join!(wait(&cluster, "wait=ready&timeout=30"), async {
                registry.node(&cluster, "a", 1, NodeStatus::Running, Some(true)).await;
                registry.node(&cluster, "b", 1, NodeStatus::Running, None).await;
            });
            assert_eq!(waited, (200, "met".to_owned()));
            took.push(begun.elapsed());
            assert_eq!(wait(&cluster, "wait=failed").await, (200, "missed".to_owned()));
            registry.delete(&format!("/{}", cluster.dn())).await;
            assert_eq!(wait(&cluster, "wait=ready").await, (200, "missed".to_owned()));
        }
        assert_told(&stalls, &took);
    })
    .await;
}
