//! What the platform calls of a cluster's script by itself: the part of its actions that every event needs. Pure.

use crate::actions::{Actions, Busy};
use bigdata_common::Name;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// See the [module](self). Times are in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// How long the answer to a lost node may take; None: none is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_lost_ms: Option<u64>,
    /// How long the answer to a node that came back, or was started anew, may take; None: none is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_replaced_ms: Option<u64>,
    /// How long `scale` may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_ms: Option<u64>,
    /// How long it may take until a node that an upgrade starts anew can be missed; None: the script is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_upgrade_ms: Option<u64>,
    /// How long each call of `upgrade` may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_ms: Option<u64>,
    /// What is called by the clock.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub every: IndexMap<Name, Clocked>,
}

/// An action that is called by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocked {
    /// From one call to the next.
    pub every_ms: u64,
    /// How long a call may take.
    pub limit_ms: u64,
    /// Whether it may change the cluster.
    pub changes: bool,
    /// Whether a call waits while another operation changes the cluster; or else it is left out.
    pub waits: bool,
}

impl Calls {
    /// Of the actions that a revision declares.
    pub fn of(actions: &Actions) -> Self {
        let limit_ms = |name: &str| actions.get(name).map(|declared| declared.deadline_ms);
        let clocked = actions.0.iter().filter_map(|(name, declared)| {
            let waits = declared.busy == Busy::Wait;
            let (limit_ms, changes) = (declared.deadline_ms, declared.changes);
            Some((name.clone(), Clocked { every_ms: declared.every_ms()?, limit_ms, changes, waits }))
        });
        Self {
            node_lost_ms: limit_ms("node-lost"),
            node_replaced_ms: limit_ms("node-replaced"),
            scale_ms: limit_ms("scale"),
            before_upgrade_ms: limit_ms("before-upgrade"),
            upgrade_ms: limit_ms("upgrade"),
            every: clocked.collect(),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
