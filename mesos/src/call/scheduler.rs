//! Calls of a scheduler. The client fills the framework's id in.

use crate::v1::scheduler::{
    Accept, Acknowledge, AcknowledgeOperationStatus, AnswerInverseOffers, Call, CallType, Decline, Kill, Message,
    Reconcile, ReconcileOperation, ReconcileOperations, ReconcileTask, Roles, Shutdown, Subscribe,
};
use crate::v1::{
    AgentId, ExecutorId, Filters, FrameworkInfo, KillPolicy, OfferId, Operation, OperationId, OperationStatus, TaskId,
    TaskStatus,
};

fn call(r#type: CallType) -> Call {
    Call { r#type: Some(r#type as i32), ..Call::default() }
}

/// Subscribes; with `framework_info.id`, the framework of that id again.
#[must_use]
pub fn subscribe(framework_info: FrameworkInfo, suppressed_roles: Vec<String>) -> Call {
    Call {
        framework_id: framework_info.id.clone(),
        subscribe: Some(Subscribe { framework_info, suppressed_roles }),
        ..call(CallType::Subscribe)
    }
}

/// Ends the framework: all its tasks and executors end too.
#[must_use]
pub fn teardown() -> Call {
    call(CallType::Teardown)
}

/// Uses offers of one agent; what `operations` leave is refused as `filters` say (default: for 5 s).
#[must_use]
pub fn accept(offer_ids: Vec<OfferId>, operations: Vec<Operation>, filters: Option<Filters>) -> Call {
    Call { accept: Some(Accept { offer_ids, operations, filters }), ..call(CallType::Accept) }
}

/// Refuses offers (default: for 5 s).
#[must_use]
pub fn decline(offer_ids: Vec<OfferId>, filters: Option<Filters>) -> Call {
    Call { decline: Some(Decline { offer_ids, filters }), ..call(CallType::Decline) }
}

/// Agrees that resources go away.
#[must_use]
pub fn accept_inverse_offers(inverse_offer_ids: Vec<OfferId>, filters: Option<Filters>) -> Call {
    Call {
        accept_inverse_offers: Some(AnswerInverseOffers { inverse_offer_ids, filters }),
        ..call(CallType::AcceptInverseOffers)
    }
}

/// Says that resources cannot be given up.
#[must_use]
pub fn decline_inverse_offers(inverse_offer_ids: Vec<OfferId>, filters: Option<Filters>) -> Call {
    Call {
        decline_inverse_offers: Some(AnswerInverseOffers { inverse_offer_ids, filters }),
        ..call(CallType::DeclineInverseOffers)
    }
}

/// Forgets all filters and asks for offers for `roles` (none: all) again.
#[must_use]
pub fn revive(roles: Vec<String>) -> Call {
    Call { revive: Some(Roles { roles }), ..call(CallType::Revive) }
}

/// Asks for no offers for `roles` (none: all).
#[must_use]
pub fn suppress(roles: Vec<String>) -> Call {
    Call { suppress: Some(Roles { roles }), ..call(CallType::Suppress) }
}

/// Ends a task.
#[must_use]
pub fn kill(task_id: TaskId, agent_id: Option<AgentId>, kill_policy: Option<KillPolicy>) -> Call {
    Call { kill: Some(Kill { task_id, agent_id, kill_policy }), ..call(CallType::Kill) }
}

/// Ends an executor; its tasks end with it.
#[must_use]
pub fn shutdown(executor_id: ExecutorId, agent_id: AgentId) -> Call {
    Call { shutdown: Some(Shutdown { executor_id, agent_id }), ..call(CallType::Shutdown) }
}

/// Says that a status is stored; `None` for one that needs no acknowledgement.
#[must_use]
pub fn acknowledge(status: &TaskStatus) -> Option<Call> {
    Some(Call {
        acknowledge: Some(Acknowledge {
            agent_id: status.agent_id.clone()?,
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone().filter(|uuid| !uuid.is_empty())?,
        }),
        ..call(CallType::Acknowledge)
    })
}

/// Says that an operation's status is stored; `None` for one that needs no acknowledgement.
#[must_use]
pub fn acknowledge_operation(status: &OperationStatus) -> Option<Call> {
    let uuid = status.uuid.clone()?.value;
    Some(Call {
        acknowledge_operation_status: Some(AcknowledgeOperationStatus {
            agent_id: status.agent_id.clone(),
            uuid,
            operation_id: status.operation_id.clone()?,
        }),
        ..call(CallType::AcknowledgeOperationStatus)
    })
}

/// Asks how `tasks` are (none: all of the framework's that the master knows).
#[must_use]
pub fn reconcile(tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) -> Call {
    let tasks = tasks.into_iter();
    Call {
        reconcile: Some(Reconcile {
            tasks: tasks.map(|(task_id, agent_id)| ReconcileTask { task_id, agent_id }).collect(),
        }),
        ..call(CallType::Reconcile)
    }
}

/// Asks how `operations` are (none: all of the framework's).
#[must_use]
pub fn reconcile_operations(operations: impl IntoIterator<Item = (OperationId, Option<AgentId>)>) -> Call {
    let operations = operations.into_iter();
    let one = |(operation_id, agent_id)| ReconcileOperation { operation_id, agent_id };
    Call {
        reconcile_operations: Some(ReconcileOperations { operations: operations.map(one).collect() }),
        ..call(CallType::ReconcileOperations)
    }
}

/// Speaks to an executor; delivered at most once.
#[must_use]
pub fn message(agent_id: AgentId, executor_id: ExecutorId, data: Vec<u8>) -> Call {
    Call { message: Some(Message { agent_id, executor_id, data }), ..call(CallType::Message) }
}

/// Changes what the framework said of itself; its id must be in `framework_info`.
#[must_use]
pub fn update_framework(framework_info: FrameworkInfo, suppressed_roles: Vec<String>) -> Call {
    Call {
        framework_id: framework_info.id.clone(),
        update_framework: Some(Subscribe { framework_info, suppressed_roles }),
        ..call(CallType::UpdateFramework)
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::TaskState;

    use super::*;

    #[test]
    fn a_subscription_again_names_the_framework_twice() {
        let mut info = FrameworkInfo { user: "root".to_owned(), name: "test".to_owned(), ..FrameworkInfo::default() };
        assert_eq!(subscribe(info.clone(), Vec::new()).framework_id, None);
        info.id = Some("f-1".into());
        let call = subscribe(info.clone(), Vec::new());
        assert_eq!(call.framework_id, info.id);
        assert_eq!(call.subscribe.unwrap().framework_info.id, info.id);
    }

    #[test]
    fn only_a_status_with_a_uuid_and_an_agent_is_acknowledged() {
        let mut status = TaskStatus::new("t", TaskState::Running);
        status.agent_id = Some("a".into());
        assert_eq!(acknowledge(&status), None);
        status.uuid = Some(Vec::new());
        assert_eq!(acknowledge(&status), None);
        status.uuid = Some(vec![7; 16]);
        let call = acknowledge(&status).unwrap();
        assert_eq!(call.r#type(), CallType::Acknowledge);
        assert_eq!(call.acknowledge.unwrap().uuid, vec![7; 16]);
    }
}
