//! Keeps the subscription: connect, read, and begin again.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::calls::{Shared, reason_of};
use super::master::Masters;
use super::{Event, Session, Settings};
use crate::client::{Backoff, chain};
use crate::event::SchedulerEvent;
use crate::recordio::Decoder;
use crate::v1::scheduler;
use crate::{MAX_MESSAGE_BYTES, STREAM_ID, call};

/// Until a master says how often it sends heartbeats, Mesos's default is expected.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);

/// Why a subscription ended.
enum End {
    /// Trouble; try again.
    Lost(String),
    /// The master sent an error, or nobody listens to the events any more.
    Over,
}

/// Heartbeats may be late; two in a row may not be missing.
fn silence_limit(heartbeat: Duration) -> Duration {
    heartbeat.mul_f64(2.5)
}

pub(super) struct Driver {
    settings: Settings,
    masters: Masters,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
    backoff: Backoff,
}

impl Driver {
    pub(super) fn new(settings: Settings, masters: Masters, shared: Arc<Shared>, events: mpsc::Sender<Event>) -> Self {
        let backoff = Backoff::new(settings.backoff_initial, settings.backoff_limit);
        Driver { settings, masters, shared, events, backoff }
    }

    pub(super) async fn run(mut self) {
        let events = self.events.clone();
        loop {
            let end = tokio::select! {
                end = self.subscription() => end,
                () = events.closed() => End::Over,
            };
            self.shared.set_session(None);
            let End::Lost(reason) = end else { return };
            tracing::debug!(reason, "no subscription");
            if self.tell(Event::Disconnected { reason }).await.is_err() {
                return;
            }
            let delay = self.backoff.delay();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = events.closed() => return,
            }
        }
    }

    async fn tell(&self, event: Event) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::Over)
    }

    /// One subscription from its beginning to its end.
    async fn subscription(&mut self) -> End {
        let connected = match self.connect().await {
            Ok(response) => self.read(response).await,
            Err(reason) => Err(End::Lost(reason)),
        };
        match connected {
            Ok(()) => End::Lost("the master closed the stream".to_owned()),
            Err(end) => end,
        }
    }

    /// Finds the leader and opens the stream.
    async fn connect(&mut self) -> Result<Response, String> {
        loop {
            let url = self.masters.locate().await?;
            let info = self.settings.framework_info.clone();
            let subscribe = call::scheduler::subscribe(info, self.settings.suppressed_roles.clone());
            let sending = self.shared.post(url.clone(), &subscribe).send();
            let response = match timeout(self.settings.call_timeout, sending).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(self.useless(&format!("{url}: {}", chain(&error)))),
                Err(_) => return Err(self.useless(&format!("{url} does not answer"))),
            };
            if response.status() == StatusCode::TEMPORARY_REDIRECT {
                let location = response.headers().get("Location");
                let location = location.and_then(|value| value.to_str().ok()).unwrap_or("");
                if self.masters.redirect(&url, location) {
                    continue;
                }
                return Err(self.useless(&format!("{url} sends on to '{location}'")));
            }
            if response.status() == StatusCode::OK {
                self.masters.succeeded();
                return Ok(response);
            }
            let status = response.status();
            let reason = timeout(self.settings.call_timeout, reason_of(response)).await;
            let reason = reason.unwrap_or_default();
            return Err(self.useless(&format!("{url} refuses with {status}: {reason}")));
        }
    }

    fn useless(&mut self, reason: &str) -> String {
        self.masters.failed();
        reason.to_owned()
    }

    /// Reads events until the stream ends.
    async fn read(&mut self, mut response: Response) -> Result<(), End> {
        let stream_id = response.headers().get(STREAM_ID);
        let stream_id = stream_id.and_then(|value| value.to_str().ok()).unwrap_or("");
        let stream_id = stream_id.to_owned();
        let mut decoder = Decoder::new(MAX_MESSAGE_BYTES);
        let mut silence = silence_limit(DEFAULT_HEARTBEAT);
        loop {
            let chunk = match timeout(silence, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(End::Lost(chain(&error))),
                Err(_) => return Err(End::Lost(format!("no heartbeat within {silence:?}"))),
            };
            self.shared.note_word();
            decoder.push(&chunk);
            loop {
                let event = match decoder.next_message::<scheduler::Event>() {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    Err(error) => return Err(End::Lost(chain(&error))),
                };
                if let Some(heartbeat) = self.received(event, &response, &stream_id).await? {
                    silence = silence_limit(heartbeat);
                }
            }
        }
    }

    /// Passes one event on. Returns the interval of heartbeats, if the event told it.
    async fn received(
        &mut self,
        event: scheduler::Event,
        response: &Response,
        stream_id: &str,
    ) -> Result<Option<Duration>, End> {
        let event = match SchedulerEvent::try_from(event) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "an event of the master is left out");
                return Ok(None);
            }
        };
        match event {
            SchedulerEvent::Heartbeat | SchedulerEvent::Other(_) => Ok(None),
            SchedulerEvent::Subscribed { framework_id, heartbeat, master } => {
                let heartbeat = heartbeat.unwrap_or(DEFAULT_HEARTBEAT);
                self.backoff.reset();
                self.settings.framework_info.id = Some(framework_id.clone());
                self.shared.set_session(Some(Session {
                    url: response.url().clone(),
                    stream_id: stream_id.to_owned(),
                    framework_id: framework_id.clone(),
                }));
                let connected = Event::Connected { framework_id, heartbeat, master };
                self.tell(connected).await?;
                Ok(Some(heartbeat))
            }
            SchedulerEvent::Error(message) => {
                self.shared.set_session(None);
                self.tell(Event::Received(SchedulerEvent::Error(message))).await?;
                Err(End::Over)
            }
            event => {
                self.tell(Event::Received(event)).await?;
                Ok(None)
            }
        }
    }
}
