//! What becomes of tasks: Mesos states to observations, and what follows from an end.

use super::Core;
use super::facts::Kind;
use super::gone::QUESTION;
use super::model::{EndedTask, Standing, Task, TaskStage, Volume};
use super::output::{Call, Write};
use bigdata_common::internal::{NodeObservation, NodeReport};
use bigdata_common::status::NodeStatus;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use bigdata_mesos::v1::{Reason, Source, TaskState, TaskStatus};

/// The first wait before a node is tried again; it doubles.
const BACKOFF_MS: i64 = 1_000;
/// The longest such wait.
const BACKOFF_MAX_MS: i64 = 60_000;
/// A node that ran so long before it ended has not failed in a row.
const STEADY_MS: u64 = 600_000;

impl Task {
    /// What is to be seen of it.
    pub(super) fn observation(&self, status: NodeStatus, now: Timestamp) -> NodeObservation {
        NodeObservation {
            status,
            attempt: self.reference(),
            incarnation: self.incarnation,
            revision: self.revision,
            agent: self.agent.clone(),
            host: self.host.clone(),
            address: self.address.clone(),
            interfaces: self.interfaces.iter().map(|leased| leased.interface.told()).collect(),
            ports: self.ports.clone(),
            passing: self.report.passing,
            observed_at: now,
            restarts: self.report.restarts,
            reason: self.report.reason.clone(),
            last_lines: self.report.last_lines.clone(),
            gave_up: false,
        }
    }

    fn status(&self) -> NodeStatus {
        match self.state {
            TaskStage::Launching => NodeStatus::Launching,
            TaskStage::Running => NodeStatus::Running,
            TaskStage::Unreachable => NodeStatus::Unreachable,
            TaskStage::Stopping => NodeStatus::Stopping,
        }
    }

    /// Takes a status in that is not terminal; false where it is older than what is known.
    fn take_in(&mut self, state: TaskState, status: &TaskStatus, now: Timestamp) -> bool {
        let by_executor = status.source == Some(Source::Executor as i32);
        if let Some(timestamp) = status.timestamp.filter(|_| by_executor) {
            if timestamp < self.newest {
                return false;
            }
            self.newest = timestamp;
        }
        let was_away = self.is_away();
        match report_of(status) {
            Some(report) => self.report = report,
            None => self.report.passing = status.healthy.or(self.report.passing),
        }
        let alive = if self.was_running { TaskStage::Running } else { TaskStage::Launching };
        self.state = match state {
            TaskState::Running => {
                self.was_running = true;
                self.running_since.get_or_insert(now);
                if was_away && !by_executor {
                    // It was why the node could not be reached.
                    self.report.reason = None;
                }
                TaskStage::Running
            }
            TaskState::Killing => TaskStage::Stopping,
            TaskState::Unreachable | TaskState::Unknown => {
                // A reconciliation does not say why: what was said first stays.
                if !(was_away && is_reconciled(status)) {
                    self.report.reason = Some(in_words(state, status));
                }
                TaskStage::Unreachable
            }
            _ if self.state == TaskStage::Stopping => TaskStage::Stopping,
            _ => alive,
        };
        self.note_reach(self.state == TaskStage::Unreachable, now);
        true
    }

    /// Whether its agent can be reached.
    pub(super) fn note_reach(&mut self, unreachable: bool, now: Timestamp) {
        if self.is_away() && !unreachable {
            // What it was told meanwhile has not arrived: its executor has all its time from now on.
            (self.killed_at, self.kills, self.killed_since) = (None, 0, None);
        }
        self.unreachable_since = unreachable.then(|| self.unreachable_since.unwrap_or(now));
    }

    /// Whether it differs from what it was in what is worth a write: not in when its executor last said the same. Updates
    /// come in order until they are acknowledged, so that none that is older than a stored one comes after it.
    fn is_worth_a_write(&self, mut before: Self) -> bool {
        (before.newest, before.report.checked_at) = (self.newest, self.report.checked_at);
        // What is not stored.
        (before.killed_at, before.kills, before.killed_since) = (self.killed_at, self.kills, self.killed_since);
        (before.heard_at, before.repeated) = (self.heard_at, self.repeated);
        before != *self
    }
}

impl Core {
    pub(super) fn updated(&mut self, status: TaskStatus, now: Timestamp) {
        let parsed: Option<AttemptId> = status.task_id.as_str().parse().ok();
        let state = TaskState::try_from(status.state).ok();
        if status.task_id.as_str() == QUESTION {
            self.told_of_agent(&status, now);
        } else if let (Some(id), Some(state)) = (parsed, state) {
            self.reconciliation.answered(id, now);
            if self.state.tasks.contains_key(&id) {
                self.known_task(id, state, &status, now);
            } else {
                self.unknown_task(id, state, &status);
            }
        } else {
            tracing::warn!(task = %status.task_id, "a task that is not ours; it is not touched");
            self.found_task(&status);
        }
        if status.uuid.as_ref().is_some_and(|uuid| !uuid.is_empty()) {
            self.call(Call::Acknowledge(status));
        }
    }

