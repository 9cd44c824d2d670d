//! Backups: who may have them, what a launch may name, and which of them stay.

use crate::cluster::course::Course;
use crate::launch::plan::invalid_options;
use crate::options::Declaration;
use crate::registry::Registry;
use crate::store;
use crate::store::backups::Kept;
use bigdata_chassis::http::ApiError;
use bigdata_chassis::http::json::escape;
use bigdata_common::api::PREFIX;
use bigdata_common::api::change::BackupView;
use bigdata_common::api::operation::OperationView;
use bigdata_common::api::problem::Fault;
use bigdata_common::internal::Backup;
use bigdata_common::{BackupId, Name};
use serde_json::{Map, Value};

/// Who names a backup.
pub(crate) struct Asker<'a> {
    pub(crate) user: &'a Name,
    /// Whether those of others exist for it.
    pub(crate) administrator: bool,
}

/// The backups that options of the format `backup` name; an empty text names none.
pub(crate) async fn named(
    registry: &Registry,
    declaration: &Declaration,
    values: &Map<String, Value>,
    product: &Name,
    asker: &Asker<'_>,
) -> Result<Vec<BackupId>, ApiError> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for (option, _) in declaration.options.iter().filter(|(_, declared)| declared.backup) {
        let Some(text) = values.get(option).and_then(Value::as_str).filter(|text| !text.is_empty()) else { continue };
        let id: Option<BackupId> = text.parse().ok();
        let kept = match id {
            Some(id) => store::backups::find(&registry.db, id).await?,
            None => None,
        };
        let kept = kept.filter(|kept| asker.administrator || kept.backup.cluster.dn().user == *asker.user);
        let words = match kept {
            Some(kept) if kept.product.name == *product => {
                found.push(kept.backup.id);
                continue;
            }
            Some(kept) => format!("the backup {text} was made by the product {}, and this is {product}", kept.product),
            None => format!("there is no backup {text:?} of yours; GET {PREFIX}/backups lists those there are"),
        };
        faults.push(Fault::new(format!("/{}", escape(option)), words));
    }
    if faults.is_empty() { Ok(found) } else { Err(invalid_options(faults)) }
}

/// Keeps a backup that the orchestrator has stored whole, and lets go of what its schedule keeps no longer.
pub(crate) async fn stored(course: &mut Course<'_>, backup: &Backup) -> Result<(), sqlx::Error> {
    let cluster = course.cluster.id.clone();
    let revision = course.cluster.revision;
    let operation = store::operations::find_in(course.tx(), backup.operation).await?;
    let found = store::clusters::revision_in(course.tx(), &cluster, revision).await?;
    let product = found.as_ref().map_or_else(|| cluster.dn().product.clone(), |(found, _)| found.product.clone());
    let cause = operation.as_ref().and_then(|operation| operation.cause.clone()).unwrap_or_default();
    let schedule = operation.as_ref().and_then(schedule);
    // Of whichever cluster it speaks: the event is this cluster's.
    let backup = Backup { cluster: cluster.clone(), ..backup.clone() };
    let words = format!("the backup {} is complete: {} bytes", backup.id, backup.size);
    if !store::backups::insert(course.tx(), &Kept { backup, product, cause }, schedule).await? {
        return Ok(());
    }
    course.log("run", None, words);
    let declared = found.as_ref().and_then(|(_, terms)| terms.as_ref()).zip(schedule);
    let keep = declared.and_then(|(terms, schedule)| Some((terms.actions.get(schedule)?.kept()?, schedule)));
    if let Some((keep, schedule)) = keep {
        let gone = store::backups::expire(course.tx(), &cluster, schedule, keep).await?;
        if gone > 0 {
            course.log("run", None, format!("{gone} earlier backups of {schedule} go; the newest {keep} are kept"));
        }
    }
    Ok(())
}

/// The action, where the clock called it.
fn schedule(operation: &OperationView) -> Option<&str> {
    let by_clock = operation.cause.as_deref().is_some_and(|cause| cause.starts_with("every "));
    operation.action.as_deref().filter(|_| by_clock)
}

/// As clients see it.
pub(crate) fn view(kept: Kept) -> BackupView {
    let Kept { backup, product, cause } = kept;
    BackupView {
        id: backup.id,
        cluster: backup.cluster.dn().clone(),
        version: product.version,
        label: backup.label,
        size: backup.size,
        sha256: backup.sha256,
        at: backup.at,
        cause: if cause.is_empty() { "user".to_owned() } else { cause },
    }
}
