//! Keeps an executor's subscription, and tells its updates in order.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::transport::{self, TransportError};
use super::{Event, ExecutorEnvironment, Unacknowledged};
use crate::MAX_MESSAGE_BYTES;
use crate::client::{Backoff, chain};
use crate::event::ExecutorEvent;
use crate::recordio::Decoder;
use crate::v1::{TaskStatus, executor};

/// The first wait between two attempts; an agent that starts an executor listens already.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// An agent gives executors about 2 s to come back after its restart: longer waits would miss it.
const LONGEST_WAIT: Duration = Duration::from_millis(700);
/// An agent that keeps saying for so long that it does not know this executor has forgotten it.
const REFUSAL_LIMIT: Duration = Duration::from_secs(30);
/// Between two attempts to tell an update in a subscription that stands.
const UPDATE_RETRY: Duration = Duration::from_secs(1);

pub(super) enum Command {
    Update(Box<TaskStatus>),
    Message(Vec<u8>),
    /// Answered once all commands before it are done.
    Settle(oneshot::Sender<()>),
}

/// Why a subscription ended.
enum End {
    Lost(TransportError),
    Closed(String),
    Over,
}

pub(super) struct Driver {
    environment: ExecutorEnvironment,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    count: watch::Sender<usize>,
    unacknowledged: Unacknowledged,
    connected_once: bool,
}

impl Driver {
    pub(super) fn new(
        environment: ExecutorEnvironment,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        count: watch::Sender<usize>,
    ) -> Self {
        Driver {
            environment,
            commands,
            events,
            count,
            unacknowledged: Unacknowledged::default(),
            connected_once: false,
        }
    }

    pub(super) async fn run(mut self) {
        let longest = self.environment.subscription_backoff_max.min(LONGEST_WAIT);
        let mut backoff = Backoff::new(FIRST_WAIT, longest);
        let mut give_up = Instant::now() + self.environment.recovery_timeout;
        let mut forgotten: Option<Instant> = None;
        loop {
            let was_connected = self.connected_once;
            self.connected_once = false;
            let end = self.subscription().await;
            if self.connected_once {
                give_up = Instant::now() + self.environment.recovery_timeout;
                backoff.reset();
            }
            self.connected_once |= was_connected;
            let (reason, refused) = match end {
                End::Over => return,
                End::Lost(error) => (chain(&error), error.is_refusal()),
                End::Closed(reason) => (reason, false),
            };
            forgotten = match refused {
                true => forgotten.or_else(|| Some(Instant::now() + REFUSAL_LIMIT)),
                false => None,
            };
            let deadline = forgotten.map_or(give_up, |limit| limit.min(give_up));
            let orphaned = self.connected_once && !self.environment.checkpoint;
            if orphaned || Instant::now() >= deadline {
                let _ = self.events.send(Event::GivenUp { reason }).await;
                return;
            }
            if self.events.send(Event::Disconnected { reason }).await.is_err() {
                return;
            }
            if self.pause(backoff.delay()).await.is_err() {
                return;
            }
        }
    }

