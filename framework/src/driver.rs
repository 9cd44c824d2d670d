//! The shell around the core: one task that takes inputs in, one after the other, and performs what comes out.
//!
//! What has come meanwhile is taken in at once: the writes and events of its steps are one transaction, its answers are
//! given and its calls leave after that. So a thousand nodes that end together do not wait for a transaction each, and a
//! slow master, which is called by a task of its own, does not hold the enrolments up.

mod caller;
mod examine;
mod handle;
mod mesos;
mod queue;

use crate::core::output::{Input, Output};
use crate::core::{Core, EnrolRefusal};
use crate::leadership::Lease;
use crate::store::{self, StoreError};
use bigdata_chassis::trace::Cause;
use bigdata_chassis::{Deps, Readiness};
use bigdata_common::event::Event;
use bigdata_common::{ClusterId, Timestamp};
use caller::Caller;
use examine::{Asker, Examination};
use handle::Command;
pub(crate) use handle::{Commands, Handle, Unavailable};
pub(crate) use mesos::MesosSettings;
use mesos::Subscription;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Steps that are stored together.
const BATCH: usize = 128;
/// How often time alone is an input.
const TICK: Duration = Duration::from_millis(250);
/// What is waited for where the database was lost, or the master has ended the subscription.
const LOST: &str = "placement";
/// What is waited for without a subscription.
const AWAY: &str = "mesos";
/// The longest wait between two tries to store a step.
const STORE_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Whoever leads no more waits for nothing: it follows.
pub(crate) fn waits_for_nothing(readiness: &Readiness) {
    readiness.has(LOST);
    readiness.has(AWAY);
}

/// How a driver's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was asked to.
    Stopped,
    /// Another replica leads, or may.
    Lost,
    /// The memory is ahead of the database: only a new start brings them together.
    Broken,
}

/// A line for each cluster of which nodes were placed, with the request behind it.
fn log_placements(outputs: &[Output]) {
    let mut placed: BTreeMap<&ClusterId, (usize, Cause)> = BTreeMap::new();
    for output in outputs {
        if let Output::Emit { cluster, origin, event: Event::NodeLaunching(_), .. } = output {
            let cause = || origin.clone().map(Cause::from).unwrap_or_default();
            placed.entry(cluster).or_insert_with(|| (0, cause())).0 += 1;
        }
    }
    for (cluster, (nodes, cause)) in placed {
        let (request_id, trace_id) = (&cause.request_id, cause.trace_id());
        tracing::info!(cluster.id = %cluster, nodes, request_id, trace_id, "nodes are placed");
    }
}

/// Something to be taken in.
enum Work {
    Input(Input),
    Command(Command),
}

/// What comes of several steps: outputs in order, and answers for once they are stored.
#[derive(Default)]
struct Batch {
    steps: usize,
    outputs: Vec<Output>,
    answers: Vec<handle::Question>,
}

/// The running core.
pub(crate) struct Driver {
    lease: Lease,
    core: Core,
    deps: Deps,
    commands: mpsc::Receiver<Command>,
    subscription: Subscription,
    caller: Caller,
    examination: Examination,
}

impl Driver {
    pub(crate) fn new(core: Core, deps: Deps, commands: Commands, mesos: MesosSettings, lease: Lease) -> Self {
        let examination = if core.is_to_be_examined() {
            let asker = Asker {
                registry: core.policy.rules.registry.clone(),
                name: mesos.name().to_owned(),
                role: mesos.role().to_owned(),
                framework: core.state.framework.clone(),
            };
            Examination::spawn(mesos.clone(), asker, &lease)
        } else {
            Examination::none()
        };
        let subscription = Subscription::new(mesos, core.state.framework.clone());
        let caller = Caller::spawn(&lease);
        Self { lease, core, deps, commands: commands.0, subscription, caller, examination }
    }

