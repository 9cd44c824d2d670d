//! What is asked of a ready cluster, and why it may be refused. [`Course::request`](super::course::Course::request) takes it.

use crate::actions::Actions;
pub use crate::actions::Busy;
use crate::change::StandIns;
use crate::lifecycle::LifeSpec;
use bigdata_common::Name;
use bigdata_common::internal::Specification;
use bigdata_common::status::ClusterStatus;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a revision of a cluster says beside its [`Specification`]; stored with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The options as they came out, secret ones masked.
    pub options: Map<String, Value>,
    /// What the product wants of the cluster's life.
    pub life: LifeSpec,
    /// What its script can be asked for, as the options of the revision resolve it.
    #[serde(default)]
    pub actions: Actions,
    /// Nodes that stay in the places of others.
    #[serde(default, skip_serializing_if = "StandIns::is_empty")]
    pub stand_ins: StandIns,
}

/// A revision that is to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRevision {
    /// Its number is given when it is stored: whatever stands there is replaced.
    pub specification: Specification,
    /// What it says beside.
    pub terms: Terms,
}

/// What an upgrade leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A revision that there is not yet.
    New(Box<NewRevision>),
    /// One of the cluster's own, by its number.
    Stored(u32),
}

/// What is asked of a ready cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// An action of its script.
    Action {
        /// The action.
        name: String,
        /// What a user gave with it, checked and complete.
        arguments: Map<String, Value>,
        /// Whether it may change the cluster.
        changes: bool,
        /// What becomes of it while another operation changes the cluster.
        busy: Busy,
        /// How long its run may take, in milliseconds.
        limit_ms: u64,
    },
    /// Nodes come and go, the others stay as they are.
    Scale {
        /// The revision that says how.
        revision: Box<NewRevision>,
        /// The cluster's revision that this was compared with: no other may come between.
        base: u32,
        /// Nodes that come, described by the revision.
        added: Vec<Name>,
        /// Nodes that go, in the order in which the script is told of them.
        removed: Vec<Name>,
    },
    /// Nodes are brought to another revision, one after the other.
    Upgrade {
        /// The revision.
        target: Target,
        /// As in [`Wanted::Scale`].
        base: u32,
        /// Nodes that are started anew, in this order.
        changed: Vec<Name>,
        /// Nodes that come before the others are changed.
        added: Vec<Name>,
        /// Nodes that go when the others were changed.
        removed: Vec<Name>,
    },
    /// A node is started anew.
    Replace {
        /// The node.
        node: Name,
        /// Whether it gives its agent and its data up.
        elsewhere: bool,
    },
}

/// Why a wish is refused; nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Only a ready cluster is changed.
    #[error("only a ready cluster can be asked for this; this one is {0}")]
    NotReady(ClusterStatus),
    /// Another operation changes the cluster; with what that is.
    #[error("the cluster is being changed by {0}; ask again when that has ended")]
    Busy(String),
    /// As many operations wait, or run beside, as may.
    #[error("{0} operations wait for the cluster already; ask again when some have ended")]
    Full(usize),
    /// The cluster was changed after the wish was compared with it.
    #[error("the cluster was changed meanwhile: it is at revision {0}; ask again")]
    Changed(u32),
    /// Nodes of these names are still being released.
    #[error("earlier nodes of these names are still being released: {}; ask again when they are gone", listed(.0))]
    Leaving(Vec<Name>),
    /// The cluster has no such node.
    #[error("the cluster has no node {0}")]
    UnknownNode(Name),
    /// The cluster has no such revision.
    #[error("the cluster has no revision {0}")]
    UnknownRevision(u32),
    /// The database refuses.
    #[error("the wish could not be stored")]
    Database(#[from] sqlx::Error),
}

fn listed(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}
