//! What the pages read, with the caller's principal.

use crate::state::{Service, State};
use bigdata_chassis::http::ClientError;
use bigdata_common::Principal;
use bigdata_common::api::PREFIX;
use bigdata_common::api::cluster::{ClusterEntry, ClusterList, EventList, EventView};
use bigdata_common::api::problem::{Problem, ProblemCode};
use bigdata_common::status::ClusterStatus;
use serde::de::DeserializeOwned;

/// Clusters asked for at once.
const PAGE: usize = 200;
/// Pages of clusters that a page of ours goes through at most.
const PAGES_MAX: usize = 5;
/// The last events that are shown.
const EVENTS_SHOWN: usize = 200;
/// Pages of events that are gone through at most to find the last ones.
const EVENT_PAGES_MAX: usize = 20;

/// Reads one answer of the public API; `path` begins after its prefix.
pub(crate) async fn get<T: DeserializeOwned>(
    service: &Service,
    principal: &Principal,
    path: &str,
) -> Result<T, Problem> {
    service.client.on_behalf_of(principal).get(&format!("{PREFIX}{path}")).await.map_err(|error| match error {
        ClientError::Problem(problem) => *problem,
        unreachable => {
            tracing::debug!(error = &unreachable as &dyn std::error::Error, "a page lacks a part");
            Problem::new(
                ProblemCode::ServiceUnavailable,
                format!("the {} does not answer now; this page asks again by itself", service.name),
            )
        }
    })
}

/// Which clusters a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shown {
    /// Those that are not destroyed.
    Alive,
    /// History too.
    All,
}

impl Shown {
    /// The part of a query that asks the registry for these.
    fn query(self) -> String {
        match self {
            Self::All => String::new(),
            Self::Alive => {
                let alive = ClusterStatus::ALL.iter().filter(|status| **status != ClusterStatus::Destroyed);
                format!("&status={}", alive.map(|status| status.as_str()).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// The caller's clusters; true where there are more than a page can show.
pub(crate) async fn clusters(
    state: &State,
    principal: &Principal,
    shown: Shown,
) -> Result<(Vec<ClusterEntry>, bool), Problem> {
    let mut clusters = Vec::new();
    let first = format!("?limit={PAGE}{}", shown.query());
    let mut query = first.clone();
    for _ in 0..PAGES_MAX {
        let page: ClusterList = get(&state.registry, principal, &format!("/clusters{query}")).await?;
        clusters.extend(page.clusters);
        match page.next {
            Some(next) => query = format!("{first}&after={}", in_query(&next)),
            None => return Ok((clusters, false)),
        }
    }
    Ok((clusters, true))
}

/// A cluster's last events, in order.
pub(crate) async fn last_events(state: &State, principal: &Principal, path: &str) -> Result<Vec<EventView>, Problem> {
    let mut events: Vec<EventView> = Vec::new();
    let mut after = 0;
    for _ in 0..EVENT_PAGES_MAX {
        let page: EventList =
            get(&state.registry, principal, &format!("{path}/events?limit={EVENTS_SHOWN}&after={after}")).await?;
        let is_last = page.events.len() < EVENTS_SHOWN;
        events.extend(page.events);
        let surplus = events.len().saturating_sub(EVENTS_SHOWN);
        events.drain(..surplus);
        match page.next {
            Some(next) if next > after && !is_last => after = next,
            _ => break,
        }
    }
    Ok(events)
}

/// Text for a query's value: everything but letters, digits, `-`, `.` and `_` as `%XX`.
fn in_query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_a_query() {
        assert_eq!(in_query("clusters/a-b/1&x=é"), "clusters%2Fa-b%2F1%26x%3D%C3%A9");
    }
}
