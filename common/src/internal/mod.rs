//! What services say to each other over REST, below `/internal/v1`.

mod backup;
mod cluster;
mod control;
mod enrolment;
mod exec;
mod observation;

pub use backup::Backup;
pub use cluster::{
    ClusterPage, ClusterState, Desired, NodeWish, Origin, RunRequest, SecretValue, Secrets, Specification,
};
pub use control::{ControlGrant, ControlRequest, RUN_ATTEMPT_HEADER};
pub use enrolment::{EnrolRequest, Interface, NodeReport, NodeSpecification, Peers, TaskData, volume_path};
pub use exec::{EXEC_LIMIT_MAX, ExecFrame, ExecRequest, SILENCE_LOOKED_AT, SILENCE_LOOKS};
pub use observation::{Engines, Heard, HeardNode, InterfaceAddress, NodeObservation};
