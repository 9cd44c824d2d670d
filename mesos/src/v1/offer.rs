//! Offers and the operations that an ACCEPT carries.

use super::ids::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, ResourceProviderId};
use super::resource::{AllocationInfo, Attribute, Resource};
use super::task::TaskInfo;
use super::{DurationInfo, TimeInfo};

#[derive(Clone, PartialEq, prost::Message)]
pub struct Offer {
    #[prost(message, required, tag = "1")]
    pub id: OfferId,
    #[prost(message, required, tag = "2")]
    pub framework_id: FrameworkId,
    #[prost(message, required, tag = "3")]
    pub agent_id: AgentId,
    #[prost(string, required, tag = "4")]
    pub hostname: String,
    #[prost(message, optional, tag = "8")]
    pub url: Option<Url>,
    #[prost(message, repeated, tag = "5")]
    pub resources: Vec<Resource>,
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<Attribute>,
    #[prost(message, repeated, tag = "6")]
    pub executor_ids: Vec<ExecutorId>,
    #[prost(message, optional, tag = "9")]
    pub unavailability: Option<Unavailability>,
    #[prost(message, optional, tag = "10")]
    pub allocation_info: Option<AllocationInfo>,
}

/// Where an offer's agent listens.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Url {
    #[prost(string, required, tag = "1")]
    pub scheme: String,
    #[prost(message, required, tag = "2")]
    pub address: super::MachineAddress,
    #[prost(string, optional, tag = "3")]
    pub path: Option<String>,
}

/// When an agent is to be away.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Unavailability {
    #[prost(message, required, tag = "1")]
    pub start: TimeInfo,
    #[prost(message, optional, tag = "2")]
    pub duration: Option<DurationInfo>,
}

/// Asks for resources back, because their agent is to be away.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InverseOffer {
    #[prost(message, required, tag = "1")]
    pub id: OfferId,
    #[prost(message, required, tag = "3")]
    pub framework_id: FrameworkId,
    #[prost(message, optional, tag = "4")]
    pub agent_id: Option<AgentId>,
    #[prost(message, required, tag = "5")]
    pub unavailability: Unavailability,
    #[prost(message, repeated, tag = "6")]
    pub resources: Vec<Resource>,
}

/// How long refused resources are not offered again.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Filters {
    #[prost(double, optional, tag = "1", default = "5")]
    pub refuse_seconds: Option<f64>,
}

impl Filters {
    /// Refuses for `duration`.
    #[must_use]
    pub fn refuse(duration: std::time::Duration) -> Self {
        Filters { refuse_seconds: Some(duration.as_secs_f64()) }
    }
}

/// One step of an ACCEPT. `OfferOperation` would be its name in Mesos's own bindings.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operation {
    #[prost(enumeration = "OperationType", optional, tag = "1")]
    pub r#type: Option<i32>,
    /// Given where the framework wants to hear how it ended.
    #[prost(message, optional, tag = "12")]
    pub id: Option<OperationId>,
    #[prost(message, optional, tag = "2")]
    pub launch: Option<Launch>,
    #[prost(message, optional, tag = "3")]
    pub reserve: Option<Reserve>,
    #[prost(message, optional, tag = "4")]
    pub unreserve: Option<Unreserve>,
    #[prost(message, optional, tag = "5")]
    pub create: Option<Create>,
    #[prost(message, optional, tag = "6")]
    pub destroy: Option<Destroy>,
}

named_enum!(
    /// See [`Operation`].
    pub enum OperationType {
        Unknown = 0 => "UNKNOWN",
        Launch = 1 => "LAUNCH",
        LaunchGroup = 6 => "LAUNCH_GROUP",
        Reserve = 2 => "RESERVE",
        Unreserve = 3 => "UNRESERVE",
        Create = 4 => "CREATE",
        Destroy = 5 => "DESTROY",
        GrowVolume = 11 => "GROW_VOLUME",
        ShrinkVolume = 12 => "SHRINK_VOLUME",
        CreateDisk = 13 => "CREATE_DISK",
        DestroyDisk = 14 => "DESTROY_DISK",
    }
);

