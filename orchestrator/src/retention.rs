//! Forgets the logs of clusters that are long gone, and the oldest lines of long ones.

use crate::service::Context;
use std::error::Error;
use std::time::Duration;

/// How often it is done.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Prunes at once and then on a timer, until the service ends.
pub(crate) async fn forever(context: Context) {
    let stop = context.tasks.token();
    loop {
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
