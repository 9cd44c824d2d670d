//! The executor's part in Mesos: one task, its updates, its end.

mod update;

use crate::chain;
use crate::launch::launch;
use crate::node;
use crate::node::lifecycle::End;
use bigdata_mesos::client::executor::{Event, Events, ExecutorClient, ExecutorEnvironment, Handle};
use bigdata_mesos::event::ExecutorEvent;
use bigdata_mesos::v1::{KillPolicy, TaskId, TaskInfo, TaskState, TaskStatus};
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use update::Told;

/// The grace of a node whose task says nothing.
const GRACE: Duration = Duration::from_secs(10);
/// An update is told again after this time, though nothing changed.
const REFRESH: Duration = Duration::from_mins(10);
/// How long the last update may take to be stored.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// What is left of the agent's patience for the last update.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(1);

struct Session {
    agent: Handle,
    events: Events,
    environment: ExecutorEnvironment,
    terminated: Signal,
}

/// Why a node is to end.
#[derive(Debug)]
enum Stop {
    /// The task is killed; it has this much grace, where something is said of it.
    Kill(Option<Duration>),
    /// The agent ends its executors, or somebody ends this process.
    Shutdown,
    /// There is no agent any more that would hear of anything.
    Orphaned(String),
}

/// Runs until the node that the agent launches has ended, and the agent knows it.
///
/// # Errors
/// When this process cannot hear signals.
pub async fn run(environment: ExecutorEnvironment) -> io::Result<()> {
    let terminated = signal(SignalKind::terminate())?;
    // A terminal's signals go to everything in it: it is the agent that ends an executor.
    let _kept = (signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    let (agent, events) = ExecutorClient::start(environment.clone());
    let mut session = Session { agent, events, environment, terminated };
    match session.task().await {
        Ok(task) => session.attend(task).await,
        Err(stop) => tracing::info!(?stop, "ended before a task came"),
    }
    Ok(())
}

impl Session {
    /// Waits for the task.
    async fn task(&mut self) -> Result<TaskInfo, Stop> {
        loop {
            let event = tokio::select! {
                event = self.events.next() => event,
                _ = self.terminated.recv() => return Err(Stop::Shutdown),
            };
            match event {
                Some(Event::Received(ExecutorEvent::Launch(mut tasks))) if !tasks.is_empty() => {
                    let task = tasks.remove(0);
                    self.refuse(&tasks).await;
                    return Ok(task);
                }
                event => {
                    if let Some(stop) = self.stop_of(event, None).await {
                        return Err(stop);
                    }
                }
            }
        }
    }

    /// Brings the node to life, tells what becomes of it, and ends it when it is to end.
    async fn attend(&mut self, task: TaskInfo) {
        self.tell(TaskStatus::new(task.task_id.clone(), TaskState::Starting)).await;
        let grace = grace_of(task.kill_policy.as_ref()).unwrap_or(GRACE);
        let recovery_timeout = self.environment.recovery_timeout;
        let launched = {
            let endpoint = self.environment.agent_endpoint.clone();
            let launching = launch(&task, &endpoint, recovery_timeout, grace);
            tokio::pin!(launching);
            tokio::select! {
                launched = &mut launching => launched,
                stop = self.stop(&task.task_id) => {
                    tracing::info!(?stop, "ended while launching");
                    let end = End::Killed;
                    self.tell(update::ended(&task.task_id, &end)).await;
                    self.settle().await;
                    return;
                }
            }
        };
        match launched {
            Ok(node) => self.accompany(&task.task_id, &node, grace).await,
            Err(error) => {
                let end = End::Failed(chain(&error));
                tracing::error!(?end, "the node cannot be launched");
                self.tell(update::ended(&task.task_id, &end)).await;
            }
        }
        self.settle().await;
    }

    async fn accompany(&mut self, task: &TaskId, node: &node::Handle, grace: Duration) {
        let mut observed = node.observed();
        let mut refresh = interval_at(Instant::now() + REFRESH, REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: Option<Told> = None;
        let mut orphaned = false;
        loop {
            let seen = observed.borrow_and_update().clone();
            if told.as_ref().is_none_or(|told| told.is_outdated(&seen, node.report_interval())) {
                self.tell(update::of(task, &seen)).await;
                told = Some(Told { seen: seen.clone(), at: Instant::now() });
            }
            if seen.end.is_some() {
                return;
            }
            tokio::select! {
                changed = observed.changed() => {
                    if changed.is_err() {
                        let end = End::Failed("the executor failed".to_owned());
                        self.tell(update::ended(task, &end)).await;
                        return;
                    }
                }
                _ = refresh.tick() => told = None,
                stop = self.stop(task), if !orphaned => {
                    tracing::info!(?stop, "the node is to end");
                    let patience = self.environment.shutdown_grace_period.saturating_sub(SHUTDOWN_MARGIN);
                    let grace = match stop {
                        Stop::Kill(policy) => policy.unwrap_or(grace),
                        Stop::Shutdown => grace.min(patience.max(SHUTDOWN_MARGIN)),
                        Stop::Orphaned(reason) => {
                            tracing::warn!(reason, "the agent does not come back");
                            orphaned = true;
                            grace
                        }
                    };
                    node.end(End::Killed, grace).await;
                }
            }
        }
    }

    /// Waits for a reason to end.
    async fn stop(&mut self, task: &TaskId) -> Stop {
        loop {
            let event = tokio::select! {
                event = self.events.next() => event,
                _ = self.terminated.recv() => return Stop::Shutdown,
            };
            if let Some(stop) = self.stop_of(event, Some(task)).await {
                return stop;
            }
        }
    }

    async fn stop_of(&mut self, event: Option<Event>, task: Option<&TaskId>) -> Option<Stop> {
        match event {
            None => Some(Stop::Orphaned("the client has ended".to_owned())),
            Some(Event::GivenUp { reason }) => Some(Stop::Orphaned(reason)),
            Some(Event::Connected { .. }) => {
                tracing::info!("subscribed at the agent");
                None
            }
            Some(Event::Disconnected { reason }) => {
                tracing::warn!(reason, "the agent is away");
                None
            }
            Some(Event::Received(event)) => match event {
                ExecutorEvent::Kill { task_id, kill_policy } if task.is_none_or(|task| *task == task_id) => {
                    Some(Stop::Kill(grace_of(kill_policy.as_ref())))
                }
                ExecutorEvent::Shutdown => Some(Stop::Shutdown),
                ExecutorEvent::Error(reason) => Some(Stop::Orphaned(reason)),
                ExecutorEvent::Launch(tasks) => {
                    let others: Vec<_> = tasks.into_iter().filter(|other| Some(&other.task_id) != task).collect();
                    self.refuse(&others).await;
                    None
                }
                event => {
                    tracing::debug!(?event, "left out");
                    None
                }
            },
        }
    }

    async fn refuse(&self, tasks: &[TaskInfo]) {
        for task in tasks {
            let end = End::Failed("an executor runs one node only".to_owned());
            self.tell(update::ended(&task.task_id, &end)).await;
        }
    }

    async fn tell(&self, status: TaskStatus) {
        if self.agent.update(status).await.is_err() {
            tracing::warn!("nobody hears of an update any more");
        }
    }

    async fn settle(&self) {
        if !self.agent.settled(SETTLE_LIMIT).await {
            tracing::warn!("the agent has not stored the last update");
        }
    }
}

fn grace_of(policy: Option<&KillPolicy>) -> Option<Duration> {
    let nanoseconds = policy?.grace_period.as_ref()?.nanoseconds;
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}
