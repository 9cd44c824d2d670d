//! Who asks.

use crate::{ClusterDn, Name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Launches clusters and works with its own ones.
    User,
    /// Registers and changes products: their scripts are code that the platform runs.
    Publisher,
    /// Sees and changes everything.
    Admin,
}

/// Who asks: carried by every request, and bound into every query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The user's name; the owner of what it launches.
    pub user: Name,
    /// What it may do.
    pub roles: BTreeSet<Role>,
}

impl Principal {
    /// The user `local` with every role: whoever asks where there is no authentication.
    pub fn local() -> Self {
        Self {
            user: "local".parse().expect("`local` keeps the rule of names"),
            roles: BTreeSet::from([Role::User, Role::Publisher, Role::Admin]),
        }
    }

    /// Whether the principal has this role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether this cluster exists for the principal: its own, or any for an administrator.
    pub fn may_see(&self, cluster: &ClusterDn) -> bool {
        self.has(Role::Admin) || (self.has(Role::User) && cluster.user == self.user)
    }
}
