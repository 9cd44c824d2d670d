//! The registry is told of which nodes there was word again, with nothing new: not by events, since a lost one costs
//! nothing, and the next one says the same.

use super::{RefreshError, Registry};
use bigdata_chassis::Tasks;
use bigdata_common::internal::Heard;
use reqwest::Method;
use std::time::Duration;

impl Registry {
    /// Tells the registry what has been heard since the count stood at `after`; where it stands now.
    async fn tell_heard(&self, after: u64) -> Result<u64, RefreshError> {
        let (nodes, count) = self.driver.ask(move |core, _| core.heard_since(after)).await?;
        for nodes in nodes.chunks(Heard::NODES_MAX) {
            let heard = Heard { nodes: nodes.to_vec() };
            self.client.send(self.client.request(Method::POST, "/internal/v1/heard").json(&heard)).await?;
        }
        Ok(count)
    }

    /// Tells it now and then, until the tasks end.
    pub(crate) fn spawn_heard(self, every: Duration, tasks: &Tasks) {
        let token = tasks.token();
        tasks.spawn("words of nodes", async move {
            let mut told = 0;
            loop {
                tokio::select! {
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(every) => {}
                }
                let telling = self.tell_heard(told);
                tokio::select! {
                    () = token.cancelled() => return,
                    result = telling => match result {
                        Ok(count) => told = count,
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(error, "the registry is told later of which nodes there was word");
                        }
                    },
                }
            }
        });
    }
}
