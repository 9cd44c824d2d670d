//! `mesos.v1.scheduler`: between a framework's scheduler and the master.

use super::ids::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, TaskId};
use super::offer::{Filters, InverseOffer, Offer, Operation, OperationStatus};
use super::{FrameworkInfo, KillPolicy, MasterInfo, TaskStatus};

/// From the master. [`crate::event::SchedulerEvent`] is the checked form.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    #[prost(enumeration = "EventType", optional, tag = "1")]
    pub r#type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub subscribed: Option<Subscribed>,
    #[prost(message, optional, tag = "3")]
    pub offers: Option<Offers>,
    #[prost(message, optional, tag = "9")]
    pub inverse_offers: Option<InverseOffers>,
    #[prost(message, optional, tag = "4")]
    pub rescind: Option<Rescind>,
    #[prost(message, optional, tag = "10")]
    pub rescind_inverse_offer: Option<Rescind>,
    #[prost(message, optional, tag = "5")]
    pub update: Option<Update>,
    #[prost(message, optional, tag = "11")]
    pub update_operation_status: Option<UpdateOperationStatus>,
    #[prost(message, optional, tag = "6")]
    pub message: Option<Message>,
    #[prost(message, optional, tag = "7")]
    pub failure: Option<Failure>,
    #[prost(message, optional, tag = "8")]
    pub error: Option<Error>,
}

named_enum!(
    /// See [`Event`].
    pub enum EventType {
        Unknown = 0 => "UNKNOWN",
        Subscribed = 1 => "SUBSCRIBED",
        Offers = 2 => "OFFERS",
        InverseOffers = 9 => "INVERSE_OFFERS",
        Rescind = 3 => "RESCIND",
        RescindInverseOffer = 10 => "RESCIND_INVERSE_OFFER",
        Update = 4 => "UPDATE",
        UpdateOperationStatus = 11 => "UPDATE_OPERATION_STATUS",
        Message = 5 => "MESSAGE",
        Failure = 6 => "FAILURE",
        Error = 7 => "ERROR",
        Heartbeat = 8 => "HEARTBEAT",
    }
);

#[derive(Clone, PartialEq, prost::Message)]
pub struct Subscribed {
    #[prost(message, required, tag = "1")]
    pub framework_id: FrameworkId,
    #[prost(double, optional, tag = "2")]
    pub heartbeat_interval_seconds: Option<f64>,
    #[prost(message, optional, tag = "3")]
    pub master_info: Option<MasterInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Offers {
    #[prost(message, repeated, tag = "1")]
    pub offers: Vec<Offer>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct InverseOffers {
    #[prost(message, repeated, tag = "1")]
    pub inverse_offers: Vec<InverseOffer>,
}

/// Takes an offer or an inverse offer back.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Rescind {
    #[prost(message, required, tag = "1")]
    pub offer_id: OfferId,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Update {
    #[prost(message, required, tag = "1")]
    pub status: TaskStatus,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateOperationStatus {
    #[prost(message, required, tag = "1")]
    pub status: OperationStatus,
}

/// Between a scheduler and an executor, delivered at most once.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Message {
    #[prost(message, required, tag = "1")]
    pub agent_id: AgentId,
    #[prost(message, required, tag = "2")]
    pub executor_id: ExecutorId,
    #[prost(bytes = "vec", required, tag = "3")]
    pub data: Vec<u8>,
}

/// An agent was removed or, with an executor's id, an executor ended.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Failure {
    #[prost(message, optional, tag = "1")]
    pub agent_id: Option<AgentId>,
    #[prost(message, optional, tag = "2")]
    pub executor_id: Option<ExecutorId>,
    /// As `wait(2)` gives it.
    #[prost(int32, optional, tag = "3")]
    pub status: Option<i32>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Error {
    #[prost(string, required, tag = "1")]
    pub message: String,
}

/// To the master. Built by [`crate::call::scheduler`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Call {
    #[prost(message, optional, tag = "1")]
    pub framework_id: Option<FrameworkId>,
    #[prost(enumeration = "CallType", optional, tag = "2")]
    pub r#type: Option<i32>,
    #[prost(message, optional, tag = "3")]
    pub subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "4")]
    pub accept: Option<Accept>,
    #[prost(message, optional, tag = "5")]
    pub decline: Option<Decline>,
    #[prost(message, optional, tag = "13")]
    pub accept_inverse_offers: Option<AnswerInverseOffers>,
    #[prost(message, optional, tag = "14")]
    pub decline_inverse_offers: Option<AnswerInverseOffers>,
    #[prost(message, optional, tag = "15")]
    pub revive: Option<Roles>,
    #[prost(message, optional, tag = "6")]
    pub kill: Option<Kill>,
    #[prost(message, optional, tag = "7")]
    pub shutdown: Option<Shutdown>,
    #[prost(message, optional, tag = "8")]
    pub acknowledge: Option<Acknowledge>,
    #[prost(message, optional, tag = "17")]
    pub acknowledge_operation_status: Option<AcknowledgeOperationStatus>,
    #[prost(message, optional, tag = "9")]
    pub reconcile: Option<Reconcile>,
    #[prost(message, optional, tag = "18")]
    pub reconcile_operations: Option<ReconcileOperations>,
    #[prost(message, optional, tag = "10")]
    pub message: Option<Message>,
    #[prost(message, optional, tag = "16")]
    pub suppress: Option<Roles>,
    #[prost(message, optional, tag = "19")]
    pub update_framework: Option<Subscribe>,
}

