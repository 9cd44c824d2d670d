//! Forgets the logs of clusters that are long gone, the oldest lines of long ones, and what killed runs left on this machine.

use crate::run::{remove_all, remove_leftovers};
use crate::service::Context;
use bigdata_common::RunId;
use std::error::Error;
use std::time::Duration;

/// How often it is done.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Removes the directories of runs that have ended: one that was killed here and ended elsewhere leaves its own, with
/// secrets in it.
async fn remove_left_folders(context: &Context) {
    let Ok(entries) = std::fs::read_dir(&context.folders.runs) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(run) = name.to_str().and_then(|name| uuid::Uuid::try_parse(name).ok()) else { continue };
        match context.store.is_unended(RunId(run)).await {
            Ok(true) => {}
            Ok(false) => {
                if let Err(error) = remove_all(&entry.path()) {
                    tracing::warn!(path = %entry.path().display(), %error, "the directory of an ended run stays");
                }
            }
            Err(error) => return tracing::warn!(error = &error as &dyn Error, "directories of ended runs are kept"),
        }
    }
}

/// Prunes at once and then on a timer, until the service ends.
pub(crate) async fn forever(context: Context) {
    let stop = context.tasks.token();
    loop {
        // Nobody waits for it.
        tokio::task::spawn_blocking(remove_leftovers);
        tokio::select! {
            () = stop.cancelled() => return,
            () = remove_left_folders(&context) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            result = prune(&context) => if let Err(error) = result {
                tracing::warn!(error = error.as_ref(), "logs could not be pruned");
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn prune(context: &Context) -> Result<(), Box<dyn Error + Send + Sync>> {
    let store = &context.store;
    for (cluster, gone_since) in store.logged().await? {
        match gone_since {
            Some(since) if store.clock.now().millis_since(since) > context.settings.log_retention_ms => {
                store.forget(&cluster).await?;
            }
            Some(_) => {}
            None => {
                store.keep_newest(&cluster, context.settings.log_lines_max).await?;
                if context.registry.is_gone(&cluster).await? {
                    store.note_gone(&cluster).await?;
                }
            }
        }
    }
    Ok(())
}
