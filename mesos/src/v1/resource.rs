//! Resources, attributes and labels. What can be done with resources stands in [`crate::resources`].

use super::ids::ResourceProviderId;

named_enum!(
    /// Which of a resource's or an attribute's value fields holds.
    pub enum ValueType {
        Scalar = 0 => "SCALAR",
        Ranges = 1 => "RANGES",
        Set = 2 => "SET",
        Text = 3 => "TEXT",
    }
);

/// A number; Mesos keeps three decimals.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Scalar {
    #[prost(double, required, tag = "1")]
    pub value: f64,
}

/// Whole numbers from `begin` to `end`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Range {
    #[prost(uint64, required, tag = "1")]
    pub begin: u64,
    #[prost(uint64, required, tag = "2")]
    pub end: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Ranges {
    #[prost(message, repeated, tag = "1")]
    pub range: Vec<Range>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Set {
    #[prost(string, repeated, tag = "1")]
    pub item: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Text {
    #[prost(string, required, tag = "1")]
    pub value: String,
}

/// Something that an operator says about an agent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attribute {
    #[prost(string, required, tag = "1")]
    pub name: String,
    #[prost(enumeration = "ValueType", required, tag = "2")]
    pub r#type: i32,
    #[prost(message, optional, tag = "3")]
    pub scalar: Option<Scalar>,
    #[prost(message, optional, tag = "4")]
    pub ranges: Option<Ranges>,
    #[prost(message, optional, tag = "6")]
    pub set: Option<Set>,
    #[prost(message, optional, tag = "5")]
    pub text: Option<Text>,
}

/// An amount of something on an agent. Offers carry tens of thousands: what few have lies apart.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    #[prost(message, optional, tag = "12")]
    pub provider_id: Option<ResourceProviderId>,
    #[prost(string, required, tag = "1")]
    pub name: String,
    #[prost(enumeration = "ValueType", required, tag = "2")]
    pub r#type: i32,
    #[prost(message, optional, tag = "3")]
    pub scalar: Option<Scalar>,
    #[prost(message, optional, tag = "4")]
    pub ranges: Option<Ranges>,
    #[prost(message, optional, tag = "5")]
    pub set: Option<Set>,
    /// The older form of a reservation, spoken with frameworks without `RESERVATION_REFINEMENT`.
    #[prost(string, optional, tag = "6")]
    pub role: Option<String>,
    #[prost(message, optional, tag = "11")]
    pub allocation_info: Option<AllocationInfo>,
    /// Goes with `role`.
    #[prost(message, optional, boxed, tag = "8")]
    pub reservation: Option<Box<ReservationInfo>>,
    /// From the outermost reservation to the innermost; none is unreserved.
    #[prost(message, repeated, tag = "13")]
    pub reservations: Vec<ReservationInfo>,
    #[prost(message, optional, boxed, tag = "7")]
    pub disk: Option<Box<DiskInfo>>,
    #[prost(message, optional, tag = "9")]
    pub revocable: Option<Revocable>,
    #[prost(message, optional, tag = "10")]
    pub shared: Option<Shared>,
}

/// Marks resources that may be taken back at any time.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Revocable {}

/// Marks volumes that several tasks may use at once.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Shared {}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AllocationInfo {
    #[prost(string, optional, tag = "1")]
    pub role: Option<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReservationInfo {
    #[prost(enumeration = "ReservationType", optional, tag = "4")]
    pub r#type: Option<i32>,
    #[prost(string, optional, tag = "3")]
    pub role: Option<String>,
    #[prost(string, optional, tag = "1")]
    pub principal: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub labels: Option<Labels>,
}

named_enum!(
    /// By the agent's flags, or by an operation.
    pub enum ReservationType {
        Unknown = 0 => "UNKNOWN",
        Static = 1 => "STATIC",
        Dynamic = 2 => "DYNAMIC",
    }
);

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DiskInfo {
    #[prost(message, optional, tag = "1")]
    pub persistence: Option<Persistence>,
    #[prost(message, optional, tag = "2")]
    pub volume: Option<Volume>,
    #[prost(message, optional, tag = "3")]
    pub source: Option<DiskSource>,
}

/// Makes a disk resource a volume that outlives its task.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Persistence {
    /// Unique per agent and role.
    #[prost(string, required, tag = "1")]
    pub id: String,
    #[prost(string, optional, tag = "2")]
    pub principal: Option<String>,
}

/// Where a disk resource comes from, if not from the agent's work directory.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DiskSource {
    /// PATH=1, MOUNT=2, BLOCK=3, RAW=4.
    #[prost(int32, required, tag = "1")]
    pub r#type: i32,
    #[prost(message, optional, tag = "2")]
    pub path: Option<DiskRoot>,
    #[prost(message, optional, tag = "3")]
    pub mount: Option<DiskRoot>,
    #[prost(string, optional, tag = "7")]
    pub vendor: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub id: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub metadata: Option<Labels>,
    #[prost(string, optional, tag = "6")]
    pub profile: Option<String>,
}

impl DiskSource {
    /// The type of a whole disk.
    pub const MOUNT: i32 = 2;
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DiskRoot {
    #[prost(string, optional, tag = "1")]
    pub root: Option<String>,
}

/// Where a volume appears to its task.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Volume {
    #[prost(enumeration = "VolumeMode", required, tag = "3")]
    pub mode: i32,
    #[prost(string, required, tag = "1")]
    pub container_path: String,
    #[prost(string, optional, tag = "2")]
    pub host_path: Option<String>,
}

named_enum!(
    /// What a task may do with a volume.
    pub enum VolumeMode {
        ReadWrite = 1 => "RW",
        ReadOnly = 2 => "RO",
    }
);

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Labels {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Label {
    #[prost(string, required, tag = "1")]
    pub key: String,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

impl Labels {
    /// The value of the first label named `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let label = self.labels.iter().find(|label| label.key == key)?;
        label.value.as_deref()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let label = |(key, value): (K, V)| Label { key: key.into(), value: Some(value.into()) };
        Labels { labels: pairs.into_iter().map(label).collect() }
    }
}
