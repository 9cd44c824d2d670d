//! What an administrator asks of the whole platform: whether what must always hold does, what lies with Mesos and belongs to
//! no cluster, and which messages were parked.

use crate::control::told_by;
use crate::state::{Service, State};
use actix_web::HttpResponse;
use bigdata_chassis::http::{ApiError, ClientError};
use bigdata_common::api::orphan::OrphanList;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::invariants::{Checked, Invariants, Violation};
use bigdata_common::{Principal, Role};
use futures_util::future::join_all;
use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// Reply of `GET /admin/invariants`.
#[derive(Debug, Serialize)]
struct Report {
    /// Every service has answered, and nothing is violated.
    ok: bool,
    services: BTreeMap<&'static str, Checks>,
    violations: Vec<Found>,
}

/// What one service has looked at.
#[derive(Debug, Default, Serialize)]
struct Checks {
    answered: bool,
    /// Why it has not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Empty: it checks nothing.
    checked: Vec<Checked>,
}

#[derive(Debug, Serialize)]
struct Found {
    service: &'static str,
    #[serde(flatten)]
    violation: Violation,
}

/// Reply of `GET /admin/parked`.
#[derive(Debug, Serialize)]
struct ParkedReport {
    services: BTreeMap<&'static str, Parked>,
}

/// The parked messages of one service, in its own words.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Parked {
    Messages(Value),
    None { parked: [Value; 0] },
    Away { reason: String },
}

/// Asks every service for its invariants; 200 whatever they say.
///
/// # Errors
/// 403 without the role of an administrator.
pub(crate) async fn invariants(state: &State, principal: &Principal) -> Result<HttpResponse, ApiError> {
    let answers = ask_all::<Invariants>(state, principal, "/internal/v1/invariants").await?;
    Ok(HttpResponse::Ok().json(report(answers)))
}

fn report(answers: impl IntoIterator<Item = (&'static str, Result<Option<Invariants>, String>)>) -> Report {
    let mut report = Report { ok: true, services: BTreeMap::new(), violations: Vec::new() };
    for (service, answer) in answers {
        let checks = match answer {
            Ok(found) => {
                let Invariants { checked, violations } = found.unwrap_or_default();
                report.violations.extend(violations.into_iter().map(|violation| Found { service, violation }));
                Checks { answered: true, reason: None, checked }
            }
            Err(reason) => {
                report.ok = false;
                Checks { reason: Some(reason), ..Checks::default() }
            }
        };
        report.services.insert(service, checks);
    }
    report.ok &= report.violations.is_empty();
    report
}

/// Asks the framework for what lies with Mesos and belongs to no cluster.
///
/// # Errors
/// 403 without the role of an administrator; 503 where the framework does not answer.
pub(crate) async fn orphans(state: &State, principal: &Principal) -> Result<HttpResponse, ApiError> {
    check_admin(principal)?;
    let found: Result<OrphanList, ClientError> = ask(state, &state.framework, principal, "/internal/v1/orphans").await;
    Ok(HttpResponse::Ok().json(found.map_err(|error| told_by("framework", error))?))
}

/// Asks every service for the messages that it could not handle; 200 whatever they say.
///
/// # Errors
/// 403 without the role of an administrator.
pub(crate) async fn parked(state: &State, principal: &Principal) -> Result<HttpResponse, ApiError> {
    let answers = ask_all::<Value>(state, principal, "/internal/v1/parked").await?;
    let services = answers.into_iter().map(|(service, answer)| {
        let parked = match answer {
            Ok(Some(messages)) => Parked::Messages(messages),
            Ok(None) => Parked::None { parked: [] },
            Err(reason) => Parked::Away { reason },
        };
        (service, parked)
    });
    Ok(HttpResponse::Ok().json(ParkedReport { services: services.collect() }))
}

fn check_admin(principal: &Principal) -> Result<(), ApiError> {
    if principal.has(Role::Admin) {
        return Ok(());
    }
    let detail = format!("this needs the role of an administrator, which {} lacks", principal.user);
    Err(ApiError::new(ProblemCode::Forbidden, detail))
}

/// Every service's answer; None of one that has no such address, a reason of one that does not answer.
async fn ask_all<T: DeserializeOwned>(
    state: &State,
    principal: &Principal,
    path: &str,
) -> Result<Vec<(&'static str, Result<Option<T>, String>)>, ApiError> {
    check_admin(principal)?;
    let asked = state.services().map(|service| async move {
        let answer = match ask(state, service, principal, path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(in_words(&error)),
        };
        (service.name, answer)
    });
    Ok(join_all(asked).await)
}

async fn ask<T: DeserializeOwned>(
    state: &State,
    service: &Service,
    principal: &Principal,
    path: &str,
) -> Result<T, ClientError> {
    let client = service.client.on_behalf_of(principal);
    // It may have to look at everything that it knows.
    let answer = client.send(client.request(Method::GET, path).timeout(state.answer_timeout)).await?;
    answer
        .json()
        .await
        .map_err(|error| ClientError::Unreachable { url: client.base().to_owned(), source: error.into() })
}

/// An error with its causes.
fn in_words(error: &ClientError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(broken: &[&str]) -> Result<Option<Invariants>, String> {
        let mut found = Invariants::default();
        found.add("every cluster has an owner", 2, broken.iter().map(|id| ((*id).to_owned(), "none".to_owned())));
        Ok(Some(found))
    }

    #[test]
    fn all_is_well_only_where_everybody_says_so() {
        assert!(report([("registry", checked(&[])), ("orchestrator", Ok(None))]).ok);
        assert!(!report([("registry", checked(&[])), ("framework", Err("away".to_owned()))]).ok);
        let told = report([("registry", checked(&["c1"])), ("orchestrator", Ok(None))]);
        let name = "every cluster has an owner";
        let expected = json!({
            "ok": false,
            "services": {
                "registry": {"answered": true, "checked": [{"name": name, "subjects": 2}]},
                "orchestrator": {"answered": true, "checked": []},
            },
            "violations": [{"service": "registry", "invariant": name, "subject": "c1", "detail": "none"}],
        });
        assert_eq!(serde_json::to_value(told).unwrap(), expected);
    }
}
