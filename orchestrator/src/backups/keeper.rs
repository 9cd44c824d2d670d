//! Removes what shall be removed: backups of which the registry says so, and what interrupted uploads left. Tells the registry
//! of what is stored, until it knows: an event can be lost with a queue.

use super::Place;
use super::place::PlaceError;
use crate::service::Context;
use crate::store::StoreError;
use bigdata_chassis::http::ClientError;
use bigdata_common::BackupId;
use bigdata_common::internal::Backup;
use std::error::Error;
use std::time::Duration;

/// Why something was not removed or told; the timer tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("the registry cannot be asked")]
    Registry(#[from] ClientError),
    #[error("the list of backups cannot be read or written")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// Looks at once and then on a timer, until the service ends.
pub(crate) async fn forever(context: Context) {
    let Some(place) = context.backups.clone() else { return };
    let stop = context.tasks.token();
    let interval = Duration::from_millis(context.settings.reconcile_interval_ms.max(100));
    loop {
        let swept = tokio::select! {
            () = stop.cancelled() => return,
            swept = sweep(&context, &place, interval) => swept,
        };
        if let Err(error) = swept {
            tracing::warn!(error = &error as &dyn Error, "backups could not be tidied");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// One after the other; what cannot be done does not keep the rest from being done.
async fn sweep(context: &Context, place: &Place, interval: Duration) -> Result<(), KeepError> {
    let told = tell(context, interval).await;
    let removed = remove_unwanted(context, place).await;
    told.and(removed).and(remove_abandoned(context, place).await)
}

async fn tell(context: &Context, interval: Duration) -> Result<(), KeepError> {
    let mut told = Ok(());
    for backup in context.store.untold_backups(interval).await? {
        told = told.and(tell_of(context, &backup).await);
    }
    told
}

async fn tell_of(context: &Context, backup: &Backup) -> Result<(), KeepError> {
    if context.registry.backup_is_stored(backup).await? {
        context.store.backup_is_known(backup.id).await?;
    }
    Ok(())
}

async fn remove_unwanted(context: &Context, place: &Place) -> Result<(), KeepError> {
    let mut removed = Ok(());
    for backup in context.registry.backups_to_remove().await? {
        removed = removed.and(remove(context, place, &backup).await);
    }
    removed
}

async fn remove(context: &Context, place: &Place, backup: &Backup) -> Result<(), KeepError> {
    place.remove(backup.id, "").await?;
    context.store.backup_is_removed(&backup.cluster, backup.id).await?;
    tracing::info!(backup.id = %backup.id, cluster.id = %backup.cluster, "a backup is removed");
    Ok(())
}

async fn remove_abandoned(context: &Context, place: &Place) -> Result<(), KeepError> {
    for backup in context.store.abandoned_uploads().await? {
        discard(context, place, backup).await?;
    }
    Ok(())
}

/// Ends an upload that comes to nothing, and removes what there is of it. One that has become a backup is left alone.
pub(crate) async fn discard(context: &Context, place: &Place, backup: BackupId) -> Result<(), KeepError> {
    if let Some(upload) = context.store.drop_upload(backup).await? {
        place.remove(backup, &upload).await?;
        context.store.forget_upload(backup).await?;
        tracing::info!(backup.id = %backup, "an upload that was not completed is removed");
    }
    Ok(())
}
