//! One node at work: the shell around [`lifecycle`] that starts, watches, probes and stops its workload.

pub(crate) mod bounds;
pub mod check;
mod handle;
mod leftovers;
pub mod lifecycle;
pub mod restart;
pub mod workload;

pub use handle::{Handle, Wish};

use bounds::Bounds;
use handle::Order;

use crate::alarm::Alarm;
use crate::environment::Surroundings;
use crate::logs::Stream;
use crate::probe::probe;
use crate::runtime::{Exit, Runtime, Workload};
use bigdata_common::Timestamp;
use bigdata_common::blueprint::Check;
use bigdata_common::internal::NodeReport;
use futures_util::future::LocalBoxFuture;
use lifecycle::{Action, End, Input, Lifecycle};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// What an end waits for that comes in the middle of a start.
const ENDS_AFTER_START: &str = "it ends when the start that is under way has come to its end";
/// Wishes that may wait.
const WISHES_MAX: usize = 16;

/// Everything about a node that does not change during its life.
pub struct Fixture {
    /// Specification, folder and user.
    pub surroundings: Surroundings,
    /// What runs the workload and the commands beside it.
    pub runtime: Rc<dyn Runtime>,
    /// The workload's standard output.
    pub stdout: Arc<Stream>,
    /// The workload's standard error.
    pub stderr: Arc<Stream>,
    /// What bounds the workload on this machine, in words.
    pub isolation: String,
}

/// What is to be seen of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// Whether it can be worked on.
    pub ready: bool,
    /// Whether the workload runs, or is to run and is just coming back.
    pub is_wanted: bool,
    /// How it ended, once it has.
    pub end: Option<End>,
    /// What is reported of it.
    pub report: NodeReport,
    /// The workload's process id, and its sandbox's.
    pub processes: Option<Processes>,
}

/// Where a workload's processes are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// The workload's command.
    pub pid: i32,
    /// Its sandbox: every process of the workload descends from it.
    pub supervisor: Option<u32>,
    /// Its control group's directories.
    pub group: Vec<PathBuf>,
    /// What this machine did not allow.
    pub not_applied: Vec<String>,
    /// When the workload was started.
    pub since: Instant,
}

struct Runner {
    fixture: Rc<Fixture>,
    life: Lifecycle,
    workload: Option<Box<dyn Workload>>,
    starting: Option<Starting>,
    probing: Option<LocalBoxFuture<'static, Result<(), String>>>,
    waiting: Vec<(Wish, oneshot::Sender<Result<(), String>>)>,
    orders: mpsc::Receiver<Order>,
    observed: watch::Sender<Observation>,
    last_lines: Vec<String>,
    /// What is left of the last workload, in words.
    left: Option<String>,
    grace: Duration,
    began: Instant,
    alarm: Alarm,
    checked_at: Option<Timestamp>,
    bounds: Bounds,
}

/// A workload that is being started.
struct Starting {
    result: LocalBoxFuture<'static, Result<Box<dyn Workload>, String>>,
    /// What is done before the start, in words. Meanwhile it may be given up.
    progress: watch::Receiver<Option<String>>,
}

/// Runs a node on the current thread's local set until it ends. A workload that is to start by itself does so at once, and so
/// does one that `goes_on`: an earlier executor of the attempt has left it running.
///
/// # Errors
/// When the kernel has no timer for it.
pub fn run(fixture: Rc<Fixture>, grace: Duration, goes_on: bool) -> io::Result<Handle> {
    let (orders, receiver) = mpsc::channel(WISHES_MAX);
    let (observed, watched) = watch::channel(Observation::default());
    let life = Lifecycle::new(&fixture.surroundings.node.blueprint);
    let report_interval = fixture.surroundings.node.blueprint.health.as_ref().map(Check::report_interval);
    let bounds = Bounds::new(&fixture.surroundings);
    let runner = Runner {
        fixture,
        life,
        workload: None,
        starting: None,
        probing: None,
        waiting: Vec::new(),
        orders: receiver,
        observed,
        last_lines: Vec::new(),
        left: None,
        grace,
        began: Instant::now(),
        alarm: Alarm::new()?,
        checked_at: None,
        bounds,
    };
    tokio::task::spawn_local(runner.run(goes_on));
    Ok(Handle { orders, observed: watched, report_interval })
}

