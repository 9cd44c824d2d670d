//! The messages of the Mesos v1 API that the platform uses, as hand-written prost types.
//!
//! Field numbers, names and defaults are those of Apache Mesos 1.11 (`mesos.v1`, `mesos.v1.scheduler`,
//! `mesos.v1.executor`). The protocol is proto2: an optional scalar is an `Option`. Fields that nobody here uses
//! are left out; a peer that sends them loses nothing but them.
//!
//! prost does not enforce `required`: what arrives is checked by [`crate::validate`].
#![expect(missing_docs, reason = "fields mean what Mesos documents under the same names")]

#[macro_use]
mod names;

pub mod command;
pub mod executor;
pub mod framework;
pub mod ids;
pub mod offer;
pub mod resource;
pub mod scheduler;
pub mod task;

pub use command::{CommandInfo, Environment, ExecutorInfo, ExecutorType, KillPolicy, Uri, Variable};
pub use framework::{AgentInfo, Capability, CapabilityType, FrameworkInfo, MachineAddress, MasterInfo};
pub use ids::{AgentId, ContainerId, ExecutorId, FrameworkId, OfferId, OperationId, ResourceProviderId, TaskId};
pub use offer::{
    Filters, InverseOffer, Offer, Operation, OperationState, OperationStatus, OperationType, Unavailability,
};
pub use resource::{
    AllocationInfo, Attribute, DiskInfo, DiskRoot, DiskSource, Label, Labels, Persistence, Range, Ranges,
    ReservationInfo, ReservationType, Resource, Scalar, Set, Text, ValueType, Volume, VolumeMode,
};
pub use task::{Reason, Source, TaskInfo, TaskResourceLimitation, TaskState, TaskStatus};

/// A point in time.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct TimeInfo {
    /// Nanoseconds since the Unix epoch.
    #[prost(int64, required, tag = "1")]
    pub nanoseconds: i64,
}

/// A length of time.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct DurationInfo {
    #[prost(int64, required, tag = "1")]
    pub nanoseconds: i64,
}

impl From<std::time::Duration> for DurationInfo {
    fn from(duration: std::time::Duration) -> Self {
        let nanoseconds = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        DurationInfo { nanoseconds }
    }
}

impl DurationInfo {
    /// The same as a [`std::time::Duration`]; negative lengths count as none.
    #[must_use]
    pub fn duration(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.nanoseconds).unwrap_or(0))
    }
}
