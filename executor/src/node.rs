//! One node at work: the shell around [`lifecycle`] that starts, watches, probes and stops its workload.

pub mod check;
pub mod lifecycle;
pub mod restart;
pub mod workload;

use workload::{Workload, end_marked};

use crate::environment::Surroundings;
use crate::logs::Stream;
use crate::probe::probe;
use bigdata_common::blueprint::Check;
use bigdata_common::internal::NodeReport;
use futures_util::future::LocalBoxFuture;
use lifecycle::{Action, End, Input, Lifecycle};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

/// Wishes that may wait.
const WISHES_MAX: usize = 16;

/// Everything about a node that does not change during its life.
pub struct Fixture {
    /// Specification, folder and user.
    pub surroundings: Surroundings,
    /// The program that is re-executed as a sandbox.
    pub program: PathBuf,
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

/// What can be asked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The workload shall run.
    Start,
    /// The workload shall be down until it is started again.
    Stop,
    /// The workload shall be started anew.
    Restart,
}

enum Order {
    Wish(Wish, oneshot::Sender<Result<(), String>>),
    End(End, Duration),
}

/// A node under way, for those who watch and steer it.
#[derive(Clone)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    observed: watch::Receiver<Observation>,
}

impl Handle {
    /// Asks for something and waits until it is so.
    ///
    /// # Errors
    /// Why it is not going to be so, for people.
    pub async fn wish(&self, wish: Wish) -> Result<(), String> {
        let over = || "the node has ended".to_owned();
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::Wish(wish, reply)).await.map_err(|_| over())?;
        answer.await.unwrap_or_else(|_| Err(over()))
    }

    /// Ends the node for good; its workload has `grace` for it. [`Observation::end`] tells when.
    pub async fn end(&self, end: End, grace: Duration) {
        // A node that has ended already needs no end.
        let _ = self.orders.send(Order::End(end, grace)).await;
    }

    /// What is to be seen now and from now on.
    pub fn observed(&self) -> watch::Receiver<Observation> {
        self.observed.clone()
    }
}

struct Runner {
    fixture: Rc<Fixture>,
    life: Lifecycle,
    workload: Option<Workload>,
    probing: Option<LocalBoxFuture<'static, Result<(), String>>>,
    waiting: Vec<(Wish, oneshot::Sender<Result<(), String>>)>,
    orders: mpsc::Receiver<Order>,
    observed: watch::Sender<Observation>,
    last_lines: Vec<String>,
    grace: Duration,
    began: Instant,
}

/// Runs a node on the current thread's local set until it ends. A workload that is to start by itself does so at once.
pub fn run(fixture: Rc<Fixture>, grace: Duration) -> Handle {
    let (orders, receiver) = mpsc::channel(WISHES_MAX);
    let (observed, watched) = watch::channel(Observation::default());
    let life = Lifecycle::new(&fixture.surroundings.node.blueprint);
    let runner = Runner {
        fixture,
        life,
        workload: None,
        probing: None,
        waiting: Vec::new(),
        orders: receiver,
        observed,
        last_lines: Vec::new(),
        grace,
        began: Instant::now(),
    };
    tokio::task::spawn_local(runner.run());
    Handle { orders, observed: watched }
}

impl Runner {
    async fn run(mut self) {
        if !self.life.is_ready() {
            self.apply(Input::Start).await;
        }
        self.publish();
        while self.life.end().is_none() {
            if let Some(input) = self.next_input().await {
                self.apply(input).await;
            }
            if self.life.end().is_some() {
                // Nothing is told of an end before nothing is left.
                end_marked(&self.fixture).await;
            }
            self.publish();
        }
    }

    async fn next_input(&mut self) -> Option<Input> {
        let wake = self.life.wake().map(|at| self.began + at);
        tokio::select! {
            order = self.orders.recv() => self.take(order).await,
            how = exit_of(&mut self.workload) => {
                self.workload = None;
                self.probing = None;
                self.last_lines = how.last_lines;
                Some(Input::Exited(how.words))
            }
            result = result_of(&mut self.probing) => {
                self.probing = None;
                Some(Input::Probed(result))
            }
            () = wake_up(wake) => Some(Input::Tick),
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
                Some(Input::End(end))
            }
        }
    }

    async fn apply(&mut self, input: Input) {
        let mut input = Some(input);
        while let Some(now) = input.take() {
            match self.life.step(now, self.began.elapsed()) {
                Some(Action::Spawn) => input = Some(self.spawn().await),
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
    }

    async fn spawn(&mut self) -> Input {
        match Workload::start(&self.fixture).await {
            Ok(workload) => {
                self.last_lines.clear();
                self.workload = Some(workload);
                Input::Started
            }
            Err(reason) => Input::Refused(reason),
        }
    }

    fn probe(&mut self, check: Check) {
        let fixture = Rc::clone(&self.fixture);
        self.probing = Some(Box::pin(async move { probe(&fixture.surroundings, &check, &fixture.program).await }));
    }

    /// Shows what is new, and answers the wishes that have come true or never will.
    fn publish(&mut self) {
        let observation = Observation {
            ready: self.life.is_ready(),
            end: self.life.end().cloned(),
            report: NodeReport {
                passing: self.life.passing(),
                restarts: self.life.restart_count(),
                reason: self.life.reason().map(str::to_owned),
                last_lines: self.last_lines.clone(),
                started: self.life.is_up(),
            },
            processes: self.workload.as_ref().map(Workload::processes),
        };
        self.observed.send_if_modified(|seen| {
            let changed = *seen != observation;
            *seen = observation;
            changed
        });
        let (up, held, over) = (self.life.is_up(), self.life.is_held(), self.life.end().is_some());
        if !(up || held || over) {
            return;
        }
        let reason = self.life.reason().unwrap_or("the node is being ended").to_owned();
        for (wish, reply) in self.waiting.drain(..) {
            let true_now = match wish {
                Wish::Start | Wish::Restart => up,
                Wish::Stop => held || over,
            };
            // Whoever asked may have left.
            let _ = reply.send(if true_now { Ok(()) } else { Err(reason.clone()) });
        }
    }
}

async fn exit_of(workload: &mut Option<Workload>) -> workload::Exit {
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

async fn wake_up(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
