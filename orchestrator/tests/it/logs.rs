//! The logs as clients read them.

use crate::Test;
use crate::support::{World, block_on, until};
use actix_web::http::header::ACCEPT;
use bigdata_chassis::http::ClientError;
use bigdata_chassis::testing::Stalls;
use bigdata_common::ClusterId;
use bigdata_common::api::cluster::{LogLine, LogPage};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) const TESTS: &[Test] = &[
    ("pages, tails and text", pages),
    ("a log is its owner's", ownership),
    ("an operation's lines are those of its runs", operations),
    ("an operation that has run nothing yet has no lines", not_begun),
    ("a stream follows within a second and is resumed", stream),
];

fn pages() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let (cluster, _) = world.run("#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do echo line $i; done").await;
        let path = World::log_path(&cluster);
        let client = world.client_of("ann");
        let page: LogPage = client.get(&format!("{path}?limit=3")).await.unwrap();
        assert_eq!((page.lines.len(), page.next), (3, Some(3)));
        assert_eq!(page.lines[1].line, "line 1");
        let rest: LogPage = client.get(&format!("{path}?after=3")).await.unwrap();
        assert_eq!((rest.lines.len(), rest.lines[0].sequence, rest.next), (7, 4, None));
        let tail: LogPage = client.get(&format!("{path}?tail=2")).await.unwrap();
        let tail: Vec<&str> = tail.lines.iter().map(|line| line.line.as_str()).collect();
        assert_eq!(tail, ["line 8", "start succeeded"]);
        let request =
            client.request(reqwest::Method::GET, &format!("{path}?tail=3")).header(ACCEPT.as_str(), "text/plain");
        let text = client.send(request).await.unwrap().text().await.unwrap();
        assert_eq!(text, "line 7\nline 8\nstart succeeded\n");
        let error = client.get::<LogPage>(&format!("{path}?limits=3")).await.unwrap_err();
        assert!(matches!(&error, ClientError::Problem(problem) if problem.status == 400), "{error}");
        world.end().await;
    });
}

fn ownership() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let (cluster, _) = world.run("#!/bin/sh\necho mine").await;
        let status = async |user: &str, path: &str| match world.client_of(user).get::<LogPage>(path).await {
            Ok(page) => (200, page.lines.len()),
            Err(ClientError::Problem(problem)) => (problem.status, 0),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(status("ann", &World::log_path(&cluster)).await, (200, 3));
        assert_eq!(status("bob", &World::log_path(&cluster)).await, (404, 0));
        let silent = world.cluster(2, "");
        assert_eq!(status("ann", &World::log_path(&silent)).await, (200, 0), "it exists and has written nothing yet");
        assert_eq!(status("ann", "/bigdata/api/v1/clusters/ann/mysql/8.0/9/logs").await, (404, 0));
        let anonymous = world.client().get::<LogPage>(&World::log_path(&cluster)).await.unwrap_err();
        assert!(matches!(&anonymous, ClientError::Problem(problem) if problem.status == 401));
        world.end().await;
    });
}

fn operations() {
    block_on(async {
        for world in World::on_each_engine().await {
            let script = "#!/bin/sh\necho one; echo two; [ \"$1\" != hold ] || { echo held; exec sleep 1000; }";
            let (cluster, _) = world.run(script).await;
            let second = world.want(&cluster, "start", true, 60_000).await;
            world.ended(second).await;
            let third = world.want(&cluster, "hold", true, 60_000).await;
            let client = world.client_of("ann");
            let page = async |operation: &str, query: &str| -> LogPage {
                client.get(&format!("/bigdata/api/v1/operations/{operation}/logs{query}")).await.unwrap()
            };
            let lines = |page: &LogPage| page.lines.iter().map(|line| line.line.clone()).collect::<Vec<_>>();
            let (second, third) = (second.to_string(), third.to_string());
            let whole = page(&second, "").await;
            assert_eq!(lines(&whole), ["start begins, attempt 1", "one", "two", "start succeeded"]);
            assert_eq!(
                (whole.running, whole.lines[0].sequence),
                (Some(false), 5),
                "places are those of the cluster's log"
            );
            let rest = page(&second, "?after=6&limit=1").await;
            assert_eq!((lines(&rest), rest.next), (vec!["two".to_owned()], Some(7)));
            for (tail, count) in [(0, 0), (1, 1), (3, 3), (4, 4), (5, 4)] {
                assert_eq!(page(&second, &format!("?tail={tail}")).await.lines.len(), count, "{tail}");
            }
            until("a line of the third", async || {
                page(&third, "").await.lines.into_iter().find(|line| line.line == "held")
            })
            .await;
            let held = page(&third, "?tail=1").await;
            assert_eq!((held.running, lines(&held)), (Some(true), vec!["held".to_owned()]));
            let path = format!("/bigdata/api/v1/operations/{third}/logs");
            let request = client.request(reqwest::Method::GET, &path).header(ACCEPT.as_str(), "text/event-stream");
            let mut stream = client.send(request).await.unwrap();
            world.want_nothing(&cluster).await;
            let events = read_until(&mut stream, "hold was cancelled").await;
            assert_eq!((events[0].0, events[0].1.line.as_str()), (9, "hold begins, attempt 1"));
            assert_eq!(world.log(&cluster).await.len() as u64, events.last().unwrap().0);
            for (user, id) in [("bob", third.as_str()), ("ann", "none")] {
                let path = format!("/bigdata/api/v1/operations/{id}/logs");
                let error = world.client_of(user).get::<LogPage>(&path).await.unwrap_err();
                assert!(matches!(&error, ClientError::Problem(problem) if problem.status == 404), "{user}: {error}");
            }
            drop(stream);
            world.end().await;
        }
    });
}