#[derive(Clone, PartialEq, prost::Message)]
pub struct Launch {
    #[prost(message, repeated, tag = "1")]
    pub task_infos: Vec<TaskInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Reserve {
    /// What `resources` were before; empty for what was unreserved by one level less.
    #[prost(message, repeated, tag = "2")]
    pub source: Vec<Resource>,
    #[prost(message, repeated, tag = "1")]
    pub resources: Vec<Resource>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Unreserve {
    #[prost(message, repeated, tag = "1")]
    pub resources: Vec<Resource>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Create {
    #[prost(message, repeated, tag = "1")]
    pub volumes: Vec<Resource>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Destroy {
    #[prost(message, repeated, tag = "1")]
    pub volumes: Vec<Resource>,
}

named_enum!(
    /// What became of an operation.
    pub enum OperationState {
        Unsupported = 0 => "OPERATION_UNSUPPORTED",
        Pending = 1 => "OPERATION_PENDING",
        Finished = 2 => "OPERATION_FINISHED",
        Failed = 3 => "OPERATION_FAILED",
        Error = 4 => "OPERATION_ERROR",
        Dropped = 5 => "OPERATION_DROPPED",
        Unreachable = 6 => "OPERATION_UNREACHABLE",
        GoneByOperator = 7 => "OPERATION_GONE_BY_OPERATOR",
        Recovering = 8 => "OPERATION_RECOVERING",
        Unknown = 9 => "OPERATION_UNKNOWN",
    }
);

/// Told for operations with an id; one with a `uuid` is repeated until it is acknowledged.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperationStatus {
    #[prost(message, optional, tag = "1")]
    pub operation_id: Option<OperationId>,
    #[prost(enumeration = "OperationState", required, tag = "2")]
    pub state: i32,
    #[prost(string, optional, tag = "3")]
    pub message: Option<String>,
    #[prost(message, repeated, tag = "4")]
    pub converted_resources: Vec<Resource>,
    #[prost(message, optional, tag = "5")]
    pub uuid: Option<StatusUuid>,
    #[prost(message, optional, tag = "6")]
    pub agent_id: Option<AgentId>,
    #[prost(message, optional, tag = "7")]
    pub resource_provider_id: Option<ResourceProviderId>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusUuid {
    #[prost(bytes = "vec", required, tag = "1")]
    pub value: Vec<u8>,
}

impl Operation {
    fn of(r#type: OperationType) -> Self {
        Operation { r#type: Some(r#type as i32), ..Operation::default() }
    }

    /// Starts tasks.
    #[must_use]
    pub fn launch(task_infos: Vec<TaskInfo>) -> Self {
        Operation { launch: Some(Launch { task_infos }), ..Operation::of(OperationType::Launch) }
    }

    /// Reserves `resources`, given as they are to be.
    #[must_use]
    pub fn reserve(resources: Vec<Resource>) -> Self {
        let source = Vec::new();
        Operation { reserve: Some(Reserve { source, resources }), ..Operation::of(OperationType::Reserve) }
    }

    /// Takes the innermost reservation from `resources`.
    #[must_use]
    pub fn unreserve(resources: Vec<Resource>) -> Self {
        Operation { unreserve: Some(Unreserve { resources }), ..Operation::of(OperationType::Unreserve) }
    }

    /// Makes persistent volumes of reserved disk, given as they are to be.
    #[must_use]
    pub fn create(volumes: Vec<Resource>) -> Self {
        Operation { create: Some(Create { volumes }), ..Operation::of(OperationType::Create) }
    }

    /// Makes persistent volumes reserved disk again; their data is lost.
    #[must_use]
    pub fn destroy(volumes: Vec<Resource>) -> Self {
        Operation { destroy: Some(Destroy { volumes }), ..Operation::of(OperationType::Destroy) }
    }

    /// Asks for feedback under `id`.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<OperationId>) -> Self {
        self.id = Some(id.into());
        self
    }
}
