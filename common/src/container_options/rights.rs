//! What lets a container out of its bounds, in kinds that an operator gives to a product or does not.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A kind of options that an operator must have allowed a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerRight {
    /// `--privileged`.
    Privileged,
    /// `-v`, `--volume`, `--mount` of paths of the machine.
    HostMounts,
    /// `--pid=host`, `--ipc=host`, `--uts=host`, `--net=host`, `--cgroupns=host`.
    HostNamespaces,
    /// `--device`.
    Devices,
    /// `--cap-add` of capabilities that not every product may ask for.
    Capabilities,
}

/// The rights that a product or a node has.
pub type ContainerRights = BTreeSet<ContainerRight>;

impl ContainerRight {
    /// Every right.
    pub const ALL: [Self; 5] =
        [Self::Privileged, Self::HostMounts, Self::HostNamespaces, Self::Devices, Self::Capabilities];

    /// Its name, as people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::HostMounts => "host-mounts",
            Self::HostNamespaces => "host-namespaces",
            Self::Devices => "devices",
            Self::Capabilities => "capabilities",
        }
    }

    /// What it would do, after "it".
    pub const fn effect(self) -> &'static str {
        match self {
            Self::Privileged => "makes the container as good as root on the machine",
            Self::HostMounts => "shows the container files of the machine",
            Self::HostNamespaces => "takes the container into a namespace of the machine",
            Self::Devices => "gives the container a device of the machine",
            Self::Capabilities => "gives the container's root more than other containers' have",
        }
    }
}

impl fmt::Display for ContainerRight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// No right is called so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRight(String);

impl fmt::Display for UnknownRight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = ContainerRight::ALL.map(ContainerRight::as_str).join(", ");
        write!(formatter, "{:?} is no container right; there are {known}", self.0)
    }
}

impl std::error::Error for UnknownRight {}

impl FromStr for ContainerRight {
    type Err = UnknownRight;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|right| right.as_str() == text).ok_or_else(|| UnknownRight(text.to_owned()))
    }
}
