//! Whether requests are taken, and what the platform waits for: `GET /ready`.
//!
//! The status is for whoever hands requests out to several gateways. Only what keeps this one from answering nearly every
//! request makes it 503: its own process, or registries of which none takes requests. The rest is away for every gateway
//! alike (a launch is accepted without Mesos, a cluster is shown without orchestrators), and taking all of them out would
//! make it worse. `waits_for` is for people, and has everything that the services say of themselves.

use crate::state::{Service, State};
use actix_web::HttpResponse;
use bigdata_chassis::http::InternalClient;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest wait for one replica: readiness is asked often and must be told fast.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, PartialEq, Serialize)]
struct Readiness {
    ready: bool,
    services: BTreeMap<&'static str, &'static str>,
    /// With reasons; what a service waits for by `service.what`.
    waits_for: BTreeMap<String, String>,
}

/// What a replica says of itself.
#[derive(Debug, Deserialize)]
struct Told {
    ready: bool,
    waits_for: BTreeMap<String, String>,
}

/// 200 where requests are taken, else 503; the body says in either case what is waited for.
pub(crate) async fn answer(state: &State) -> HttpResponse {
    let services = join_all(state.services().map(|service| async move { (service.name, ask(service).await) })).await;
    let own = state.tasks.readiness();
    let told = Told {
        ready: own.takes_requests(),
        waits_for: own.awaited().into_iter().map(|(what, reason)| (what.to_owned(), reason)).collect(),
    };
    let readiness = summary(told, state.registry.name, services);
    let mut response = if readiness.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !readiness.ready {
        response.insert_header(("retry-after", "1"));
    }
    response.json(readiness)
}

/// What those replicas say that answer. Each is asked: of the frameworks the one that leads knows what it waits for.
async fn ask(service: &Service) -> Vec<Told> {
    join_all(service.client.replicas().map(told)).await.into_iter().flatten().collect()
}

async fn told(replica: InternalClient) -> Option<Told> {
    let call = replica.request(hyper::Method::GET, "/ready").timeout(ANSWER_TIMEOUT);
    replica.exchange(call).await.ok()?.json().await.ok()
}

/// `own` is this process; a service takes requests where one of its replicas does.
fn summary(own: Told, needed: &str, services: Vec<(&'static str, Vec<Told>)>) -> Readiness {
    let Told { mut ready, waits_for } = own;
    let mut readiness = Readiness { ready, services: BTreeMap::new(), waits_for: waits_for.clone() };
    for (name, replicas) in services {
        let takes_requests = replicas.iter().any(|told| told.ready);
        ready &= takes_requests || name != needed;
        let word = match (takes_requests, replicas.is_empty()) {
            (true, _) => "ok",
            (false, false) => "takes no requests",
            (false, true) => "does not answer",
        };
        readiness.services.insert(name, word);
        if replicas.is_empty() {
            readiness.waits_for.insert(name.to_owned(), word.to_owned());
        }
        for (what, reason) in replicas.into_iter().flat_map(|told| told.waits_for) {
            // Services in one process wait for the same as the gateway there.
            if waits_for.get(&what) != Some(&reason) {
                readiness.waits_for.entry(format!("{name}.{what}")).or_insert(reason);
            }
        }
    }
    Readiness { ready, ..readiness }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ready: bool, waits_for: &[(&str, &str)]) -> Told {
        let waits_for = waits_for.iter().map(|(what, reason)| ((*what).to_owned(), (*reason).to_owned())).collect();
        Told { ready, waits_for }
    }

    fn of(own: Told, registry: Vec<Told>, framework: Vec<Told>) -> (bool, Vec<&'static str>, Vec<(String, String)>) {
        let Readiness { ready, services, waits_for } =
            summary(own, "registry", vec![("framework", framework), ("registry", registry)]);
        (ready, services.into_values().collect(), waits_for.into_iter().collect())
    }

    #[test]
    fn a_master_that_is_away_is_told_and_takes_no_gateway_out() {
        let fine = || told(true, &[]);
        let leader = told(true, &[("mesos", "away")]);
        let (ready, services, waits_for) = of(fine(), vec![fine()], vec![fine(), leader]);
        assert!(ready);
        assert_eq!(services, ["ok", "ok"]);
        assert_eq!(waits_for, [("framework.mesos".to_owned(), "away".to_owned())]);
    }

    #[test]
    fn one_registry_that_takes_requests_is_enough_and_none_is_not() {
        let (fine, lost) = (|| told(true, &[]), || told(false, &[("database", "refused")]));
        assert!(of(fine(), vec![lost(), fine()], vec![]).0);
        let (ready, services, waits_for) = of(fine(), vec![lost(), lost()], vec![lost()]);
        assert!(!ready);
        assert_eq!(services, ["takes no requests", "takes no requests"]);
        let names: Vec<_> = waits_for.into_iter().map(|(what, _)| what).collect();
        assert_eq!(names, ["framework.database", "registry.database"]);
        let (ready, services, waits_for) = of(fine(), vec![], vec![fine()]);
        assert_eq!((ready, services), (false, vec!["ok", "does not answer"]));
        assert_eq!(waits_for, [("registry".to_owned(), "does not answer".to_owned())]);
    }

    #[test]
    fn what_this_process_waits_for_is_told_once() {
        let own = || told(false, &[("catalog", "it comes")]);
        let (ready, _, waits_for) = of(own(), vec![own()], vec![own(), told(true, &[("catalog", "another")])]);
        assert!(!ready);
        let names: Vec<_> = waits_for.into_iter().map(|(what, _)| what).collect();
        assert_eq!(names, ["catalog", "framework.catalog"]);
    }
}