impl Runner {
    async fn run(mut self, goes_on: bool) {
        if goes_on || !self.life.is_ready() {
            self.apply(Input::Start).await;
        }
        self.publish();
        while self.life.end().is_none() {
            if let Some(input) = self.next_input().await {
                self.apply(input).await;
            }
            let group = self.workload.as_ref().map(|workload| workload.processes().group);
            self.bounds.look(self.began.elapsed(), group);
            if self.life.end().is_some() {
                self.clear().await;
            }
            self.publish();
        }
    }

    async fn next_input(&mut self) -> Option<Input> {
        let wake = self.life.wake().into_iter().chain(self.bounds.wake()).min();
        let wake = wake.map(|at| at.saturating_sub(self.began.elapsed()));
        tokio::select! {
            order = self.orders.recv() => self.take(order).await,
            result = started_of(&mut self.starting) => self.started(result),
            how = exit_of(&mut self.workload) => {
                self.workload = None;
                self.probing = None;
                self.last_lines = how.last_lines;
                self.left = how.left;
                Some(Input::Exited(how.words))
            }
            result = result_of(&mut self.probing) => {
                self.probing = None;
                self.checked_at = Some(crate::now());
                Some(Input::Probed(result))
            }
            excess = self.bounds.measured() => excess.map(|reason| Input::End(End::Failed(reason))),
            () = self.alarm.wait(wake) => Some(Input::Tick),
        }
    }

    async fn take(&mut self, order: Option<Order>) -> Option<Input> {
        match order? {
            Order::Wish(wish, reply) => {
                self.waiting.push((wish, reply));
                Some(match wish {
                    Wish::Start => Input::Start,
                    Wish::Stop => Input::Stop,
                    Wish::Restart => Input::Restart,
                })
            }
            Order::End(end, grace) => {
                self.grace = grace;
                // A stop that is under way already gets no more time than this one.
                if let Some(workload) = &mut self.workload
                    && !self.life.is_up()
                {
                    workload.stop(grace).await;
                }
                if self.starting.as_ref().is_some_and(|starting| starting.progress.borrow().is_some()) {
                    self.starting = None;
                    self.apply(Input::End(end)).await;
                    return Some(Input::Refused("its start was given up".to_owned()));
                }
                Some(Input::End(end))
            }
        }
    }

    async fn apply(&mut self, input: Input) {
        match self.life.step(input, self.began.elapsed()) {
            Some(Action::Spawn) => self.starting = Some(self.spawn()),
            Some(Action::Stop) => {
                self.probing = None;
                if let Some(workload) = &mut self.workload {
                    workload.stop(self.grace).await;
                }
            }
            Some(Action::Probe(check)) => self.probe(check),
            None => {}
        }
    }

    /// Nothing is told of an end before nothing is left; what that waits for is.
    async fn clear(&mut self) {
        let fixture = Rc::clone(&self.fixture);
        let (sender, mut told) = watch::channel(None);
        let mut clearing = fixture.runtime.clear(&fixture, &sender);
        self.left = loop {
            tokio::select! {
                biased;
                cleared = &mut clearing => break cleared.err(),
                Ok(()) = told.changed() => {
                    let reason = joined(self.life.reason(), told.borrow_and_update().clone());
                    let (passing, started) = (self.life.passing(), self.life.is_up());
                    self.observed.send_modify(|seen| {
                        seen.report = NodeReport { reason, passing, started, ..seen.report.clone() };
                    });
                }
            }
        };
    }

    fn spawn(&self) -> Starting {
        let fixture = Rc::clone(&self.fixture);
        let (sender, progress) = watch::channel(None);
        let result = Box::pin(async move {
            let runtime = Rc::clone(&fixture.runtime);
            let prepared = runtime.prepare(&fixture, &sender).await;
            sender.send_replace(None);
            prepared?;
            runtime.start(&fixture).await
        });
        Starting { result, progress }
    }

