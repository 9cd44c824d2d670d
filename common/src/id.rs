//! Identities: the distinguished name of a cluster, its id, and the UUIDs of what happens to it.

use crate::name::{InvalidName, Name};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use uuid::Uuid;

/// One version of a product in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProductRef {
    /// The product's name.
    pub name: Name,
    /// Its version, a name too (`5.7.0`).
    pub version: Name,
}

impl fmt::Display for ProductRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.name, self.version)
    }
}

/// The distinguished name of a cluster: `clusters/<user>/<product>/<version>/<n>`.
///
/// `number` is counted up per (user, product, version) and never used again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterDn {
    /// Who launched it, and owns it.
    pub user: Name,
    /// The product that it was launched from.
    pub product: ProductRef,
    /// Its number among the clusters of this user and product version, from 1.
    pub number: u64,
}

/// Why a text is no distinguished name or id of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClusterName {
    /// The parts do not have the form that is wanted.
    #[error(
        "a cluster is named clusters/<user>/<product>/<version>/<n> or clusters--<user>--<product>--<version>--<n>"
    )]
    Form,
    /// One of the names is not a name.
    #[error("the cluster's name has an invalid part")]
    Name(#[from] InvalidName),
}

impl ClusterDn {
    /// The distinguished name of one of its nodes: `<dn>/nodes/<node>`.
    pub fn node(&self, node: &Name) -> String {
        format!("{self}/nodes/{node}")
    }

    /// The distinguished name of one of its services: `<dn>/services/<service>`.
    pub fn service(&self, service: &Name) -> String {
        format!("{self}/services/{service}")
    }

    fn from_parts(parts: &[String]) -> Result<Self, InvalidClusterName> {
        let [prefix, user, product, version, number] = parts else {
            return Err(InvalidClusterName::Form);
        };
        let number: u64 = number.parse().map_err(|_| InvalidClusterName::Form)?;
        if prefix != "clusters" || number == 0 || parts[4].starts_with(['0', '+']) {
            return Err(InvalidClusterName::Form);
        }
        Ok(Self {
            user: user.parse()?,
            product: ProductRef { name: product.parse()?, version: version.parse()? },
            number,
        })
    }
}

impl fmt::Display for ClusterDn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "clusters/{}/{}/{}/{}", self.user, self.product.name, self.product.version, self.number)
    }
}

impl FromStr for ClusterDn {
    type Err = InvalidClusterName;

    fn from_str(text: &str) -> Result<Self, InvalidClusterName> {
        Self::from_parts(&text.split('/').map(str::to_owned).collect::<Vec<_>>())
    }
}

impl TryFrom<String> for ClusterDn {
    type Error = InvalidClusterName;

    fn try_from(text: String) -> Result<Self, InvalidClusterName> {
        text.parse()
    }
}

impl From<ClusterDn> for String {
    fn from(dn: ClusterDn) -> Self {
        dn.to_string()
    }
}

/// A cluster's id: its distinguished name with `/` written `--` and `.` written `__`, reversible by the rule of [`Name`].
/// A clone shares it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId(Arc<ClusterDn>);

impl ClusterId {
    /// The distinguished name that this id stands for.
    pub fn dn(&self) -> &ClusterDn {
        &self.0
    }

    /// Reads either form, id or distinguished name: what a user may type.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse_any(text: &str) -> Result<Self, InvalidClusterName> {
        if text.contains('/') { text.parse().map(|dn: ClusterDn| dn.into()) } else { text.parse() }
    }
}

impl From<ClusterDn> for ClusterId {
    fn from(dn: ClusterDn) -> Self {
        Self(Arc::new(dn))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.to_string().replace('/', "--").replace('.', "__"))
    }
}

impl FromStr for ClusterId {
    type Err = InvalidClusterName;

    fn from_str(text: &str) -> Result<Self, InvalidClusterName> {
        let parts: Vec<String> = text.split("--").map(|part| part.replace("__", ".")).collect();
        ClusterDn::from_parts(&parts).map(Self::from)
    }
}

impl TryFrom<String> for ClusterId {
    type Error = InvalidClusterName;

    fn try_from(text: String) -> Result<Self, InvalidClusterName> {
        text.parse()
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> Self {
        id.to_string()
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A change that takes time, as users see it. A UUIDv7.
    OperationId
);
uuid_id!(
    /// One event on the bus; consumers deduplicate by it. A UUIDv7.
    EventId
);
uuid_id!(
    /// One attempt to run a node: its Mesos task id and executor id. A UUIDv4: it is part of no order.
    AttemptId
);
uuid_id!(
    /// One run of a product's script, the same over its repetitions.
    RunId
);
uuid_id!(
    /// One backup of a cluster. A UUIDv7.
    BackupId
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_of_the_older_example() {
        let dn: ClusterDn = "clusters/alice/cdh/5.7.0/1".parse().unwrap();
        let id = ClusterId::from(dn.clone());
        assert_eq!(id.to_string(), "clusters--alice--cdh--5__7__0--1");
        assert_eq!(ClusterId::parse_any("clusters/alice/cdh/5.7.0/1"), Ok(id));
    }

    #[test]
    fn wrong_forms_are_refused() {
        for text in [
            "",
            "clusters",
            "clusters/a/b/c",
            "clusters/a/b/c/0",
            "clusters/a/b/c/01",
            "clusters/a/b/c/+1",
            "cluster/a/b/c/1",
            "clusters/A/b/c/1",
        ] {
            assert!(text.parse::<ClusterDn>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_id_is_reversible(parts in prop::array::uniform3("[a-z0-9]{1,6}([._-][a-z0-9]{1,4}){0,4}"), number in 1u64..) {
            let [user, name, version] = parts.map(|part| part.parse::<Name>().unwrap());
            let id = ClusterId::from(ClusterDn { user, product: ProductRef { name, version }, number });
            prop_assert_eq!(id.to_string().parse::<ClusterId>().unwrap(), id);
        }
    }
}
