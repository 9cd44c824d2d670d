//! Several replicas behind one client: who is asked, and what is never sent twice.

use actix_web::web;
use bigdata_chassis::http::{ApiError, ClientError, InternalClient, Upstreams, server};
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Service, Tasks};
use bigdata_common::api::problem::ProblemCode;
use reqwest::Method;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A replica that counts what reaches it.
struct Replica {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Replica {
    /// Answers its name as JSON to everything; or, where it does not lead, that it does not.
    fn start(name: &'static str, leads: bool, tasks: &Tasks, token: &Token) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let answer = move || {
            let counter = Arc::clone(&counter);
            async move {
                counter.fetch_add(1, Ordering::SeqCst);
                if leads {
                    Ok(web::Json(name))
                } else {
                    Err(ApiError::new(ProblemCode::NotLeader, "the other one leads"))
                }
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let routes = move |config: &mut web::ServiceConfig| {
            config.route("/name", web::to(answer.clone()));
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
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await;
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn dead() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    // Held for as long as the tests run: nobody else is given the port.
    std::mem::forget(socket);
    address
}

fn client(members: &[SocketAddr], token: &Token) -> InternalClient {
    let upstreams = Upstreams::of(members.iter().map(|address| format!("http://{address}"))).unwrap();
    InternalClient::new(upstreams, token.clone()).unwrap()
}

/// What the next request comes to. A replica that failed is left alone for a second at first, and for longer each time: on a
/// machine that stands still for as long it is asked once more, up to four times.
async fn next<T>(mut request: impl AsyncFnMut() -> Result<T, ClientError>) -> T {
    let mut answer = request().await;
    for _ in 0..4 {
        if answer.is_err() {
            answer = request().await;
        }
    }
    answer.unwrap()
}

#[tokio::test]
async fn a_dead_replica_and_one_that_follows_are_passed_over_and_the_leader_is_remembered() {
    let (tasks, token) = (Tasks::new(), Token::random());
    let follower = Replica::start("follower", false, &tasks, &token);
    let leader = Replica::start("leader", true, &tasks, &token);
    let client = client(&[dead(), follower.address, leader.address], &token);
    for _ in 0..5 {
        assert_eq!(client.post::<String>("/name", &serde_json::json!({"a": 1})).await.unwrap(), "leader");
    }
    assert_eq!((follower.asked(), leader.asked()), (1, 5));
    assert_eq!(client.base(), Service { address: leader.address }.url());
    // Its copies know it, too.
    let copy = client.on_behalf_of(&bigdata_common::Principal::local());
    assert_eq!(copy.get::<String>("/name").await.unwrap(), "leader");
    assert_eq!(follower.asked(), 1);
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn where_none_leads_the_caller_learns_that_after_one_round() {
    let (tasks, token) = (Tasks::new(), Token::random());
    let followers = [0; 2].map(|_| Replica::start("follower", false, &tasks, &token));
    let client = client(&[followers[0].address, followers[1].address], &token);
    match client.get::<String>("/name").await {
        Err(ClientError::Problem(problem)) => assert_eq!(problem.code, ProblemCode::NotLeader),
        other => panic!("no problem but {other:?}"),
    }
    assert_eq!(followers.each_ref().map(Replica::asked), [1, 1]);
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn what_may_have_been_processed_is_sent_again_only_where_it_changes_nothing() {
    let (tasks, token) = (Tasks::new(), Token::random());
    let breaking = Replica::breaking().await;
    let whole = Replica::start("whole", true, &tasks, &token);
    let client = client(&[breaking.address, whole.address], &token);
    assert!(matches!(client.post::<String>("/name", &1).await, Err(ClientError::Unreachable { .. })));
    assert_eq!((breaking.asked(), whole.asked()), (1, 0));
    assert_eq!(client.get::<String>("/name").await.unwrap(), "whole");
    assert_eq!((breaking.asked(), whole.asked()), (2, 1));
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn a_body_that_is_a_stream_is_sent_once_and_the_next_request_goes_elsewhere() {
    let (tasks, token) = (Tasks::new(), Token::random());
    let whole = Replica::start("whole", true, &tasks, &token);
    let client = client(&[dead(), whole.address], &token);
    let streamed = || {
        let stream = futures_util::stream::iter([Ok::<_, std::io::Error>("x")]);
        client.request(Method::POST, "/name").body(reqwest::Body::wrap_stream(stream))
    };
    assert!(client.exchange(streamed()).await.is_err());
    assert_eq!(next(async || client.exchange(streamed()).await).await.json::<String>().await.unwrap(), "whole");
    assert_eq!(whole.asked(), 1);
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn a_silent_replica_takes_no_more_than_the_requests_own_time() {
    let token = Token::random();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(&[silent.local_addr().unwrap(), dead()], &token);
    let started = std::time::Instant::now();
    let call = client.request(Method::GET, "/name").timeout(Duration::from_millis(200));
    assert!(client.exchange(call).await.is_err());
    // The client's own limit is longer.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn after_a_silent_replica_another_one_is_asked() {
    let (tasks, token) = (Tasks::new(), Token::random());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let whole = Replica::start("whole", true, &tasks, &token);
    let client = client(&[silent.local_addr().unwrap(), whole.address], &token);
    let call = client.request(Method::POST, "/name").timeout(Duration::from_millis(200));
    assert!(client.exchange(call).await.is_err(), "it may have been processed");
    assert_eq!(next(async || client.post::<String>("/name", &1).await).await, "whole");
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[test]
fn a_setting_that_names_no_service_is_refused() {
    let refused = InternalClient::new("localhost:5001", Token::random()).unwrap_err();
    assert!(refused.to_string().contains("localhost:5001"), "{refused}");
}