    fn unknown_task(&mut self, id: AttemptId, state: TaskState, status: &TaskStatus) {
        if state.is_terminal() {
            self.foreign_tasks.remove(status.task_id.as_str());
        }
        if state.is_terminal() || matches!(state, TaskState::Unreachable | TaskState::Unknown | TaskState::Killing) {
            return;
        }
        match self.state.ended.get(&id) {
            // Its end was confirmed once, and its node may have another attempt.
            Some(ended) => {
                tracing::warn!(task = %id, cluster = %ended.cluster, node = %ended.node, "an attempt that had ended is alive; it is ended");
                self.call(Call::Kill { task: status.task_id.clone(), agent: status.agent_id.clone() });
            }
            None => {
                tracing::warn!(task = %id, agent = ?status.agent_id, state = %state, "a task that is not known here; it is not touched");
                self.found_task(status);
            }
        }
    }

    fn known_task(&mut self, id: AttemptId, state: TaskState, status: &TaskStatus, now: Timestamp) {
        if state.is_terminal() {
            self.ended(id, state, status, now);
            return;
        }
        let Some(task) = self.state.tasks.get_mut(&id) else { return };
        task.heard_at = Some(now);
        if !task.is_current() || task.standing == Standing::Renewed {
            self.heard_of_unwanted(id, state, now);
            return;
        }
        let before = task.clone();
        if !task.take_in(state, status, now) {
            return;
        }
        let changed = task.is_worth_a_write(before);
        let (cluster, name) = (task.cluster.clone(), task.node.clone());
        let observation = task.observation(task.status(), now);
        if changed {
            self.store_task(id);
        }
        let by_executor = status.source == Some(Source::Executor as i32);
        if by_executor {
            self.volumes_are_used(id);
        }
        let node = self.state.clusters.get(&cluster).and_then(|cluster| cluster.nodes.get(&name));
        let known = node.and_then(|node| node.observation.clone());
        match kind_of_change(known.as_ref(), &observation) {
            Some(kind) => {
                if observation.status == NodeStatus::Running {
                    self.note_ran(&cluster, &name);
                }
                self.observe(&cluster, &name, kind, observation, now);
                self.note_whole(&cluster);
            }
            None if by_executor => self.repeated(id, now),
            None => {}
        }
    }

    /// From now on the node may hold data where it is. It is stored with the fact of that.
    fn note_ran(&mut self, id: &ClusterId, name: &Name) {
        if let Some(node) = self.state.clusters.get_mut(id).and_then(|cluster| cluster.nodes.get_mut(name)) {
            node.ran = true;
        }
    }

    /// A task whose executor has spoken has its volumes.
    fn volumes_are_used(&mut self, id: AttemptId) {
        let Some(task) = self.state.tasks.get(&id) else { return };
        let (cluster, node) = (task.cluster.clone(), task.node.clone());
        let is_news = |volume: &Volume| volume.node == node && !volume.seen;
        let seen = self.state.volumes.change(&cluster, is_news, |volume| volume.seen = true);
        for volume in seen {
            self.persist(Write::Volume(Box::new(volume)));
        }
    }

    /// An ACCEPT that did not arrive has launched nothing.
    pub(super) fn not_launched(&mut self, tasks: &[AttemptId], reason: &str, now: Timestamp) {
        for id in tasks.iter().filter(|id| self.state.tasks.contains_key(id)).copied().collect::<Vec<_>>() {
            let mut status = TaskStatus::new(id.to_string(), TaskState::Dropped);
            status.message = Some(format!("the master did not take the launch: {reason}"));
            self.ended(id, TaskState::Dropped, &status, now);
        }
    }

    /// The end is confirmed: leases are freed in the transaction that stores it.
    fn ended(&mut self, id: AttemptId, state: TaskState, status: &TaskStatus, now: Timestamp) {
        let Some(mut task) = self.state.tasks.remove(&id) else { return };
        let ended = EndedTask {
            id,
            cluster: task.cluster.clone(),
            node: task.node.clone(),
            agent: task.agent.clone(),
            at: now,
        };
        self.persist(Write::TaskEnded(Box::new(ended.clone())));
        self.persist(Write::FreeLeases(id));
        self.free_uids(&task.cluster);
        self.seekers.ask_anew(&task.cluster);
        self.state.ended.insert(id, ended);
        self.changed = true;
        self.look(now);
        if task.is_current() {
            if let Some(report) = report_of(status) {
                task.report = report;
            }
            task.report.passing = None;
            self.node_ended(&task, state, status, now);
        }
        if state == TaskState::GoneByOperator {
            self.agent_is_gone(&task.agent, now);
        } else {
            self.volumes_outlive(&task, now);
        }
    }

