//! The server's answers to what no handler answers, and who may call.

use actix_web::web;
use bigdata_chassis::http::{Caller, ClientError, InternalClient, server};
use bigdata_chassis::secret::Token;
use bigdata_chassis::tasks::END_LIMIT;
use bigdata_chassis::{Service, Tasks};
use bigdata_common::Principal;
use bigdata_common::api::problem::ProblemCode;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::Notify;

async fn whoami(caller: Caller) -> String {
    format!("\"{}\"", caller.0.user)
}

async fn length(body: web::Bytes) -> String {
    body.len().to_string()
}

fn start(tasks: &Tasks, token: &Token) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server::serve(listener, 1, token, tasks, |routes| {
        routes.route("/whoami", web::get().to(whoami)).route("/length", web::post().to(length));
    });
    Service { address: address.unwrap() }
}

fn code(result: Result<impl std::fmt::Debug, ClientError>) -> ProblemCode {
    match result {
        Err(ClientError::Problem(problem)) => problem.code,
        other => panic!("no problem but {other:?}"),
    }
}

#[tokio::test]
async fn only_a_service_of_ours_may_call_and_only_for_somebody() {
    let tasks = Tasks::new();
    let token = Token::random();
    let service = start(&tasks, &token);
    let client = InternalClient::new(service.url(), token).unwrap();
    assert_eq!(code(client.get::<String>("/whoami").await), ProblemCode::Unauthenticated);
    let client = client.on_behalf_of(&Principal::local());
    assert_eq!(client.get::<String>("/whoami").await.unwrap(), "local");
    let stranger = InternalClient::new(service.url(), Token::random()).unwrap().on_behalf_of(&Principal::local());
    assert_eq!(code(stranger.get::<String>("/whoami").await), ProblemCode::Unauthenticated);
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn a_request_that_is_under_way_is_answered_before_the_end() {
    let (tasks, token) = (Tasks::new(), Token::random());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, awaited) = (Arc::clone(&begun), Arc::clone(&go_on));
    let address = server::serve(listener, 1, &token, &tasks, move |routes| {
        let (told, awaited) = (Arc::clone(&told), Arc::clone(&awaited));
        let slow = move || {
            let (told, awaited) = (Arc::clone(&told), Arc::clone(&awaited));
            async move {
                told.notify_one();
                awaited.notified().await;
                "\"done\""
            }
        };
        routes.route("/slow", web::get().to(slow));
    });
    let address = address.unwrap();
    let service = Service { address };
    let client = InternalClient::new(service.url(), token.clone()).unwrap();
    // Its connection stays open, and nobody waits for it.
    let idle = InternalClient::new(service.url(), token).unwrap();
    assert_eq!(code(idle.get::<String>("/nowhere").await), ProblemCode::UnknownRoute);
    let answer = tokio::spawn(async move { client.get::<String>("/slow").await });
    begun.notified().await;
    let ending = tokio::spawn(async move { tasks.shut_down(END_LIMIT).await });
    // Nobody is let in any more, and the request is not broken off.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let asked = std::time::Instant::now();
    go_on.notify_one();
    assert_eq!(answer.await.unwrap().unwrap(), "done");
    assert!(ending.await.unwrap());
    assert!(asked.elapsed() < END_LIMIT / 2, "a connection that is kept for later is not waited for");
}

#[tokio::test]
async fn what_no_handler_answers_is_a_problem_too() {
    let tasks = Tasks::new();
    let token = Token::random();
    let service = start(&tasks, &token);
    let client = InternalClient::new(service.url(), token).unwrap();
    assert_eq!(code(client.get::<String>("/nowhere").await), ProblemCode::UnknownRoute);
    let oversized = client.request(reqwest::Method::POST, "/length").body(vec![0; server::BODY_MAX + 1]);
    assert_eq!(code(client.send(oversized).await), ProblemCode::BodyTooLarge);
    let wrong_method = client.request(reqwest::Method::DELETE, "/whoami");
    let answered = code(client.send(wrong_method).await);
    assert!([ProblemCode::MethodNotAllowed, ProblemCode::UnknownRoute].contains(&answered), "{answered:?}");
    assert!(tasks.shut_down(crate::PATIENCE).await);
}
