//! What a user asks of a ready cluster, as it is kept with its operation: so it can be asked once more.

use super::prepare::{self, Prepared, must_be_ready};
use crate::backups::{self, Asker};
use crate::cluster::record::Cluster;
use crate::cluster::wanted::Wanted;
use crate::launch::plan::invalid_options;
use crate::registry::Registry;
use crate::store;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::change::{ChangePlan, UpgradeRequest};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::{BackupId, Name, OperationId};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "asked", rename_all = "lowercase")]
pub(crate) enum Asked {
    /// An action of the script.
    Action {
        /// Its name.
        action: String,
        /// What was given with it.
        arguments: Map<String, Value>,
    },
    /// A node started anew.
    Replace {
        /// The node.
        node: Name,
        /// Whether it gives its agent and its data up.
        elsewhere: bool,
    },
    /// Other options by which nodes come and go.
    Scale {
        /// The options.
        options: Map<String, Value>,
        /// Who goes.
        remove: Vec<Name>,
    },
    /// Another version, other options or a former revision.
    Upgrade {
        /// Which.
        request: UpgradeRequest,
    },
}

impl Asked {
    /// What it comes to for the cluster as it is now.
    ///
    /// # Errors
    /// When the cluster, its product or its options do not allow it.
    pub(crate) async fn prepare(
        &self,
        registry: &Registry,
        cluster: &Cluster,
        asker: &Asker<'_>,
    ) -> Result<Prepared, ApiError> {
        let mut backups = Vec::new();
        let wanted = match self {
            Self::Scale { options, remove } => {
                return prepare::scale(registry, cluster, options, remove, asker).await;
            }
            Self::Upgrade { request } => return prepare::upgrade(registry, cluster, request, asker).await,
            Self::Action { action, arguments } => {
                let (wanted, named) = called(registry, cluster, action, arguments, asker).await?;
                backups = named;
                wanted
            }
            Self::Replace { node, elsewhere } => Wanted::Replace { node: node.clone(), elsewhere: *elsewhere },
        };
        must_be_ready(cluster)?;
        Ok(Prepared { plan: ChangePlan::default(), wanted, beside: None, backups })
    }

    /// The same without options that the cluster has from then on as secrets of its own.
    pub(crate) fn without(mut self, secrets: &IndexMap<String, String>) -> Self {
        match &mut self {
            Self::Scale { options, .. } | Self::Upgrade { request: UpgradeRequest { options, .. } } => {
                options.retain(|name, _| !secrets.contains_key(name));
            }
            Self::Action { .. } | Self::Replace { .. } => {}
        }
        self
    }
}

async fn called(
    registry: &Registry,
    cluster: &Cluster,
    action: &str,
    arguments: &Map<String, Value>,
    asker: &Asker<'_>,
) -> Result<(Wanted, Vec<BackupId>), ApiError> {
    let terms = store::clusters::terms(&registry.db, cluster).await?;
    let declared = match terms.actions.get(action) {
        Some(declared) if declared.users => declared,
        found => return Err(unknown_action(action, found.is_some())),
    };
    let arguments = declared.arguments(arguments).map_err(|faults| {
        let words: Vec<String> = faults.iter().map(|fault| fault.detail.clone()).collect();
        ApiError::with_faults(ProblemCode::InvalidField, words.join("; "), faults)
    })?;
    let declaration = declared.declaration().map_err(invalid_options)?;
    let backups = backups::named(registry, &declaration, &arguments, &cluster.id.dn().product.name, asker).await?;
    let (changes, busy, limit_ms) = (declared.changes, declared.busy, declared.deadline_ms);
    Ok((Wanted::Action { name: action.to_owned(), arguments, changes, busy, limit_ms }, backups))
}

fn unknown_action(action: &str, platforms: bool) -> ApiError {
    let detail = if platforms {
        format!("{action} is called by the platform alone; GET …/actions lists what users may call")
    } else {
        format!("the product declares no action {action:?}; GET …/actions lists those there are")
    };
    ApiError::new(ProblemCode::UnknownAction, detail)
}

/// Where the request of an operation is sealed.
pub(crate) fn place(operation: OperationId) -> String {
    format!("asked/{operation}")
}
