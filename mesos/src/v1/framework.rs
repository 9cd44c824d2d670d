//! Who takes part: frameworks, masters, agents.

use super::ids::{AgentId, FrameworkId};
use super::resource::{Attribute, Labels, Resource};

/// What a framework says about itself when it subscribes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FrameworkInfo {
    #[prost(string, required, tag = "1")]
    pub user: String,
    #[prost(string, required, tag = "2")]
    pub name: String,
    #[prost(message, optional, tag = "3")]
    pub id: Option<FrameworkId>,
    /// Seconds that the master keeps a disconnected framework's tasks.
    #[prost(double, optional, tag = "4")]
    pub failover_timeout: Option<f64>,
    #[prost(bool, optional, tag = "5")]
    pub checkpoint: Option<bool>,
    /// The one role of a framework without the capability `MULTI_ROLE`.
    #[prost(string, optional, tag = "6")]
    pub role: Option<String>,
    #[prost(string, repeated, tag = "12")]
    pub roles: Vec<String>,
    #[prost(string, optional, tag = "7")]
    pub hostname: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub principal: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub webui_url: Option<String>,
    #[prost(message, repeated, tag = "10")]
    pub capabilities: Vec<Capability>,
    #[prost(message, optional, tag = "11")]
    pub labels: Option<Labels>,
}

/// Something that a framework can deal with.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Capability {
    #[prost(enumeration = "CapabilityType", optional, tag = "1")]
    pub r#type: Option<i32>,
}

named_enum!(
    /// See [`Capability`].
    pub enum CapabilityType {
        Unknown = 0 => "UNKNOWN",
        RevocableResources = 1 => "REVOCABLE_RESOURCES",
        TaskKillingState = 2 => "TASK_KILLING_STATE",
        GpuResources = 3 => "GPU_RESOURCES",
        SharedResources = 4 => "SHARED_RESOURCES",
        PartitionAware = 5 => "PARTITION_AWARE",
        MultiRole = 6 => "MULTI_ROLE",
        ReservationRefinement = 7 => "RESERVATION_REFINEMENT",
        RegionAware = 8 => "REGION_AWARE",
    }
);

impl FrameworkInfo {
    /// Whether the framework has said that it can deal with `capability`.
    #[must_use]
    pub fn has(&self, capability: CapabilityType) -> bool {
        self.capabilities.iter().any(|one| one.r#type() == capability)
    }

    /// Adds capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: &[CapabilityType]) -> Self {
        self.capabilities.extend(capabilities.iter().map(|one| Capability { r#type: Some(*one as i32) }));
        self
    }

    /// The roles that the framework is offered resources for.
    #[must_use]
    pub fn all_roles(&self) -> Vec<String> {
        if self.has(CapabilityType::MultiRole) {
            return self.roles.clone();
        }
        vec![self.role.clone().unwrap_or_else(|| "*".to_owned())]
    }
}

/// The leading master.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MasterInfo {
    #[prost(string, required, tag = "1")]
    pub id: String,
    /// An IPv4 address in network order.
    #[prost(uint32, required, tag = "2")]
    pub ip: u32,
    #[prost(uint32, required, tag = "3")]
    pub port: u32,
    #[prost(string, optional, tag = "4")]
    pub pid: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub hostname: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub version: Option<String>,
    #[prost(message, optional, tag = "7")]
    pub address: Option<MachineAddress>,
}

/// Where something listens.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MachineAddress {
    #[prost(string, optional, tag = "1")]
    pub hostname: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub ip: Option<String>,
    #[prost(int32, required, tag = "3")]
    pub port: i32,
}

/// An agent, as executors see it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentInfo {
    #[prost(string, required, tag = "1")]
    pub hostname: String,
    #[prost(int32, optional, tag = "8")]
    pub port: Option<i32>,
    #[prost(message, repeated, tag = "3")]
    pub resources: Vec<Resource>,
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
    #[prost(message, optional, tag = "6")]
    pub id: Option<AgentId>,
}
