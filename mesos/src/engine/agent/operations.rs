//! Feedback on operations that carry an id: told until it is acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Agent;
use crate::engine::effects::{Effects, Notice};
use crate::engine::records::{OperationRecord, operation_key};
use crate::resources::Resources;
use crate::v1::offer::StatusUuid;
use crate::v1::{FrameworkId, OperationId, OperationState, OperationStatus};

#[derive(Debug)]
struct Pending {
    record: OperationRecord,
    retry_at: Duration,
}

/// The statuses that frameworks have not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Statuses(BTreeMap<(FrameworkId, String), Pending>);

impl Statuses {
    pub(super) fn recovered(&mut self, record: OperationRecord) {
        let id = record.status.operation_id.clone().unwrap_or_default();
        let key = (record.framework_id.clone(), id.value);
        let retry_at = Duration::ZERO;
        self.0.insert(key, Pending { record, retry_at });
    }

    fn tell(pending: &mut Pending, retry: Duration, effects: &mut Effects) {
        pending.retry_at = effects.after(retry);
        effects.notify(Notice::OperationUpdate(
            pending.record.framework_id.clone(),
            Box::new(pending.record.status.clone()),
        ));
    }

    pub(super) fn retell(&mut self, framework: &FrameworkId, retry: Duration, effects: &mut Effects) {
        for (_, pending) in self.0.iter_mut().filter(|(key, _)| key.0 == *framework) {
            Self::tell(pending, retry, effects);
        }
    }

    pub(super) fn expire(&mut self, retry: Duration, effects: &mut Effects) {
        for pending in self.0.values_mut() {
            if effects.is_past(pending.retry_at) {
                Self::tell(pending, retry, effects);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.0.values().map(|pending| pending.retry_at).min()
    }

    /// The framework is removed: nobody will acknowledge.
    pub(super) fn forget(&mut self, framework: &FrameworkId, effects: &mut Effects) {
        self.0.retain(|key, _| {
            let keep = key.0 != *framework;
            if !keep {
                effects.delete(operation_key(&key.0, &key.1));
            }
            keep
        });
    }
}

impl Agent {
    /// An operation with an id was done.
    pub(crate) fn operation_finished(
        &mut self,
        framework_id: &FrameworkId,
        operation_id: OperationId,
        converted: &Resources,
        effects: &mut Effects,
    ) {
        let key = (framework_id.clone(), operation_id.value.clone());
        let status = OperationStatus {
            operation_id: Some(operation_id),
            state: OperationState::Finished as i32,
            converted_resources: converted.to_vec(),
            uuid: Some(StatusUuid { value: uuid::Uuid::new_v4().into_bytes().to_vec() }),
            agent_id: Some(self.config.agent_id.clone()),
            ..OperationStatus::default()
        };
        let record = OperationRecord { framework_id: framework_id.clone(), status };
        effects.put(operation_key(&key.0, &key.1), &record);
        let retry_at = Duration::ZERO;
        let mut pending = Pending { record, retry_at };
        Statuses::tell(&mut pending, self.config.timing.status_retry, effects);
        self.operations.0.insert(key, pending);
    }

    /// The framework has stored an operation's status.
    pub(crate) fn acknowledge_operation(
        &mut self,
        framework_id: &FrameworkId,
        operation_id: &OperationId,
        uuid: &[u8],
        effects: &mut Effects,
    ) {
        let key = (framework_id.clone(), operation_id.value.clone());
        let pending = self.operations.0.get(&key);
        let expected = pending.and_then(|pending| pending.record.status.uuid.as_ref());
        if expected.is_some_and(|expected| expected.value == uuid) {
            self.operations.0.remove(&key);
            effects.delete(operation_key(&key.0, &key.1));
        }
    }

    /// The unacknowledged status of an operation.
    pub(crate) fn operation(&self, framework_id: &FrameworkId, operation_id: &OperationId) -> Option<&OperationStatus> {
        let key = (framework_id.clone(), operation_id.value.clone());
        self.operations.0.get(&key).map(|pending| &pending.record.status)
    }

    /// All unacknowledged statuses of a framework's operations.
    pub(crate) fn operations_of(&self, framework_id: &FrameworkId) -> Vec<OperationStatus> {
        let own = self.operations.0.iter().filter(|(key, _)| key.0 == *framework_id);
        own.map(|(_, pending)| pending.record.status.clone()).collect()
    }
}
