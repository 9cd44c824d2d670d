//! The master's half of the core: frameworks, their offers, and their calls.

mod accept;
mod allocation;
mod events;
pub(crate) mod framework;
mod launch;
mod reconciliation;
mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use allocation::OfferBook;
use framework::{Framework, Link};

use super::agent::Agent;
use super::effects::{Answer, Config, Connection, Effects, ExecutorKey, Notice, Output, Refusal};
use super::records::{FrameworkRecord, IdentityRecord, framework_key, gone_key};
use crate::v1::scheduler::{Call, CallType};
use crate::v1::{FrameworkId, FrameworkInfo};

#[derive(Debug)]
pub(crate) struct Master {
    config: Config,
    identity: IdentityRecord,
    frameworks: BTreeMap<FrameworkId, Framework>,
    /// Removed frameworks, whose ids must not come back.
    gone: BTreeSet<FrameworkId>,
    offers: OfferBook,
}

impl Master {
    pub(crate) fn new(config: Config, identity: IdentityRecord) -> Self {
        let offers = OfferBook::new(&identity);
        Master { config, identity, frameworks: BTreeMap::new(), gone: BTreeSet::new(), offers }
    }

    /// A framework of before the engine's death; it has time to come back.
    pub(crate) fn recover_framework(&mut self, record: FrameworkRecord, now: Duration) {
        let id = record.info.id.clone().unwrap_or_default();
        let link = Link::Away { remove_at: Duration::MAX };
        let mut framework = Framework::new(record.info, &record.suppressed, link);
        let timeout = framework.failover_timeout().max(self.config.timing.recovered_framework);
        framework.link = Link::Away { remove_at: now.saturating_add(timeout) };
        self.frameworks.insert(id, framework);
    }

    pub(crate) fn recover_gone(&mut self, id: FrameworkId) {
        self.gone.insert(id);
    }

    pub(crate) fn frameworks(&self) -> impl Iterator<Item = (&FrameworkId, &Framework)> {
        self.frameworks.iter()
    }

