//! Drives one run: from its claim to its end, or to where another has to take it up.

mod attempt;
mod child;
mod command;
mod directory;
mod former;
mod group;
mod hold;
mod lines;
mod log;
mod prepare;
mod removal;
mod verdict;
mod watch;

pub(crate) use bigdata_sandbox::{MASK, Mask};
pub(crate) use directory::{Directory, runs_length_max};
pub(crate) use former::Owner;
pub(crate) use group::remove_leftovers;
pub(crate) use hold::Hold;
pub(crate) use log::Log;
pub(crate) use removal::remove_all;

use crate::service::Context;
use crate::slots::Slot;
use crate::store::{Claim, StoreError, StoredRun};
use bigdata_common::event::RunResult;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the end of a run is tried to be stored; then it is begun again by whoever finds it.
const FINISH_TRIES: u32 = 6;
/// How long an attempt may take to end its tree once its claim is lost, before it is dropped.
const LET_GO_LIMIT: Duration = Duration::from_secs(30);

/// What became of driving a run.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is over.
    Ended(RunResult),
    /// Its tree is gone before it was over: the service ends, or lost its claim.
    Interrupted,
    /// It could not be begun now, for this reason.
    Later(String),
}

/// A claimed run.
pub(crate) struct Drive {
    pub(crate) context: Context,
    pub(crate) stored: StoredRun,
    pub(crate) claim: Claim,
    /// When the claim was asked for.
    pub(crate) claimed_at: tokio::time::Instant,
    pub(crate) slot: Slot,
    /// Cancelled when the run is no longer wanted.
    pub(crate) cancel: CancellationToken,
}

impl Drive {
    /// Sees the run to its end; whether it is over.
    pub(crate) async fn run(mut self) -> bool {
        let lease_ms = self.context.settings.lease_ms;
        let (hold, renewal) = hold::hold(&self.context.store, &self.claim, lease_ms, self.claimed_at, &self.cancel);
        let outcome = {
            let renewing = async {
                renewal.forever().await;
                tokio::time::sleep(LET_GO_LIMIT).await;
            };
            tokio::select! {
                outcome = attempt::attempt(&self.context, &self.stored, &mut self.claim, &self.slot, &self.cancel, &hold) => outcome,
                // What is dropped with the attempt ends its tree.
                () = renewing => Outcome::Interrupted,
            }
        };
        let claim = &self.claim;
        let fields = (claim.run.run, claim.run.attempt);
        match outcome {
            Outcome::Ended(result) => {
                tracing::info!(cluster.id = %claim.cluster, run.id = %fields.0, attempt = fields.1, action = claim.run.action, result = verdict::words(&result), "a run ended");
                // What a killed predecessor left: the attempt itself removes its own.
                let _ = remove_all(&directory::path_of(&self.context.folders.runs, claim.run.run));
                self.finish(result).await
            }
            Outcome::Interrupted => {
                tracing::info!(cluster.id = %claim.cluster, run.id = %fields.0, attempt = fields.1, "a run was interrupted");
                self.release().await;
                false
            }
            Outcome::Later(reason) => {
                tracing::warn!(cluster.id = %claim.cluster, run.id = %fields.0, reason, "a run cannot begin yet");
                self.release().await;
                false
            }
        }
    }

    async fn finish(&self, result: RunResult) -> bool {
        for attempt in 1..=FINISH_TRIES {
            match self.context.store.finish(&self.claim, result.clone()).await {
                Ok(()) => return true,
                Err(StoreError::Overtaken) => return false,
                Err(error) => {
                    tracing::warn!(run.id = %self.claim.run.run, attempt, error = &error as &dyn std::error::Error, "the end of a run waits to be stored");
                    tokio::time::sleep(Duration::from_millis(100) * 2u32.pow(attempt)).await;
                }
            }
        }
        false
    }

    async fn release(&self) {
        if let Err(error) = self.context.store.release(&self.claim).await {
            tracing::warn!(run.id = %self.claim.run.run, error = &error as &dyn std::error::Error, "a claim could not be given back; it lapses");
        }
    }
}

/// Whether the tree of a run's last attempt is gone; see [`former::await_gone`].
pub(crate) use former::await_gone;
