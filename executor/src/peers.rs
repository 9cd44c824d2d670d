//! The addresses of a cluster's nodes as they are now: nodes come, move and go while others run.

use crate::launch::frameworks;
use crate::token::ControlKey;
use bigdata_common::internal::Peers;
use bigdata_common::{AttemptId, Name};
use indexmap::IndexMap;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// What was learnt so long ago at most is not asked for again.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// How long one framework may take: a start does not wait for long, since the last addresses may well hold.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// For how long a token is made, in milliseconds: clocks may differ.
const TOKEN_MS: i64 = 120_000;
/// Who asks, in the token.
const CALLER: &str = "executor";

/// Addresses by node.
pub type Addresses = IndexMap<Name, String>;

/// The addresses that are known, and where newer ones are asked for.
pub struct Known {
    addresses: RefCell<Rc<Addresses>>,
    asked_at: Cell<Option<Instant>>,
    source: Option<Source>,
}

/// Where addresses come from.
pub struct Source {
    /// Base URLs of the framework's replicas, separated by commas.
    pub frameworks: String,
    /// The attempt that asks.
    pub attempt: AttemptId,
    /// What proves it.
    pub key: ControlKey,
}

impl Known {
    /// The addresses of an enrolment: `fresh` where that was just now.
    pub fn new(addresses: Addresses, source: Option<Source>, fresh: bool) -> Self {
        let asked_at = Cell::new(fresh.then(Instant::now));
        Self { addresses: RefCell::new(Rc::new(addresses)), asked_at, source }
    }

    /// The addresses that are known now.
    pub fn now(&self) -> Rc<Addresses> {
        Rc::clone(&self.addresses.borrow())
    }

    /// Asks for the addresses. Those that are known stay where nobody answers.
    pub async fn refresh(&self) {
        let Some(source) = &self.source else { return };
        if self.asked_at.get().is_some_and(|at| at.elapsed() < FRESH_FOR) {
            return;
        }
        match source.ask().await {
            Ok(addresses) => {
                self.asked_at.set(Some(Instant::now()));
                self.addresses.replace(Rc::new(addresses));
            }
            Err(reason) => tracing::warn!(reason, "the workload starts with the addresses that were known last"),
        }
    }
}

impl Source {
    async fn ask(&self) -> Result<Addresses, String> {
        let failed = |error: reqwest::Error| crate::chain(&error.without_url());
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build().map_err(failed)?;
        let caller = CALLER.parse().map_err(|_| "no name of a caller".to_owned())?;
        let token = self.key.mint(self.attempt, crate::now().plus_millis(TOKEN_MS), &caller);
        let mut reason = "no framework is known".to_owned();
        for framework in frameworks(&self.frameworks) {
            let address = format!("{framework}/internal/v1/nodes/peers");
            let answered = client.get(address).bearer_auth(&token).send().await;
            match answered.and_then(reqwest::Response::error_for_status) {
                Ok(response) => match response.bytes().await {
                    Ok(text) => match serde_json::from_slice::<Peers>(&text) {
                        Ok(Peers { peers }) => return Ok(peers),
                        Err(error) => reason = error.to_string(),
                    },
                    Err(error) => reason = failed(error),
                },
                Err(error) => reason = failed(error),
            }
        }
        Err(reason)
    }
}
