//! The registry is told how many agents have a container engine, so that it refuses a launch which none of them could run.

use super::{RefreshError, Registry};
use bigdata_chassis::Tasks;
use bigdata_common::internal::Engines;
use reqwest::Method;
use std::time::{Duration, Instant};

/// How often it is looked whether anything has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Registry {
    /// Tells the registry, unless it was told the same not long ago.
    async fn tell_engines(&self, told: &mut Option<(Engines, Instant)>, every: Duration) -> Result<(), RefreshError> {
        let engines = self.driver.ask(|core, _| core.engines()).await?;
        if told.as_ref().is_some_and(|(known, at)| *known == engines && at.elapsed() < every) {
            return Ok(());
        }
        self.client.send(self.client.request(Method::PUT, "/internal/v1/engines").json(&engines)).await?;
        *told = Some((engines, Instant::now()));
        Ok(())
    }

    /// Tells it on every change and every so often, until the tasks end.
    pub(crate) fn spawn_engines(self, every: Duration, tasks: &Tasks) {
        let token = tasks.token();
        tasks.spawn("container engines", async move {
            let mut told = None;
            loop {
                let wait = tokio::select! {
                    () = token.cancelled() => return,
                    result = self.tell_engines(&mut told, every) => match result {
                        Ok(()) => LOOK_EVERY.min(every),
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(error, "the registry is told later which agents have a container engine");
                            every
                        }
                    },
                };
                tokio::select! {
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        });
    }
}