    /// None: there is only more to tell of the start.
    fn started(&mut self, result: Option<Result<Box<dyn Workload>, String>>) -> Option<Input> {
        let result = result?;
        self.starting = None;
        Some(match result {
            Ok(workload) => {
                self.last_lines.clear();
                self.left = None;
                self.workload = Some(workload);
                Input::Started
            }
            Err(reason) => Input::Refused(reason),
        })
    }

    fn probe(&mut self, check: Check) {
        let fixture = Rc::clone(&self.fixture);
        let workload = self.workload.as_ref().map(|workload| workload.processes().pid);
        self.probing = Some(Box::pin(async move {
            probe(&fixture.surroundings, &check, &*fixture.runtime).await?;
            // The kernel goes on taking connections for a process that is stopped.
            workload.map_or(Ok(()), is_going)
        }));
    }

    /// What is to be said of the node. An end has one reason; what runs may have several troubles.
    fn reason(&self) -> Option<String> {
        if self.life.is_ending_after_start() {
            return Some(ENDS_AFTER_START.to_owned());
        }
        let beside = match self.life.end() {
            None => self.bounds.words(),
            Some(_) => self.left.as_ref().map(|left| format!("something of the node is left: {left}")),
        };
        let progress = self.starting.as_ref().and_then(|starting| starting.progress.borrow().clone());
        progress.or_else(|| joined(self.life.reason(), beside))
    }

    /// Shows what is new, and answers the wishes that have come true or never will.
    fn publish(&mut self) {
        let observation = Observation {
            ready: self.life.is_ready(),
            is_wanted: self.life.is_wanted(),
            end: self.life.end().cloned(),
            report: NodeReport {
                passing: self.life.passing(),
                restarts: self.life.restart_count(),
                reason: self.reason(),
                last_lines: self.last_lines.clone(),
                started: self.life.is_up(),
                checked_at: self.checked_at,
            },
            processes: self.workload.as_ref().map(|workload| workload.processes()),
        };
        self.observed.send_if_modified(|seen| {
            let changed = *seen != observation;
            *seen = observation;
            changed
        });
        let (up, held, over) = (self.life.is_up(), self.life.is_held(), self.life.end().is_some());
        // A start that was asked for and waits again was refused.
        if !(up || held || over || self.life.is_waiting()) {
            return;
        }
        let reason = self.life.reason().unwrap_or("the node is being ended").to_owned();
        for (wish, reply) in self.waiting.drain(..) {
            let answer = match (wish, &self.left) {
                // Whoever asked may build on it that nothing of the workload can act any more.
                (Wish::Stop, Some(left)) if held || over => Err(format!("something of the workload is left: {left}")),
                (Wish::Stop, None) if held || over => Ok(()),
                (Wish::Start | Wish::Restart, _) if up => Ok(()),
                _ => Err(reason.clone()),
            };
            // Whoever asked may have left.
            let _ = reply.send(answer);
        }
    }
}

fn joined(reason: Option<&str>, beside: Option<String>) -> Option<String> {
    match (reason, beside) {
        (Some(reason), Some(beside)) => Some(format!("{reason}; {beside}")),
        (reason, beside) => reason.map(str::to_owned).or(beside),
    }
}

/// None: the start has come further.
async fn started_of(starting: &mut Option<Starting>) -> Option<Result<Box<dyn Workload>, String>> {
    let Some(starting) = starting else { return std::future::pending().await };
    tokio::select! {
        biased;
        result = &mut starting.result => Some(result),
        Ok(()) = starting.progress.changed() => None,
    }
}

async fn exit_of(workload: &mut Option<Box<dyn Workload>>) -> Exit {
    match workload {
        Some(workload) => workload.ended().await,
        None => std::future::pending().await,
    }
}

async fn result_of(probing: &mut Option<LocalBoxFuture<'static, Result<(), String>>>) -> Result<(), String> {
    match probing {
        Some(probing) => probing.await,
        None => std::future::pending().await,
    }
}

/// Whether the workload's command is not stopped.
fn is_going(pid: i32) -> Result<(), String> {
    match bigdata_sandbox::Process::read(pid) {
        Some(process) if process.state == 'T' => Err(format!("process {pid} is stopped: SIGCONT lets it go on")),
        _ => Ok(()),
    }
}