    /// Runs until the tasks end, or the lease or its tasks do.
    pub(crate) async fn run(mut self) -> End {
        let token = self.deps.tasks.token();
        let ended = self.lease.tasks().token();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let work = tokio::select! {
                () = token.cancelled() => return End::Stopped,
                () = self.lease.lost() => return End::Lost,
                () = ended.cancelled() => return End::Lost,
                command = self.commands.recv() => match command {
                    Some(command) => Work::Command(command),
                    None => return End::Lost,
                },
                input = self.subscription.next(), if self.may_subscribe() => Work::Input(input),
                failed = self.caller.failure() => Work::Input(failed),
                examined = self.examination.next() => Work::Input(examined),
                _ = tick.tick() => Work::Input(Input::Tick),
            };
            match self.work(work).await {
                Ok(()) => {}
                Err(StoreError::LostLeadership) => {
                    self.lease.lose();
                    return End::Lost;
                }
                Err(_) if token.is_cancelled() => return End::Stopped,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a step cannot be stored; the service ends"
                    );
                    return End::Broken;
                }
            }
        }
    }

    /// From a database that may have been lost nobody subscribes: the master would take it for a new framework, and end the
    /// former one's nodes in time.
    fn may_subscribe(&self) -> bool {
        self.subscription.handle().is_some() || !self.core.may_be_lost()
    }

    /// Takes in what is there, stores what comes of it, then answers and calls.
    async fn work(&mut self, first: Work) -> Result<(), StoreError> {
        if !self.lease.is_held() {
            return Err(StoreError::LostLeadership);
        }
        let mut batch = Batch::default();
        self.take(first, &mut batch);
        while batch.steps < BATCH {
            if let Ok(command) = self.commands.try_recv() {
                self.take(Work::Command(command), &mut batch);
            } else if let Some(input) = self.subscription.try_next() {
                self.take(Work::Input(input), &mut batch);
            } else {
                break;
            }
        }
        let now = self.deps.clock.now();
        self.store(&batch.outputs, now).await?;
        log_placements(&batch.outputs);
        self.subscription.set_framework(self.core.state.framework.as_deref());
        self.say_what_is_waited_for(now);
        let silent = self.subscription.silent_for();
        let millis = silent.map(|silent| i64::try_from(silent.as_millis()).unwrap_or(i64::MAX));
        self.core.last_word = millis.map(|millis| now.plus_millis(-millis));
        for answer in batch.answers {
            answer(&self.core, now);
        }
        for output in batch.outputs {
            if let Output::Call(call) = output {
                self.caller.make(self.subscription.handle(), call);
            }
        }
        Ok(())
    }

    /// Requests are taken all the same: a launch is placed when there is something to place it on.
    fn say_what_is_waited_for(&self, now: Timestamp) {
        let readiness = self.deps.tasks.readiness();
        for (what, reason) in [(LOST, self.core.trouble_in_words()), (AWAY, self.core.away_in_words(now))] {
            match reason {
                Some(reason) => readiness.is_held_up_by(what, reason),
                None => readiness.has(what),
            }
        }
    }

    fn take(&mut self, work: Work, batch: &mut Batch) {
        batch.steps += 1;
        match work {
            Work::Input(input) => self.step(input, batch),
            Work::Command(Command::Step(input, done)) => {
                self.step(*input, batch);
                batch.answers.push(Box::new(move |_, _| {
                    // Whoever asked may have given up.
                    let _ = done.send(());
                }));
            }
            Work::Command(Command::Ask(question)) => batch.answers.push(question),
            Work::Command(Command::Enrol(request, reply)) => {
                let attempt = request.attempt;
                let checked = self.core.check_enrolment(&request);
                if checked.is_ok() {
                    let (fingerprint, control, isolation) = (request.fingerprint, request.control, request.isolation);
                    self.step(Input::Enrolled { attempt, fingerprint, control, isolation }, batch);
                }
                batch.answers.push(Box::new(move |core, _| {
                    let answer = checked.and_then(|()| core.node_specification(attempt).ok_or(EnrolRefusal::Ended));
                    let _ = reply.send(answer);
                }));
            }
        }
    }

    fn step(&mut self, input: Input, batch: &mut Batch) {
        batch.outputs.extend(self.core.step(input, self.deps.clock.now()));
    }

    /// Tries until it is stored: a database that is away for a while costs time, nothing else.
    async fn store(&self, outputs: &[Output], now: Timestamp) -> Result<(), StoreError> {
        let mut backoff = Duration::from_millis(20);
        loop {
            match store::commit(&self.deps.db, self.lease.claim(), outputs, now).await {
                Ok(()) => return Ok(()),
                Err(error) if store::is_lasting(&error) || self.deps.tasks.token().is_cancelled() => {
                    return Err(error);
                }
                Err(_) if !self.lease.is_held() => return Err(StoreError::LostLeadership),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a step is stored again");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(STORE_BACKOFF_MAX);
                }
            }
        }
    }
}
