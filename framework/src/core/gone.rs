//! Agents that were marked as gone at Mesos (`MARK_AGENT_GONE`): they never come back, and what lies on them is lost.
//!
//! Whoever has a task on such an agent is told by that task's end. Of an agent that only keeps volumes nobody is told: it is
//! asked for by name, with a task that it never had, and the master answers what it knows of the agent.

use super::Core;
use super::model::{Fate, Phase, Volume};
use super::output::{Call, Write};
use super::reconcile::{REMEMBERED_MS, TOGETHER};
use bigdata_common::Timestamp;
use bigdata_mesos::v1::{AgentId, TaskState, TaskStatus};
use std::collections::BTreeSet;

/// The task that is asked for. No attempt has such an id.
pub(super) const QUESTION: &str = "whether-the-agent-is-gone";
/// How often it is asked of each agent.
const ASK_EVERY_MS: u64 = 60_000;

/// When it was asked last; None: not since the subscription.
#[derive(Debug, Default)]
pub(crate) struct Question {
    asked_at: Option<Timestamp>,
}

impl Core {
    /// Asks for the agents that keep volumes of ours, and neither have a task of ours nor make an offer: one that does is not
    /// gone.
    pub(super) fn ask_for_agents(&mut self, now: Timestamp) {
        if self.question.asked_at.is_some_and(|at| now.millis_since(at) < ASK_EVERY_MS) {
            return;
        }
        self.question.asked_at = Some(now);
        let keeps = self.state.volumes.values().filter(|volume| volume.lost_at.is_none());
        let agents: BTreeSet<&str> = keeps.map(|volume| volume.agent.as_str()).collect();
        let is_silent =
            |agent: &str| self.state.tasks.of_agent(agent).next().is_none() && self.held_of(agent).next().is_none();
        let silent = agents.into_iter().filter(|agent| is_silent(agent));
        let questions: Vec<_> = silent.map(|agent| (QUESTION.into(), Some(AgentId::from(agent)))).collect();
        for together in questions.chunks(TOGETHER) {
            self.call(Call::Reconcile(together.to_vec()));
        }
    }

    /// From now on everything is asked anew.
    pub(super) fn ask_for_agents_anew(&mut self) {
        self.question = Question::default();
    }

    /// The master's answer. An agent that it does not know may be one that it has not heard of yet.
    pub(super) fn told_of_agent(&mut self, status: &TaskStatus, now: Timestamp) {
        if let (TaskState::GoneByOperator, Some(agent)) = (status.state(), &status.agent_id) {
            self.agent_is_gone(agent.as_str(), now);
        }
    }

    /// Whoever may goes on without the agent, and what was left on it is lost.
    pub(super) fn agent_is_gone(&mut self, agent: &str, now: Timestamp) {
        self.give_up_gone(agent, now);
        let is_lost = |volume: &&Volume| {
            let is_given_up = volume.fate == Fate::Doomed || self.why_left(volume).is_some();
            volume.agent == agent && volume.lost_at.is_none() && is_given_up
        };
        let lost: Vec<String> = self.state.volumes.values().filter(is_lost).map(|volume| volume.id.clone()).collect();
        for id in lost {
            let Some(volume) = self.state.volumes.lose(&id, now) else { continue };
            let words = lost_in_words(&volume);
            tracing::warn!(agent, cluster = %volume.cluster, "{words}");
            self.persist(Write::Volume(Box::new(volume.clone())));
            if let Some(cluster) = self.state.clusters.get_mut(&volume.cluster)
                && let Phase::Releasing { leftovers, .. } = &mut cluster.phase
            {
                leftovers.push(words);
                self.store_cluster(&volume.cluster);
            }
            self.changed = true;
        }
    }

    /// What was lost is told for as long as attempts that have ended are remembered.
    pub(super) fn forget_the_long_lost(&mut self, now: Timestamp) {
        let is_old = |volume: &&Volume| volume.lost_at.is_some_and(|at| now.millis_since(at) >= REMEMBERED_MS);
        let old: Vec<String> = self.state.volumes.values().filter(is_old).map(|volume| volume.id.clone()).collect();
        for id in old {
            self.state.volumes.remove(&id);
            self.persist(Write::DeleteVolume(id));
        }
    }
}

fn lost_in_words(volume: &Volume) -> String {
    format!("{} is lost with its agent, which was marked as gone", super::release::in_words(volume))
}