named_enum!(
    /// See [`Call`].
    pub enum CallType {
        Unknown = 0 => "UNKNOWN",
        Subscribe = 1 => "SUBSCRIBE",
        Teardown = 2 => "TEARDOWN",
        Accept = 3 => "ACCEPT",
        Decline = 4 => "DECLINE",
        AcceptInverseOffers = 13 => "ACCEPT_INVERSE_OFFERS",
        DeclineInverseOffers = 14 => "DECLINE_INVERSE_OFFERS",
        Revive = 5 => "REVIVE",
        Kill = 6 => "KILL",
        Shutdown = 7 => "SHUTDOWN",
        Acknowledge = 8 => "ACKNOWLEDGE",
        AcknowledgeOperationStatus = 15 => "ACKNOWLEDGE_OPERATION_STATUS",
        Reconcile = 9 => "RECONCILE",
        ReconcileOperations = 16 => "RECONCILE_OPERATIONS",
        Message = 10 => "MESSAGE",
        Request = 11 => "REQUEST",
        Suppress = 12 => "SUPPRESS",
        UpdateFramework = 17 => "UPDATE_FRAMEWORK",
    }
);

/// Of SUBSCRIBE and of UPDATE_FRAMEWORK.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Subscribe {
    #[prost(message, required, tag = "1")]
    pub framework_info: FrameworkInfo,
    #[prost(string, repeated, tag = "2")]
    pub suppressed_roles: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Accept {
    #[prost(message, repeated, tag = "1")]
    pub offer_ids: Vec<OfferId>,
    #[prost(message, repeated, tag = "2")]
    pub operations: Vec<Operation>,
    #[prost(message, optional, tag = "3")]
    pub filters: Option<Filters>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Decline {
    #[prost(message, repeated, tag = "1")]
    pub offer_ids: Vec<OfferId>,
    #[prost(message, optional, tag = "2")]
    pub filters: Option<Filters>,
}

/// Of ACCEPT_INVERSE_OFFERS and of DECLINE_INVERSE_OFFERS.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AnswerInverseOffers {
    #[prost(message, repeated, tag = "1")]
    pub inverse_offer_ids: Vec<OfferId>,
    #[prost(message, optional, tag = "2")]
    pub filters: Option<Filters>,
}

/// Of REVIVE and of SUPPRESS; none means all.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Roles {
    #[prost(string, repeated, tag = "1")]
    pub roles: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Kill {
    #[prost(message, required, tag = "1")]
    pub task_id: TaskId,
    #[prost(message, optional, tag = "2")]
    pub agent_id: Option<AgentId>,
    #[prost(message, optional, tag = "3")]
    pub kill_policy: Option<KillPolicy>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Shutdown {
    #[prost(message, required, tag = "1")]
    pub executor_id: ExecutorId,
    #[prost(message, required, tag = "2")]
    pub agent_id: AgentId,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Acknowledge {
    #[prost(message, required, tag = "1")]
    pub agent_id: AgentId,
    #[prost(message, required, tag = "2")]
    pub task_id: TaskId,
    #[prost(bytes = "vec", required, tag = "3")]
    pub uuid: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AcknowledgeOperationStatus {
    #[prost(message, optional, tag = "1")]
    pub agent_id: Option<AgentId>,
    #[prost(bytes = "vec", required, tag = "3")]
    pub uuid: Vec<u8>,
    #[prost(message, required, tag = "4")]
    pub operation_id: OperationId,
}

/// No tasks asks for all (implicit reconciliation).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Reconcile {
    #[prost(message, repeated, tag = "1")]
    pub tasks: Vec<ReconcileTask>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReconcileTask {
    #[prost(message, required, tag = "1")]
    pub task_id: TaskId,
    #[prost(message, optional, tag = "2")]
    pub agent_id: Option<AgentId>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReconcileOperations {
    #[prost(message, repeated, tag = "1")]
    pub operations: Vec<ReconcileOperation>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReconcileOperation {
    #[prost(message, required, tag = "1")]
    pub operation_id: OperationId,
    #[prost(message, optional, tag = "2")]
    pub agent_id: Option<AgentId>,
}