    /// Waits, and keeps what is told meanwhile.
    async fn pause(&mut self, delay: Duration) -> Result<(), End> {
        let until = Instant::now() + delay;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                () = self.events.closed() => return Err(End::Over),
                command = self.commands.recv(), if self.has_callers() => self.keep(command),
            }
        }
    }

    /// Without any, `recv` would be ready all the time.
    fn has_callers(&self) -> bool {
        !self.commands.is_closed() || !self.commands.is_empty()
    }

    /// Keeps what must be told later. Messages are lost while there is no subscription, as the protocol has it.
    fn keep(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Update(status)) => {
                self.unacknowledged.updated(*status);
                self.count.send_replace(self.unacknowledged.updates());
            }
            Some(Command::Settle(done)) => {
                let _ = done.send(());
            }
            Some(Command::Message(_)) => tracing::debug!("a message is lost: not subscribed"),
            None => {}
        }
    }

    /// One subscription from its beginning to its end.
    async fn subscription(&mut self) -> End {
        let (tasks, updates) = self.unacknowledged.for_subscription();
        let carried = updates.len();
        let subscribe = self.environment.caller.subscribe(tasks, updates);
        let answer = transport::post(&self.environment, &subscribe, StatusCode::OK).await;
        let mut body = match answer {
            Ok(response) => response.into_body(),
            Err(error) => return End::Lost(error),
        };
        self.unacknowledged.subscribed(carried);
        let mut decoder = Decoder::new(MAX_MESSAGE_BYTES);
        loop {
            match self.turn(&mut body, &mut decoder).await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    /// Waits for the next thing to happen, and deals with it.
    async fn turn(&mut self, body: &mut Incoming, decoder: &mut Decoder) -> Result<(), End> {
        let retry = self.connected_once && self.unacknowledged.next_unsent().is_some();
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    decoder.push(frame.data_ref().map_or(&[], |data| data));
                    self.read(decoder).await
                }
                Some(Err(error)) => Err(End::Lost(error.into())),
                None => Err(End::Closed("the agent closed the stream".to_owned())),
            },
            command = self.commands.recv(), if self.has_callers() => {
                match command {
                    Some(Command::Message(data)) if self.connected_once => self.say(data).await,
                    command => self.keep(command),
                }
                self.tell().await;
                Ok(())
            }
            () = sleep(UPDATE_RETRY), if retry => {
                self.tell().await;
                Ok(())
            }
            () = self.events.closed() => Err(End::Over),
        }
    }

    async fn say(&self, data: Vec<u8>) {
        let call = self.environment.caller.message(data);
        if let Err(error) = transport::post(&self.environment, &call, StatusCode::ACCEPTED).await {
            tracing::debug!(error = chain(&error), "a message is lost");
        }
    }

    /// Tells updates, in order, until one fails; it is tried again later.
    async fn tell(&mut self) {
        while self.connected_once
            && let Some(status) = self.unacknowledged.next_unsent()
        {
            let call = self.environment.caller.update(status.clone());
            match transport::post(&self.environment, &call, StatusCode::ACCEPTED).await {
                Ok(_) => self.unacknowledged.sent(),
                Err(error) => {
                    tracing::debug!(error = chain(&error), "an update is to be told again");
                    return;
                }
            }
        }
    }

    async fn read(&mut self, decoder: &mut Decoder) -> Result<(), End> {
        loop {
            let event = match decoder.next_message::<executor::Event>() {
                Ok(Some(event)) => ExecutorEvent::try_from(event),
                Ok(None) => return Ok(()),
                Err(error) => return Err(End::Closed(chain(&error))),
            };
            match event {
                Ok(event) => self.received(event).await?,
                Err(error) => tracing::warn!(%error, "an event of the agent is left out"),
            }
        }
    }

    async fn received(&mut self, event: ExecutorEvent) -> Result<(), End> {
        let told = match event {
            ExecutorEvent::Heartbeat | ExecutorEvent::Other(_) => return Ok(()),
            ExecutorEvent::Acknowledged { task_id, uuid } => {
                self.unacknowledged.acknowledged(&task_id, &uuid);
                self.count.send_replace(self.unacknowledged.updates());
                return Ok(());
            }
            ExecutorEvent::Subscribed { executor, framework, agent, .. } => {
                self.connected_once = true;
                Event::Connected { executor, framework, agent }
            }
            ExecutorEvent::Launch(tasks) => {
                tasks.iter().for_each(|task| self.unacknowledged.launched(task));
                Event::Received(ExecutorEvent::Launch(tasks))
            }
            event => Event::Received(event),
        };
        let is_error = matches!(told, Event::Received(ExecutorEvent::Error(_)));
        let subscribed = matches!(told, Event::Connected { .. });
        self.events.send(told).await.map_err(|_| End::Over)?;
        if subscribed {
            self.tell().await;
        }
        match is_error {
            true => Err(End::Over),
            false => Ok(()),
        }
    }
}