    fn node_ended(&mut self, task: &Task, state: TaskState, status: &TaskStatus, now: Timestamp) {
        let limit = self.policy.attempts;
        let never_spoke = state == TaskState::Failed
            && task.enrolled.is_none()
            && status.known_reason() == Some(Reason::ExecutorTerminated);
        let guess = if never_spoke { super::command::guess(&self.policy) } else { String::new() };
        let Some(cluster) = self.state.clusters.get_mut(&task.cluster) else { return };
        let wanted = cluster.is_placed();
        let launching = cluster.status.is_launching();
        let releasing = matches!(cluster.phase, super::model::Phase::Releasing { .. });
        let is_unconfigured = cluster.is_unconfigured();
        let Some(node) = cluster.nodes.get_mut(&task.node) else { return };
        if node.task != Some(task.id) {
            return;
        }
        (node.task, node.idle_since) = (None, Some(now));
        // Whoever was ended to be begun anew has not failed.
        if task.standing != Standing::Renewed {
            let steady = task.running_since.is_some_and(|since| now.millis_since(since) >= STEADY_MS);
            node.failures = if steady { 1 } else { node.failures + 1 };
            // What serves is back at once, unless it fails again and again.
            let at_once = !launching && node.failures == 1;
            node.not_before = (!at_once).then(|| now.plus_millis(backoff(node.failures - u32::from(!launching))));
            if is_own_fault(state) && launching {
                node.faults += 1;
                node.gave_up = node.faults >= limit;
            }
        }
        let agent_lost = (is_unconfigured || !node.ran) && is_agent_lost(state);
        if agent_lost {
            node.agent = None;
        }
        let stopped = state == TaskState::Killed || releasing;
        let mut observation = task.observation(if stopped { NodeStatus::Stopped } else { NodeStatus::Failed }, now);
        observation.gave_up = node.gave_up;
        observation.reason = task.report.reason.clone().or_else(|| Some(in_words(state, status) + &guess));
        if wanted {
            cluster.waiting_since.get_or_insert(now);
            cluster.waiting.told_at = Some(now);
        }
        if agent_lost {
            self.doom_volumes_of(&task.cluster, &task.node, now);
        }
        self.observe(&task.cluster, &task.node, Kind::Ended, observation, now);
        self.give_up_place(&task.cluster, &task.node, now);
        self.store_cluster(&task.cluster);
    }
}

/// Whether the task ended because its agent no longer has it.
fn is_agent_lost(state: TaskState) -> bool {
    matches!(state, TaskState::Lost | TaskState::Gone | TaskState::GoneByOperator)
}

/// Whether the node itself is to blame, rather than Mesos or an agent.
fn is_own_fault(state: TaskState) -> bool {
    matches!(state, TaskState::Failed | TaskState::Finished | TaskState::Error)
}

fn backoff(failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1).min(16);
    (BACKOFF_MS << doublings).min(BACKOFF_MAX_MS)
}

fn report_of(status: &TaskStatus) -> Option<NodeReport> {
    let data = status.data.as_deref().filter(|data| !data.is_empty())?;
    serde_json::from_slice(data).ok()
}

/// Whether it says where the task stands, and not why: the update that said why came while nobody listened.
fn is_reconciled(status: &TaskStatus) -> bool {
    status.known_reason() == Some(Reason::Reconciliation)
}

/// What Mesos says, for people.
fn in_words(state: TaskState, status: &TaskStatus) -> String {
    let said = match state {
        TaskState::Unreachable => "its agent cannot be reached",
        TaskState::Unknown => "the master does not know its agent",
        TaskState::Killed => "it was ended",
        TaskState::Finished => "it ended by itself",
        TaskState::Failed => "it failed",
        TaskState::Lost | TaskState::Dropped => "it was not launched, or lost",
        TaskState::Gone | TaskState::GoneByOperator => "its agent no longer has it",
        TaskState::Error => "the master refused it",
        TaskState::Staging | TaskState::Starting | TaskState::Running | TaskState::Killing => "it is at work",
    };
    let message = status.message.as_deref().filter(|message| !message.is_empty() && !is_reconciled(status));
    match (message, status.known_reason()) {
        (None, Some(Reason::Reconciliation)) if state.is_terminal() => {
            format!("{said} while the platform was stopped or away")
        }
        (None, Some(Reason::Reconciliation)) => said.to_owned(),
        (Some(message), _) => format!("{said}: {message}"),
        (None, Some(reason)) => format!("{said} ({reason})"),
        (None, None) => said.to_owned(),
    }
}

/// What is to be told of a change; None where nothing changed but the time.
fn kind_of_change(known: Option<&NodeObservation>, seen: &NodeObservation) -> Option<Kind> {
    let same = known.is_some_and(|known| NodeObservation { observed_at: seen.observed_at, ..known.clone() } == *seen);
    if same {
        return None;
    }
    let before = known.map(|known| known.status);
    Some(match seen.status {
        NodeStatus::Running if before == Some(NodeStatus::Running) => Kind::Health,
        NodeStatus::Running => Kind::Running,
        NodeStatus::Unreachable => Kind::Unreachable,
        NodeStatus::Launching | NodeStatus::Pending | NodeStatus::Queued => Kind::Launching,
        NodeStatus::Stopping | NodeStatus::Stopped | NodeStatus::Failed => Kind::Health,
    })
}
