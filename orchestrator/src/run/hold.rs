//! A claim as its driver knows it: until when it may act on it, by the monotonic clock of this process.
//!
//! The claim's own time begins when the database has it; what is counted here begins before it was asked, and ends earlier.
//! Whoever takes a lapsed claim on another machine sees nothing of the former tree: so it is gone by then, ended by its
//! driver, or by its sandbox where the driver is stopped.

use crate::store::{Claim, Store, StoreError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The longest pause between two renewals: a cancel that another replica wrote down is seen with them.
const RENEWAL_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Says whether the claim is held. Clones look at the same claim.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    until: watch::Receiver<Instant>,
    lost: CancellationToken,
}

/// Renews the claim.
pub(crate) struct Renewal {
    store: Store,
    claim: Claim,
    lease: Duration,
    until: watch::Sender<Instant>,
    lost: CancellationToken,
    cancel: CancellationToken,
}

/// For how long a claim that was asked for just now may be acted on: what is left of it is for ending the script's tree.
fn held_for(lease: Duration) -> Duration {
    lease * 3 / 5
}

/// A claim that was asked for at `asked_at`, and what renews it. `cancel` is cancelled when its run is no longer wanted.
pub(crate) fn hold(
    store: &Store,
    claim: &Claim,
    lease_ms: u64,
    asked_at: Instant,
    cancel: &CancellationToken,
) -> (Hold, Renewal) {
    let lease = Duration::from_millis(lease_ms);
    let (until, receiver) = watch::channel(asked_at + held_for(lease));
    let lost = CancellationToken::new();
    let renewal = Renewal {
        store: store.clone(),
        claim: claim.clone(),
        lease,
        until,
        lost: lost.clone(),
        cancel: cancel.clone(),
    };
    (Hold { until: receiver, lost }, renewal)
}

impl Hold {
    /// Whether the claim may be acted on now. True does not say that nobody has taken it: the database does.
    pub(crate) fn is_good(&self) -> bool {
        !self.lost.is_cancelled() && !self.left().is_zero()
    }

    /// For how long the claim may still be acted on.
    pub(crate) fn left(&self) -> Duration {
        self.until.borrow().saturating_duration_since(Instant::now())
    }

    /// Resolves when the claim is lost.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Resolves when the claim was renewed. Cancel-safe.
    pub(crate) async fn renewed(&mut self) {
        // The sender lives as long as the run is driven.
        if self.until.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Renewal {
    /// Renews the claim again and again; returns when it is lost, or could not be renewed in time.
    pub(crate) async fn forever(self) {
        let pause = (self.lease / 8).clamp(Duration::from_millis(10), RENEWAL_PAUSE_MAX);
        loop {
            tokio::time::sleep(pause).await;
            let asked_at = Instant::now();
            let until = *self.until.borrow();
            let lease_ms = u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX);
            // A database that does not answer must not hold up the end of the script.
            match timeout_at(until, self.store.renew(&self.claim, lease_ms)).await {
                // Where this process was stopped for long, the answer is as old.
                _ if Instant::now() >= until => {
                    tracing::error!(run.id = %self.claim.run.run, "a claim could not be renewed in time; its script is ended");
                    break;
                }
                Ok(Ok(cancel_wanted)) => {
                    self.until.send_replace(asked_at + held_for(self.lease));
                    if cancel_wanted {
                        self.cancel.cancel();
                    }
                }
                Ok(Err(StoreError::Overtaken)) => {
                    tracing::error!(run.id = %self.claim.run.run, "another replica has taken the run; its script is ended");
                    break;
                }
                Ok(Err(error)) => {
                    tracing::warn!(run.id = %self.claim.run.run, error = &error as &dyn std::error::Error, "a claim could not be renewed");
                }
                Err(_) => {}
            }
        }
        self.lost.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_let_go_well_before_it_lapses() {
        let lease = Duration::from_secs(15);
        assert_eq!(held_for(lease), Duration::from_secs(9), "six seconds are left to end the tree");
        let (sender, until) = watch::channel(Instant::now() + held_for(lease));
        let hold = Hold { until, lost: CancellationToken::new() };
        assert!(hold.is_good() && hold.left() > Duration::from_secs(8));
        sender.send_replace(Instant::now());
        assert!(!hold.is_good(), "its time has passed, though nobody has noticed yet");
        sender.send_replace(Instant::now() + held_for(lease));
        hold.lost.cancel();
        assert!(!hold.is_good(), "what was lost is not had again");
    }
}
