//! Asking the master how tasks are: each by name after every subscription, until it has answered, and all now and then.

use super::Core;
use super::model::TaskStage;
use super::output::{Call, Write};
use bigdata_common::{AttemptId, Timestamp};
use bigdata_mesos::v1::AgentId;
use std::collections::BTreeSet;

/// The first wait for answers; it doubles.
const WAIT_MS: i64 = 1_000;
/// The longest such wait.
const WAIT_MAX_MS: i64 = 60_000;
/// Tasks that are asked for in one call: the master answers one call at a go, and meanwhile nobody else.
pub(super) const TOGETHER: usize = 1_000;
/// How often all tasks are asked for.
const ALL_EVERY_MS: u64 = 900_000;
/// A task that is not heard of for so long while it should change is asked for.
const SILENT_MS: u64 = 30_000;
/// How long an attempt that has ended, or an agent that makes no offers, is remembered.
pub(super) const REMEMBERED_MS: u64 = 24 * 3_600_000;

/// The questions that have not been answered.
#[derive(Debug, Default)]
pub(crate) struct Reconciliation {
    pending: BTreeSet<AttemptId>,
    next_at: Option<Timestamp>,
    wait: i64,
    begun_at: Option<Timestamp>,
    all_at: Option<Timestamp>,
    pruned_at: Option<Timestamp>,
}

impl Reconciliation {
    pub(super) fn answered(&mut self, task: AttemptId, now: Timestamp) {
        if self.pending.remove(&task) {
            // While answers come nothing is asked again.
            self.next_at = self.next_at.max(Some(now.plus_millis(WAIT_MS)));
        }
    }
}

impl Core {
    /// After a subscription: every task is asked for.
    pub(super) fn reconcile_all(&mut self, now: Timestamp) {
        self.reconciliation.pending = self.state.tasks.keys().copied().collect();
        self.reconciliation.wait = WAIT_MS;
        self.reconciliation.begun_at = Some(now);
        self.reconciliation.all_at = None;
        self.ask_for_agents_anew();
        self.ask(now);
    }

    fn ask(&mut self, now: Timestamp) {
        let tasks = &self.state.tasks;
        self.reconciliation.pending.retain(|id| tasks.contains_key(id));
        let named = |id: &AttemptId| (id.to_string().into(), Some(AgentId::from(tasks[id].agent.as_str())));
        let questions: Vec<_> = self.reconciliation.pending.iter().map(named).collect();
        if questions.is_empty() {
            return;
        }
        self.reconciliation.next_at = Some(now.plus_millis(self.reconciliation.wait));
        self.reconciliation.wait = (self.reconciliation.wait * 2).min(WAIT_MAX_MS);
        for together in questions.chunks(TOGETHER) {
            self.call(Call::Reconcile(together.to_vec()));
        }
    }

    /// Whether it is time to ask for whatever there is: first when all that is known here was answered, so that the master
    /// does not tell of each task twice while a start waits for it.
    fn asks_for_all(&self, now: Timestamp) -> bool {
        let Reconciliation { pending, begun_at, all_at, .. } = &self.reconciliation;
        let is_past = |at: &Option<Timestamp>, limit| at.is_none_or(|at| now.millis_since(at) >= limit);
        match all_at {
            None => pending.is_empty() || is_past(begun_at, SILENT_MS),
            Some(_) => is_past(all_at, ALL_EVERY_MS),
        }
    }

    pub(super) fn reconcile_tick(&mut self, now: Timestamp) {
        self.forget_the_long_ended(now);
        if !self.is_subscribed() {
            return;
        }
        let mut silent = Vec::new();
        for task in self.state.tasks.values_mut() {
            let heard = task.heard_at.unwrap_or(task.launched_at);
            let unsettled = matches!(task.state, TaskStage::Launching | TaskStage::Unreachable);
            if unsettled && now.millis_since(heard) >= SILENT_MS {
                task.heard_at = Some(now);
                silent.push(task.id);
            }
        }
        if !silent.is_empty() {
            self.reconciliation.pending.extend(silent);
            self.reconciliation.wait = WAIT_MS;
            self.reconciliation.next_at = None;
        }
        if self.reconciliation.next_at.is_none_or(|at| at <= now) {
            self.ask(now);
        }
        if self.asks_for_all(now) {
            self.reconciliation.all_at = Some(now);
            self.call(Call::Reconcile(Vec::new()));
        }
        self.ask_for_agents(now);
    }

    fn forget_the_long_ended(&mut self, now: Timestamp) {
        if self.reconciliation.pruned_at.is_some_and(|at| now.millis_since(at) < 60_000) {
            return;
        }
        self.reconciliation.pruned_at = Some(now);
        let old = |task: &&super::model::EndedTask| now.millis_since(task.at) >= REMEMBERED_MS;
        let forgotten: Vec<AttemptId> = self.state.ended.values().filter(old).map(|task| task.id).collect();
        for id in forgotten {
            self.state.ended.remove(&id);
            self.persist(Write::DeleteTask(id));
        }
        self.forget_the_long_lost(now);
        let tasks = &self.state.tasks;
        let volumes = &self.state.volumes;
        let gone = |agent: &&super::model::Agent| {
            now.millis_since(agent.seen_at) >= REMEMBERED_MS
                && tasks.of_agent(&agent.id).next().is_none()
                && !volumes.values().any(|volume| volume.agent == agent.id)
        };
        let agents: Vec<String> = self.state.agents.values().filter(gone).map(|agent| agent.id.clone()).collect();
        for id in agents {
            self.state.agents.remove(&id);
            self.persist(Write::DeleteAgent(id));
        }
    }
}
