//! The words for where clusters, nodes and operations stand.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire, in databases and for people.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { text: text.to_owned(), known: &[$($word),+] }),
                }
            }
        }
    };
}

/// A word that is none of those known in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of {known:?}")]
pub struct UnknownWord {
    /// What was read.
    pub text: String,
    /// What could have been.
    pub known: &'static [&'static str],
}

words!(
    /// Where a cluster stands in its life. It never goes back, but for `retry` on a failed one.
    ClusterStatus {
        /// Accepted and stored.
        Registered = "registered",
        /// The framework looks for a place for every node.
        Scheduling = "scheduling",
        /// Every node is RUNNING.
        Scheduled = "scheduled",
        /// The product's script runs its action `start`.
        Configuring = "configuring",
        /// `start` exited 0; health is awaited.
        Configured = "configured",
        /// Health has passed on every node since.
        Ready = "ready",
        /// One of the first five phases ended in a failure.
        Failed = "failed",
        /// It is being taken down.
        Destroying = "destroying",
        /// Nothing of it is left, or each leftover is listed.
        Destroyed = "destroyed",
    }
);

words!(
    /// What the observations of a ready cluster say.
    Health {
        /// Nothing has been observed yet.
        Unknown = "unknown",
        /// Every node is running and passes its checks.
        Healthy = "healthy",
        /// Some nodes do not.
        Degraded = "degraded",
        /// No node does.
        Unavailable = "unavailable",
    }
);

words!(
    /// Where a node stands.
    NodeStatus {
        /// Not yet looked at by the framework.
        Pending = "pending",
        /// Waiting for a place.
        Queued = "queued",
        /// Placed; its executor is starting.
        Launching = "launching",
        /// It can be worked on: `check` has passed, or none is declared.
        Running = "running",
        /// Its agent cannot be reached; the node may well be alive.
        Unreachable = "unreachable",
        /// Being ended.
        Stopping = "stopping",
        /// Ended as it should.
        Stopped = "stopped",
        /// Ended as it should not.
        Failed = "failed",
    }
);

words!(
    /// What kind of change an operation is.
    OperationKind {
        /// A cluster's way from registered to ready.
        Launch = "launch",
        /// A failed cluster is taken up again at the phase that failed.
        Retry = "retry",
        /// Nodes of a ready cluster were started anew, without what its script did to them: it configures them again.
        Reconfigure = "reconfigure",
        /// An action of the product's script runs: a user's wish, a schedule's, or the answer to what happened to a node.
        Action = "action",
        /// The template was rendered with other options: nodes come and go.
        Scale = "scale",
        /// Nodes are brought to another version, or another state, of the product, one after the other.
        Upgrade = "upgrade",
        /// A node is started anew, on its agent and its data where they are there.
        Replace = "replace",
        /// A cluster is taken down.
        Destroy = "destroy",
    }
);

words!(
    /// Where an operation, or one of its steps, stands.
    OperationStatus {
        /// Not begun.
        Pending = "pending",
        /// Under way.
        Running = "running",
        /// Ended well.
        Succeeded = "succeeded",
        /// Ended in an error, which is told.
        Failed = "failed",
        /// Ended by a user's wish, or overtaken by a destroy.
        Cancelled = "cancelled",
    }
);

words!(
    /// What happens to a cluster's data when it is destroyed.
    Termination {
        /// Destroy is refused until the policy is changed.
        DoNotTerminate = "do-not-terminate",
        /// Nodes go, persistent disks stay and are listed.
        KeepData = "keep-data",
        /// Everything goes.
        Wipe = "wipe",
    }
);

impl ClusterStatus {
    /// Whether the cluster is on its way to `ready`.
    pub const fn is_launching(self) -> bool {
        matches!(self, Self::Registered | Self::Scheduling | Self::Scheduled | Self::Configuring | Self::Configured)
    }
}

impl OperationStatus {
    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}
