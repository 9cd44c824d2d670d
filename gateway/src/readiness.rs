//! Whether the whole platform answers: `GET /ready`.

use crate::state::{Service, State};
use actix_web::HttpResponse;
use futures_util::future::join_all;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest wait for one service: readiness is asked often and must be told fast.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    services: BTreeMap<&'static str, &'static str>,
}

/// 200 where every service answers its `/health`, else 503; the body says which ones do.
pub(crate) async fn answer(state: &State) -> HttpResponse {
    let answers = join_all(state.services().map(|service| async move { (service.name, answers(service).await) })).await;
    let ready = answers.iter().all(|(_, answers)| *answers);
    let word = |answers| if answers { "ok" } else { "does not answer" };
    let services = answers.into_iter().map(|(name, answers)| (name, word(answers))).collect();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !ready {
        response.insert_header(("retry-after", "1"));
    }
    response.json(Readiness { ready, services })
}

async fn answers(service: &Service) -> bool {
    let call = service.client.request(hyper::Method::GET, "/health").timeout(ANSWER_TIMEOUT);
    service.client.send(call).await.is_ok()
}
