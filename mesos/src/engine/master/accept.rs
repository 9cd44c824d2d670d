//! ACCEPT: operations, in order, on the resources of one or several offers.

use std::collections::BTreeSet;

use super::{Master, events};
use crate::engine::agent::Agent;
use crate::engine::effects::{Effects, Output, VolumeLink};
use crate::engine::operations::{Context, conversion};
use crate::engine::records::{DoomedRecord, doomed_key};
use crate::resources::Resources;
use crate::v1::scheduler::Accept;
use crate::v1::{
    CapabilityType, FrameworkId, OfferId, Operation, OperationState, OperationStatus, OperationType, Reason, Resource,
    Source, TaskInfo, TaskState, TaskStatus,
};

/// What an ACCEPT may still use.
pub(super) struct Batch {
    pub(super) role: String,
    pub(super) left: Resources,
}

impl Master {
    pub(super) fn accept(&mut self, id: &FrameworkId, accept: Accept, agent: &mut Agent, effects: &mut Effects) {
        let mut batch = match self.take_offers(id, &accept.offer_ids, agent) {
            Ok(batch) => batch,
            Err(fault) => return self.refuse_all(id, accept.operations, &fault, effects),
        };
        for operation in accept.operations {
            if operation.r#type() == OperationType::Launch {
                let tasks = operation.launch.unwrap_or_default().task_infos;
                for task in tasks {
                    self.launch(id, task, &mut batch, agent, effects);
                }
            } else {
                self.operate(id, operation, &mut batch, agent, effects);
            }
        }
        agent.pool.give(&batch.left);
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.refuse(&batch.role, batch.left, accept.filters, effects.now.elapsed);
        }
    }

    /// Takes the offers out, if all can be used together.
    fn take_offers(&mut self, id: &FrameworkId, offer_ids: &[OfferId], agent: &mut Agent) -> Result<Batch, String> {
        let fault = self.offers_fault(id, offer_ids);
        let mut batch = Batch { role: String::new(), left: Resources::new() };
        for offer_id in offer_ids {
            if self.offers.get(offer_id).is_some_and(|offer| offer.framework_id == *id)
                && let Some(offer) = self.offers.take(offer_id)
            {
                batch.role = offer.role;
                batch.left.add_all(&offer.resources);
            }
        }
        match fault {
            None => Ok(batch),
            Some(fault) => {
                agent.pool.give(&batch.left);
                Err(fault)
            }
        }
    }

    fn offers_fault(&self, id: &FrameworkId, offer_ids: &[OfferId]) -> Option<String> {
        if offer_ids.is_empty() {
            return Some("No offers specified".to_owned());
        }
        let mut seen = BTreeSet::new();
        let mut roles = BTreeSet::new();
        for offer_id in offer_ids {
            if !seen.insert(offer_id) {
                return Some(format!("Duplicate offer {offer_id} in offer list"));
            }
            match self.offers.get(offer_id) {
                None => return Some(format!("Offer {offer_id} is no longer valid")),
                Some(offer) if offer.framework_id != *id => {
                    return Some(format!("Offer {offer_id} has invalid framework {}", offer.framework_id));
                }
                Some(offer) => roles.insert(&offer.role),
            };
        }
        (roles.len() > 1).then(|| "Aggregating offers of several roles is not allowed".to_owned())
    }

    /// Says of every task and operation that it could not be.
    fn refuse_all(&self, id: &FrameworkId, operations: Vec<Operation>, fault: &str, effects: &mut Effects) {
        for operation in operations {
            if let Some(launch) = &operation.launch {
                for task in &launch.task_infos {
                    let message = format!("Task launched with invalid offers: {fault}");
                    let state = self.lost_or(id, TaskState::Dropped);
                    self.refuse_task(id, task, state, Reason::InvalidOffers, &message, effects);
                }
            } else {
                let message = format!("Operation attempted with invalid offers: {fault}");
                self.refuse_operation(id, &operation, &message, effects);
            }
        }
    }

    /// `state` for frameworks that know it; the others hear TASK_LOST, as in Mesos before 1.1.
    pub(super) fn lost_or(&self, id: &FrameworkId, state: TaskState) -> TaskState {
        let aware = self.info_of(id).is_some_and(|info| info.has(CapabilityType::PartitionAware));
        if aware { state } else { TaskState::Lost }
    }

    /// Tells of a task that was never started. The status is not to be acknowledged.
    pub(super) fn refuse_task(
        &self,
        id: &FrameworkId,
        task: &TaskInfo,
        state: TaskState,
        reason: Reason,
        message: &str,
        effects: &mut Effects,
    ) {
        let status = TaskStatus {
            message: Some(message.to_owned()),
            source: Some(Source::Master as i32),
            reason: Some(reason as i32),
            agent_id: Some(task.agent_id.clone()),
            timestamp: Some(effects.now.unix.as_secs_f64()),
            ..TaskStatus::new(task.task_id.clone(), state)
        };
        let framework = self.frameworks.get(id);
        if let Some(connection) = framework.and_then(super::Framework::connection) {
            effects.tell_scheduler(connection, events::update(status));
        }
    }

    fn refuse_operation(&self, id: &FrameworkId, operation: &Operation, message: &str, effects: &mut Effects) {
        tracing::info!(framework = %id, message, "an operation is refused");
        let Some(operation_id) = &operation.id else { return };
        let status = OperationStatus {
            operation_id: Some(operation_id.clone()),
            state: OperationState::Error as i32,
            message: Some(message.to_owned()),
            ..OperationStatus::default()
        };
        let framework = self.frameworks.get(id);
        if let Some(connection) = framework.and_then(super::Framework::connection) {
            effects.tell_scheduler(connection, events::operation_update(status));
        }
    }

    /// RESERVE, UNRESERVE, CREATE or DESTROY.
    fn operate(
        &self,
        id: &FrameworkId,
        operation: Operation,
        batch: &mut Batch,
        agent: &mut Agent,
        effects: &mut Effects,
    ) {
        let Some(info) = self.info_of(id) else { return };
        let operation = plain(operation);
        let context = Context { role: &batch.role, principal: info.principal.as_deref(), total: agent.pool.total() };
        let converted = conversion(&operation, context).and_then(|conversion| {
            let taken = batch.left.subtract_all(&conversion.consumed);
            taken.map(|()| conversion).map_err(|fault| fault.to_string())
        });
        let conversion = match converted {
            Ok(conversion) => conversion,
            Err(fault) => return self.refuse_operation(id, &operation, &fault, effects),
        };
        batch.left.add_all(&conversion.produced);
        agent.pool.convert(&conversion, effects);
        match operation.r#type() {
            OperationType::Create => {
                for VolumeLink { role, id, root, .. } in VolumeLink::all(&conversion.produced.to_vec()) {
                    effects.emit(Output::CreateVolume { role, id, root });
                }
            }
            OperationType::Destroy => {
                for VolumeLink { role, id, .. } in VolumeLink::all(&conversion.consumed.to_vec()) {
                    let record = DoomedRecord { role: role.clone(), id: id.clone() };
                    effects.put(doomed_key(&role, &id), &record);
                    effects.emit(Output::RemoveVolume { role, id });
                }
            }
            _ => {}
        }
        if let Some(operation_id) = operation.id {
            agent.operation_finished(id, operation_id, &conversion.produced, effects);
        }
    }
}

/// The operation with resources as the pool counts them.
fn plain(mut operation: Operation) -> Operation {
    let plain = |resources: &mut Vec<Resource>| {
        for resource in resources {
            *resource = resource.refined().allocated_to(None);
        }
    };
    if let Some(reserve) = &mut operation.reserve {
        plain(&mut reserve.resources);
    }
    if let Some(unreserve) = &mut operation.unreserve {
        plain(&mut unreserve.resources);
    }
    if let Some(create) = &mut operation.create {
        plain(&mut create.volumes);
    }
    if let Some(destroy) = &mut operation.destroy {
        plain(&mut destroy.volumes);
    }
    operation
}
