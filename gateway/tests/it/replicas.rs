//! Several replicas of a service behind one gateway: who is asked, and what is never sent twice.

use crate::platform::{LIMIT, Platform, SOON, nowhere};
use crate::sample::CLUSTER;
use actix_web::web;
use bigdata_chassis::Tasks;
use bigdata_chassis::http::{ApiError, Internal, Upstreams, server};
use bigdata_chassis::testing::Stalls;
use bigdata_common::api::problem::ProblemCode;
use reqwest::{Method, Response};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const API: &str = "/bigdata/api/v1";

/// A replica that counts what reaches it.
#[derive(Clone)]
struct Replica {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Replica {
    /// Says to everything that another one leads.
    fn following(tasks: &Tasks, token: &bigdata_chassis::secret::Token) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let routes = move |config: &mut web::ServiceConfig| {
            let counter = Arc::clone(&counter);
            let answer = move |_: Internal| {
                counter.fetch_add(1, Ordering::SeqCst);
                async { Err::<String, _>(ApiError::new(ProblemCode::NotLeader, "the other one leads")) }
            };
            config.route("/bigdata/{rest:.*}", web::to(answer.clone())).route("/internal/{rest:.*}", web::to(answer));
        };
        let address = server::serve(listener, 1, token, tasks, routes).unwrap();
        Self { address, asked }
    }

    /// Takes every request and breaks off in the middle of its answer.
    async fn breaking() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{\"half").await;
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn of(members: &[SocketAddr]) -> Upstreams {
    Upstreams::of(members.iter().map(|address| format!("http://{address}"))).unwrap()
}

async fn code(answer: Response) -> String {
    answer.json::<Value>().await.unwrap()["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_dead_replica_and_one_that_follows_are_passed_over_and_the_leader_is_remembered() {
    let (tasks, token) = (Tasks::new(), bigdata_chassis::secret::Token::random());
    let follower = Replica::following(&tasks, &token);
    let dead: SocketAddr = nowhere().authorities()[0].as_str().parse().unwrap();
    let platform = Platform::start_as(token, |settings, upstream| {
        let all = of(&[dead, follower.address, upstream]);
        settings.registry = all.clone();
        settings.framework = all;
    })
    .await;
    // A body goes to each replica anew, also one that came in pieces.
    for _ in 0..4 {
        let pieces = futures_util::stream::iter(["{", "}"].map(Ok::<_, std::io::Error>));
        let post = platform.request(Method::POST, &format!("{API}/products")).body(reqwest::Body::wrap_stream(pieces));
        let told: Value = post.send().await.unwrap().json().await.unwrap();
        assert_eq!((&told["body"], &told["headers"]["content-length"]), (&"{}".into(), &"2".into()));
    }
    // Each worker has connections of its own, and all of them know together who leads.
    assert_eq!(follower.asked(), 1);
    // What the gateway reads itself goes the same way.
    assert_eq!(platform.get("/").send().await.unwrap().status(), 200);
    let page = platform.get(&format!("/ui/{CLUSTER}")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(follower.asked() <= 3, "the framework's leader is found once per thread at most: {}", follower.asked());
    platform.stop().await;
    assert!(tasks.shut_down(LIMIT).await);
}

#[tokio::test]
async fn where_none_leads_or_none_answers_the_client_learns_that_soon() {
    let (tasks, token) = (Tasks::new(), bigdata_chassis::secret::Token::random());
    let followers = [Replica::following(&tasks, &token), Replica::following(&tasks, &token)];
    let platform = Platform::start_as(token, |settings, _| {
        settings.framework = of(&followers.each_ref().map(|replica| replica.address));
        settings.registry = of(&[nowhere(), nowhere()].map(|it| it.authorities()[0].as_str().parse().unwrap()));
    })
    .await;
    let (stalls, started) = (Stalls::watch(), Instant::now());
    let answer = platform.get(&format!("{API}/agents")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert_eq!(code(answer).await, "BD0029");
    assert_eq!(followers.each_ref().map(Replica::asked), [1, 1]);
    let away = platform.get(&format!("{API}/products")).send().await.unwrap();
    assert_eq!(code(away).await, "BD0025");
    stalls.assert_kept(SOON, started.elapsed(), "the client learns of both");
    platform.stop().await;
    assert!(tasks.shut_down(LIMIT).await);
}

#[tokio::test]
async fn what_may_have_been_processed_is_sent_again_only_where_it_changes_nothing() {
    let breaking = Replica::breaking().await;
    let platform = Platform::start_as(bigdata_chassis::secret::Token::random(), |settings, upstream| {
        settings.registry = of(&[breaking.address, upstream]);
    })
    .await;
    let post = platform.request(Method::POST, &format!("{API}/products")).body("{}").send().await.unwrap();
    assert_eq!(code(post).await, "BD0025");
    assert_eq!(breaking.asked(), 1);
    let read = platform.get(&format!("{API}/products")).send().await.unwrap();
    assert_eq!(read.status(), 200);
    assert_eq!(breaking.asked(), 2);
    // The one that answered is asked from now on.
    let post = platform.request(Method::POST, &format!("{API}/products")).body("{}").send().await.unwrap();
    assert_eq!(post.status(), 201);
    assert_eq!(breaking.asked(), 2);
    platform.stop().await;
}
