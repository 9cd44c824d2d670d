//! `GET /ui/stream`: keeps the table of clusters fresh. One poll a second for all watchers of one principal, none
//! while nobody watches; a watcher is sent the rows that differ from what it was sent before.

use super::index::{self, Row};
use super::source::{self, Shown};
use crate::state::State;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use bigdata_chassis::http::caller::roles_header;
use bigdata_common::Principal;
use bytes::Bytes;
use serde::Serialize;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// The pause between two polls.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// The longest silence: a comment keeps the connection known to be alive.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// What was last seen: None before the first poll, then the rows or what is wrong.
type Listing = Option<Arc<Result<Vec<Row>, String>>>;

/// The polls under way, by principal and by what they list.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<HashMap<String, watch::Sender<Listing>>>);

impl Watchers {
    /// Begins to watch; the first watcher of a principal starts its poll.
    fn watch(state: &web::Data<State>, principal: &Principal, shown: Shown) -> watch::Receiver<Listing> {
        let key = format!("{}:{}:{shown:?}", principal.user, roles_header(principal));
        let mut polls = state.watchers.lock();
        if let Some(poll) = polls.get(&key) {
            return poll.subscribe();
        }
        let (sender, receiver) = watch::channel(None);
        polls.insert(key.clone(), sender.clone());
        let (state_of_poll, principal) = (state.clone(), principal.clone());
        state
            .tasks
            .spawn("poll of the clusters", async move { poll(&state_of_poll, &principal, shown, &key, &sender).await });
        receiver
    }

    /// Ends the poll if nobody watches; under the same lock as [`Self::watch`], so that no watcher is left without one.
    fn ended(&self, key: &str) -> bool {
        let mut polls = self.lock();
        let is_over = polls.get(key).is_none_or(|poll| poll.receiver_count() == 0);
        if is_over {
            polls.remove(key);
        }
        is_over
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, watch::Sender<Listing>>> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

async fn poll(state: &State, principal: &Principal, shown: Shown, key: &str, sender: &watch::Sender<Listing>) {
    while !state.watchers.ended(key) {
        let listing = match source::clusters(state, principal, shown).await {
            Ok((clusters, _)) => Ok(index::rows(clusters)),
            Err(problem) => Err(problem.detail),
        };
        sender.send_if_modified(|last| {
            let is_new = last.as_deref() != Some(&listing);
            if is_new {
                *last = Some(Arc::new(listing));
            }
            is_new
        });
        tokio::select! {
            () = tokio::time::sleep(POLL_EVERY) => {}
            () = state.tasks.cancelled() => break,
        }
    }
}

/// The event stream of one watcher.
pub(crate) fn answer(state: &web::Data<State>, principal: &Principal, shown: Shown) -> HttpResponse {
    let watcher =
        Watcher { listings: Watchers::watch(state, principal, shown), state: state.clone(), sent: HashMap::new() };
    let stream = futures_util::stream::unfold(watcher, |mut watcher| async move {
        let text = watcher.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), watcher))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(Box::pin(stream))
}

struct Watcher {
    listings: watch::Receiver<Listing>,
    state: web::Data<State>,
    sent: HashMap<String, Row>,
}

/// The data of a `rows` event.
#[derive(Debug, Serialize)]
struct Changes {
    /// Rows that are new or differ.
    rows: Vec<Fragment>,
    /// Every distinguished name in the order of the table: what is not among them is gone.
    order: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Fragment {
    dn: String,
    /// The table row, escaped where it holds what others wrote.
    html: String,
}

impl Watcher {
    /// The next piece of the stream; None once the gateway ends.
    async fn next(&mut self) -> Option<String> {
        let state = self.state.clone();
        tokio::select! {
            changed = self.listings.changed() => changed.ok()?,
            () = tokio::time::sleep(SILENCE_MAX) => return Some(": still here\n\n".to_owned()),
            () = state.tasks.cancelled() => return None,
        }
        let listing = self.listings.borrow_and_update().clone()?;
        match listing.as_ref() {
            Ok(rows) => Some(event("rows", &self.changes(rows))),
            Err(detail) => Some(event("trouble", &detail)),
        }
    }

    fn changes(&mut self, rows: &[Row]) -> Changes {
        let now = self.state.clock.now();
        let changed = rows.iter().filter(|row| self.sent.get(&row.dn) != Some(*row)).filter_map(|row| {
            let html = self.state.pages.render("row.html", &row.clone().at(now));
            let html = html.inspect_err(|error| tracing::error!(%error, "a row could not be rendered")).ok()?;
            Some(Fragment { dn: row.dn.clone(), html })
        });
        let changes = Changes { rows: changed.collect(), order: rows.iter().map(|row| row.dn.clone()).collect() };
        self.sent = rows.iter().map(|row| (row.dn.clone(), row.clone())).collect();
        changes
    }
}

fn event(name: &str, data: &impl Serialize) -> String {
    // JSON holds no line break, so that one data line carries it.
    format!("event: {name}\ndata: {}\n\n", serde_json::to_string(data).unwrap_or_default())
}