fn not_begun() {
    block_on(async {
        let world = World::new(|_| {}).await;
        // The service looks at a list without the cluster, and nobody hints at it.
        *world.surroundings.outdated.lock().unwrap() = Some((Vec::new(), 0));
        let cluster = world.cluster(1, "#!/bin/sh\necho one");
        let operation = world.request_run(&cluster, "start", true, 60_000);
        let path = format!("/bigdata/api/v1/operations/{operation}/logs");
        let page: LogPage = world.client_of("ann").get(&path).await.unwrap();
        assert_eq!((page.lines.len(), page.running, page.next), (0, Some(false), None));
        let error = world.client_of("bob").get::<LogPage>(&path).await.unwrap_err();
        assert!(matches!(&error, ClientError::Problem(problem) if problem.status == 404), "{error}");
        world.end().await;
    });
}

/// Reads events from a stream until one holds the text; each as (id, line).
async fn read_until(response: &mut reqwest::Response, text: &str) -> Vec<(u64, LogLine)> {
    arrivals_until(response, text).await.into_iter().map(|(id, line, _)| (id, line)).collect()
}

/// As [`read_until`], with the time since 1970 at which each came.
async fn arrivals_until(response: &mut reqwest::Response, text: &str) -> Vec<(u64, LogLine, Duration)> {
    let (mut received, mut events) = (String::new(), Vec::new());
    loop {
        let piece = response.chunk().await.unwrap().expect("the stream goes on");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        received.push_str(std::str::from_utf8(&piece).unwrap());
        let whole = received.rfind("\n\n").map_or(0, |end| end + 2);
        let come: String = received.drain(..whole).collect();
        events.extend(come.split_inclusive("\n\n").filter_map(event).map(|(id, line)| (id, line, now)));
        if events.iter().any(|(_, line, _)| line.line == text) {
            return events;
        }
    }
}

fn event(text: &str) -> Option<(u64, LogLine)> {
    let (id, data) = text.strip_suffix("\n\n")?.strip_prefix("id: ")?.split_once("\ndata: ")?;
    Some((id.parse().unwrap(), serde_json::from_str(data).unwrap()))
}

async fn open(world: &World, cluster: &ClusterId, last_event: Option<u64>) -> reqwest::Response {
    let client = world.client_of("ann");
    let mut request =
        client.request(reqwest::Method::GET, &World::log_path(cluster)).header(ACCEPT.as_str(), "text/event-stream");
    if let Some(id) = last_event {
        request = request.header("last-event-id", id);
    }
    client.send(request).await.unwrap()
}

fn stream() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = "#!/bin/sh\necho first; while ! bigdata role call GET /v1/nodes/mysql0/stats | grep -q 200; do :; done\n\
                      for i in 1 2 3 4 5; do date +%s%N; sleep 0.5; done; echo second; exec sleep 1000";
        let cluster = world.cluster(1, script);
        // Opened before there is anything: the stream waits for the log.
        let mut response = open(&world, &cluster, None).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let operation = world.want(&cluster, "start", true, 60_000).await;
        let events = arrivals_until(&mut response, "second").await;
        let delay = |line: &LogLine, came: Duration| {
            line.line.parse().ok().map(|written| came.saturating_sub(Duration::from_nanos(written)))
        };
        let delays: Vec<Duration> = events.iter().filter_map(|(_, line, came)| delay(line, *came)).collect();
        println!("lines reached their follower after {delays:?}");
        assert_eq!(delays.len(), 5, "{events:?}");
        // A machine that is busy for a moment makes one of them late, not all.
        assert!(delays.iter().any(|it| *it < Duration::from_secs(1)), "{delays:?}");
        let ids: Vec<u64> = events.iter().map(|(id, ..)| *id).collect();
        assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
        assert!(events.iter().all(|(id, line, _)| *id == line.sequence));
        drop(response);

        let mut resumed = open(&world, &cluster, Some(2)).await;
        let events = read_until(&mut resumed, "second").await;
        assert_eq!(events[0].0, 3, "it goes on after the last event");
        world.want_nothing(&cluster).await;
        let events = read_until(&mut resumed, "start was cancelled").await;
        assert!(!events.is_empty());
        world.ended(operation).await;
        // An open stream does not hold up the end of the service.
        let (stalls, begin) = (Stalls::watch(), Instant::now());
        world.end().await;
        stalls.assert_kept(Duration::from_secs(10), begin.elapsed(), "the service ends");
    });
}
