//! The lease as its holder sees it: by a clock that nobody sets, and that goes on while the process stands still.

use crate::store::{self, Claim};
use bigdata_chassis::{Clock, Db, Tasks};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longer than any process lives.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A term of leadership. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lease(Arc<Inner>);

struct Inner {
    claim: Claim,
    length: Duration,
    /// How long after it was renewed it is held here.
    held_for: Duration,
    /// Until then nobody else leads, unless it listens where this process did; None: it is lost.
    until: Mutex<Option<Instant>>,
    /// What runs during the term; asked to end when the lease is lost.
    tasks: Tasks,
}

impl Lease {
    /// A lease that was asked for at `asked`: it runs out no earlier in the database.
    ///
    /// `alone`: no other process can have the database. Then nobody leads when it has run out, and a machine that is too
    /// busy to renew it in time is no reason to end the term; every transaction checks it all the same.
    pub(crate) fn new(claim: Claim, asked: Instant, length: Duration, alone: bool) -> Self {
        let held_for = if alone { FOR_EVER } else { length };
        let until = Mutex::new(Some(asked + held_for));
        Self(Arc::new(Inner { claim, length, held_for, until, tasks: Tasks::new() }))
    }

    /// What is shown with everything that is written.
    pub(crate) fn claim(&self) -> &Claim {
        &self.0.claim
    }

    /// What runs during the term.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    fn until(&self) -> Option<Instant> {
        *self.0.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody else can lead now.
    pub(crate) fn is_held(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    /// It is another's, or will be.
    pub(crate) fn lose(&self) {
        *self.0.until.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.tasks.token().cancel();
    }

    /// Resolves when the lease is no longer held. Cancel safe.
    pub(crate) async fn lost(&self) {
        while let Some(until) = self.until().filter(|until| Instant::now() < *until) {
            let token = self.0.tasks.token();
            tokio::select! {
                () = token.cancelled() => if self.until().is_some() {
                    // The term's tasks end for another reason: the lease stays.
                    tokio::time::sleep_until(until).await;
                },
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    fn extend(&self, asked: Instant) {
        let mut until = self.0.until.lock().unwrap_or_else(PoisonError::into_inner);
        // What was lost stays lost, even if the answer comes now.
        if until.is_some_and(|until| Instant::now() < until) {
            *until = Some(asked + self.0.held_for);
        }
    }

    /// Renews the lease until it is lost or the term's tasks end.
    pub(crate) async fn keep(self, db: Db, clock: Clock) {
        let token = self.0.tasks.token();
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(self.0.length / 3) => {}
            }
            let asked = Instant::now();
            let Some(until) = self.until() else { return };
            let renewed = store::renew(&db, &self.0.claim, self.0.length, clock.now());
            match tokio::time::timeout_at(until, renewed).await {
                Ok(Ok(true)) => self.extend(asked),
                Ok(Ok(false)) => self.lose(),
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the leadership is renewed again");
                }
                Err(_) => tracing::warn!("the leadership could not be renewed in time"),
            }
            if !self.is_held() {
                self.lose();
                return;
            }
        }
    }
}