    /// A call beside the subscription.
    pub(crate) fn call(
        &mut self,
        stream_id: Option<&str>,
        call: Call,
        agent: &mut Agent,
        effects: &mut Effects,
    ) -> Answer {
        let id = self.caller(stream_id, &call)?;
        let missing = |field| Refusal::bad(format!("Expecting '{field}' to be present"));
        match call.r#type() {
            CallType::Teardown => self.remove(&id, agent, effects),
            CallType::Accept => {
                let accept = call.accept.ok_or_else(|| missing("accept"))?;
                self.accept(&id, accept, agent, effects);
            }
            CallType::Decline => {
                let decline = call.decline.ok_or_else(|| missing("decline"))?;
                self.decline(&id, &decline, agent, effects);
            }
            CallType::Revive => self.revive(&id, &call.revive.unwrap_or_default().roles, effects),
            CallType::Suppress => {
                self.suppress(&id, &call.suppress.unwrap_or_default().roles, effects);
            }
            CallType::Kill => {
                let kill = call.kill.ok_or_else(|| missing("kill"))?;
                self.kill(&id, kill, agent, effects);
            }
            CallType::Acknowledge => {
                let acknowledge = call.acknowledge.ok_or_else(|| missing("acknowledge"))?;
                let key = (id, acknowledge.task_id);
                agent.acknowledge(&key, &acknowledge.uuid, effects);
            }
            CallType::AcknowledgeOperationStatus => {
                let field = "acknowledge_operation_status";
                let acknowledge = call.acknowledge_operation_status.ok_or_else(|| missing(field))?;
                let (operation, uuid) = (&acknowledge.operation_id, &acknowledge.uuid);
                agent.acknowledge_operation(&id, operation, uuid, effects);
            }
            CallType::Reconcile => {
                let reconcile = call.reconcile.ok_or_else(|| missing("reconcile"))?;
                self.reconcile(&id, &reconcile.tasks, agent, effects);
            }
            CallType::ReconcileOperations => {
                let field = "reconcile_operations";
                let reconcile = call.reconcile_operations.ok_or_else(|| missing(field))?;
                self.reconcile_operations(&id, &reconcile.operations, agent, effects);
            }
            CallType::Message => {
                let message = call.message.ok_or_else(|| missing("message"))?;
                let executor_id = message.executor_id;
                let framework_id = id;
                let key = ExecutorKey { framework_id, executor_id };
                agent.message(&key, message.data, effects);
            }
            CallType::Shutdown => {
                let shutdown = call.shutdown.ok_or_else(|| missing("shutdown"))?;
                let executor_id = shutdown.executor_id;
                let framework_id = id;
                agent.shut_down(&ExecutorKey { framework_id, executor_id }, effects);
            }
            CallType::UpdateFramework => {
                let update = call.update_framework.ok_or_else(|| missing("update_framework"))?;
                self.update_framework(&id, update, agent, effects)?;
            }
            // There is nothing to ask for, and inverse offers are never made here.
            CallType::Request | CallType::AcceptInverseOffers | CallType::DeclineInverseOffers => {}
            CallType::Unknown | CallType::Subscribe => {
                return Err(Refusal::with_status(501, "Received 'UNKNOWN' call"));
            }
        }
        Ok(())
    }

    /// The framework that a call comes from, if it is subscribed and the stream is its own.
    fn caller(&self, stream_id: Option<&str>, call: &Call) -> Result<FrameworkId, Refusal> {
        let id = call.framework_id.clone();
        let id = id.ok_or_else(|| {
            Refusal::bad("Failed to validate scheduler::Call: Expecting 'framework_id' to be present")
        })?;
        let framework = self.frameworks.get(&id);
        let framework = framework.ok_or_else(|| Refusal::bad("Framework cannot be found"))?;
        let Link::Connected { stream_id: expected, .. } = &framework.link else {
            return Err(Refusal::with_status(403, "Framework is not subscribed"));
        };
        match stream_id {
            None => Err(Refusal::bad("All non-subscribe calls should include the 'Mesos-Stream-Id' header")),
            Some(given) if given != expected => Err(Refusal::bad(format!(
                "The stream ID '{given}' included in this request didn't match the stream ID currently associated \
                 with framework ID '{id}'"
            ))),
            Some(_) => Ok(id),
        }
    }

    fn revive(&mut self, id: &FrameworkId, roles: &[String], effects: &mut Effects) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let listed = |role: &String| roles.is_empty() || roles.contains(role);
        framework.suppressed.retain(|role| !listed(role));
        framework.forget_refusals(roles);
        effects.put(framework_key(id), &framework.record());
        self.offers.wanted();
    }

    fn suppress(&mut self, id: &FrameworkId, roles: &[String], effects: &mut Effects) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let all = framework.info.all_roles();
        let roles = if roles.is_empty() { &all } else { roles };
        framework.suppressed.extend(roles.iter().cloned());
        effects.put(framework_key(id), &framework.record());
        self.offers.wanted();
    }

    fn kill(&mut self, id: &FrameworkId, kill: crate::v1::scheduler::Kill, agent: &mut Agent, effects: &mut Effects) {
        let key = (id.clone(), kill.task_id.clone());
        if agent.task(&key.0, &key.1).is_some() {
            agent.kill(&key, kill.kill_policy, effects);
        } else {
            let task = crate::v1::scheduler::ReconcileTask { task_id: kill.task_id, agent_id: kill.agent_id };
            self.reconcile(id, &[task], agent, effects);
        }
    }

    /// A stream's other side is gone. Says whether the stream was a scheduler's.
    pub(crate) fn closed(&mut self, connection: Connection, agent: &mut Agent, effects: &mut Effects) -> bool {
        let mut frameworks = self.frameworks.iter_mut();
        let Some((id, framework)) = frameworks.find(|(_, one)| one.connection() == Some(connection)) else {
            return false;
        };
        let remove_at = effects.after(framework.failover_timeout());
        framework.link = Link::Away { remove_at };
        let id = id.clone();
        self.offers.take_all_of(&id, agent);
        true
    }

    /// Removes a framework for good.
    fn remove(&mut self, id: &FrameworkId, agent: &mut Agent, effects: &mut Effects) {
        self.offers.take_all_of(id, agent);
        if let Some(framework) = self.frameworks.remove(id) {
            if let Some(connection) = framework.connection() {
                effects.emit(Output::Close(connection));
            }
            effects.delete(framework_key(id));
            effects.put(gone_key(id), &super::records::GoneRecord {});
            self.gone.insert(id.clone());
            agent.remove_framework(id, effects);
        }
    }

    /// Passes what the agent tells on to whom it concerns.
    pub(crate) fn notice(&mut self, notice: Notice, effects: &mut Effects) {
        let (id, event) = match notice {
            Notice::Freed => return self.offers.wanted(),
            Notice::Update(id, status) => (id, events::update(*status)),
            Notice::OperationUpdate(id, status) => (id, events::operation_update(*status)),
            Notice::Message { framework_id, executor_id, data } => {
                let agent_id = self.config.agent_id.clone();
                (framework_id, events::message(agent_id, executor_id, data))
            }
            Notice::ExecutorEnded { framework_id, executor_id, status } => {
                let agent_id = self.config.agent_id.clone();
                (framework_id, events::failure(agent_id, executor_id, status))
            }
        };
        let connection = self.frameworks.get(&id).and_then(Framework::connection);
        if let Some(connection) = connection {
            effects.tell_scheduler(connection, event);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let frameworks = self.frameworks.values().filter_map(Framework::deadline);
        frameworks.chain(self.offers.deadline()).min()
    }

    pub(crate) fn expire(&mut self, agent: &mut Agent, effects: &mut Effects) {
        let now = effects.now.elapsed;
        let mut over = Vec::new();
        for (id, framework) in &mut self.frameworks {
            if framework.expire_refusals(now) {
                self.offers.wanted();
            }
            match &mut framework.link {
                Link::Connected { connection, heartbeat_at, .. } if *heartbeat_at <= now => {
                    *heartbeat_at = now + self.config.timing.heartbeat;
                    let connection = *connection;
                    effects.tell_scheduler(connection, events::heartbeat());
                }
                Link::Away { remove_at } if *remove_at <= now => over.push(id.clone()),
                Link::Connected { .. } | Link::Away { .. } => {}
            }
        }
        for id in over {
            self.remove(&id, agent, effects);
        }
        self.rescind_old_offers(agent, effects);
    }

    fn info_of(&self, id: &FrameworkId) -> Option<&FrameworkInfo> {
        self.frameworks.get(id).map(|framework| &framework.info)
    }
}
