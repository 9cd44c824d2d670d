//! The shell around the core: one task that takes inputs in, one after the other, and performs what comes out.
//!
//! The writes and events of a step are one transaction; its calls leave after that, in order, by a task of their own, so
//! that a slow master does not hold the enrolments up.

mod caller;
mod mesos;

use crate::core::output::{Input, Output};
use crate::core::{Core, EnrolRefusal};
use crate::store::{self, StoreError};
use bigdata_chassis::Deps;
use bigdata_common::Timestamp;
use bigdata_common::internal::{EnrolRequest, NodeSpecification};
use caller::Caller;
pub(crate) use mesos::MesosSettings;
use mesos::Subscription;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// Inputs and questions that wait.
const QUEUE_LENGTH: usize = 256;
/// How often time alone is an input.
const TICK: Duration = Duration::from_millis(250);
/// The longest that a question waits for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The longest wait between two tries to store a step.
const STORE_BACKOFF_MAX: Duration = Duration::from_secs(2);

type Question = Box<dyn FnOnce(&Core, Timestamp) + Send>;

enum Command {
    Step(Box<Input>, oneshot::Sender<()>),
    Enrol(EnrolRequest, oneshot::Sender<Result<NodeSpecification, EnrolRefusal>>),
    Ask(Question),
}

/// The driver did not answer: it waits for the registry or the database, or is being ended.
#[derive(Debug, thiserror::Error)]
#[error("the framework is starting, ending or busy")]
pub(crate) struct Busy;

/// Speaks to the driver. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle(mpsc::Sender<Command>);

impl Handle {
    /// Takes an input in; returns when it is stored.
    ///
    /// # Errors
    /// [`Busy`]: it may be stored all the same.
    pub(crate) async fn step(&self, input: Input) -> Result<(), Busy> {
        let (done, stored) = oneshot::channel();
        self.send(Command::Step(Box::new(input), done), stored).await
    }

    /// Takes an executor in.
    ///
    /// # Errors
    /// [`Busy`], or the refusal.
    pub(crate) async fn enrol(&self, request: EnrolRequest) -> Result<Result<NodeSpecification, EnrolRefusal>, Busy> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Enrol(request, reply), answer).await
    }

    /// Asks the core something.
    ///
    /// # Errors
    /// [`Busy`].
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |core, now| {
            // Whoever asked may have given up.
            let _ = reply.send(question(core, now));
        });
        self.send(Command::Ask(question), answer).await
    }

    async fn send<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Result<T, Busy> {
        let asked = async {
            self.0.send(command).await.map_err(|_| Busy)?;
            answer.await.map_err(|_| Busy)
        };
        tokio::time::timeout(ANSWER_LIMIT, asked).await.unwrap_or(Err(Busy))
    }
}

/// Commands for a driver that is to be started.
pub(crate) struct Commands(mpsc::Receiver<Command>);

/// A handle, and what it speaks to.
pub(crate) fn channel() -> (Handle, Commands) {
    let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
    (Handle(sender), Commands(receiver))
}

/// The running core.
pub(crate) struct Driver {
    core: Core,
    deps: Deps,
    commands: mpsc::Receiver<Command>,
    subscription: Subscription,
    caller: Caller,
}

impl Driver {
    pub(crate) fn new(core: Core, deps: Deps, commands: Commands, mesos: MesosSettings) -> Self {
        let subscription = Subscription::new(mesos, core.state.framework.clone());
        let caller = Caller::spawn(&deps.tasks);
        Self { core, deps, commands: commands.0, subscription, caller }
    }

    /// Runs until the tasks end.
    pub(crate) async fn run(mut self) {
        let token = self.deps.tasks.token();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let result = tokio::select! {
                () = token.cancelled() => return,
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                input = self.subscription.next() => self.step(input).await,
                failed = self.caller.failure() => self.step(failed).await,
                _ = tick.tick() => self.step(Input::Tick).await,
            };
            if let Err(error) = result {
                // The memory is ahead of the database: only a new start brings them together.
                tracing::error!(error = &error as &dyn std::error::Error, "a step cannot be stored; the service ends");
                token.cancel();
                return;
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), StoreError> {
        match command {
            Command::Step(input, done) => {
                self.step(*input).await?;
                let _ = done.send(());
            }
            Command::Ask(question) => question(&self.core, self.deps.clock.now()),
            Command::Enrol(request, reply) => {
                let answer = match self.core.check_enrolment(&request) {
                    Err(refusal) => Err(refusal),
                    Ok(()) => {
                        let attempt = request.attempt;
                        self.step(Input::Enrolled {
                            attempt,
                            fingerprint: request.fingerprint,
                            control: request.control,
                            isolation: request.isolation,
                        })
                        .await?;
                        self.core.node_specification(attempt).ok_or(EnrolRefusal::Ended)
                    }
                };
                let _ = reply.send(answer);
            }
        }
        Ok(())
    }

    async fn step(&mut self, input: Input) -> Result<(), StoreError> {
        let now = self.deps.clock.now();
        let outputs = self.core.step(input, now);
        self.store(&outputs, now).await?;
        self.subscription.set_framework(self.core.state.framework.as_deref());
        for output in outputs {
            if let Output::Call(call) = output {
                self.caller.make(self.subscription.handle(), call).await;
            }
        }
        Ok(())
    }

    /// Tries until it is stored: a database that is away for a while costs time, nothing else.
    async fn store(&self, outputs: &[Output], now: Timestamp) -> Result<(), StoreError> {
        let mut backoff = Duration::from_millis(20);
        loop {
            match store::commit(&self.deps.db, outputs, now).await {
                Ok(()) => return Ok(()),
                Err(error) if store::is_lasting(&error) || self.deps.tasks.token().is_cancelled() => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a step is stored again");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(STORE_BACKOFF_MAX);
                }
            }
        }
    }
}
