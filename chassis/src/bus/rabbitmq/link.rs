//! A connection that comes back: sessions one after the other, for as long as the process works.

use super::session::{Session, Target};
use super::waits::Waits;
use crate::Tasks;
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The first and the longest wait between two attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// A session that lasted this long was a good one.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// Waits that double up to a longest one, each shortened at random by up to a half, so that many do not come at once.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(BACKOFF.0)
    }

    pub(super) fn next(&mut self) -> Duration {
        let wait = self.0.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.0 = (self.0 * 2).min(BACKOFF.1);
        wait
    }
}

/// The newest session, while there is one.
#[derive(Clone)]
pub(super) struct Link(watch::Receiver<Result<Arc<Session>, String>>);

impl Link {
    /// Begins to connect, and goes on until the tasks end. `part` names the link for the log and for the broker.
    pub(super) fn spawn(target: Arc<Target>, part: &'static str, waits: Arc<Waits>, tasks: &Tasks) -> Self {
        let (sender, receiver) = watch::channel(Err("not connected yet".to_owned()));
        waits.for_part(part, "not connected yet".to_owned());
        let token = tasks.token();
        tasks.spawn("bus connection", async move {
            let mut backoff = Backoff::new();
            loop {
                let reason = tokio::select! {
                    () = token.cancelled() => return,
                    opened = Session::open(&target, part) => match opened {
                        Ok(session) => {
                            let begun = Instant::now();
                            let reason = hold(Arc::new(session), part, &waits, &sender, token.cancelled()).await;
                            if begun.elapsed() > GOOD_SESSION {
                                backoff = Backoff::new();
                            }
                            reason
                        }
                        Err(reason) => reason,
                    },
                };
                waits.for_part(part, reason.clone());
                drop(sender.send_replace(Err(reason)));
                tokio::select! {
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(backoff.next()) => {}
                }
            }
        });
        Self(receiver)
    }

    /// The session of now, or why there is none.
    pub(super) fn now(&self) -> Result<Arc<Session>, String> {
        self.0.borrow().clone()
    }

    /// Waits for a session; None when the work ends.
    pub(super) async fn up(&mut self) -> Option<Arc<Session>> {
        self.0.wait_for(Result::is_ok).await.ok()?.as_ref().ok().cloned()
    }
}

/// Shows a session to everybody until it is lost, and ends it; why it was lost.
async fn hold(
    session: Arc<Session>,
    part: &'static str,
    waits: &Waits,
    sender: &watch::Sender<Result<Arc<Session>, String>>,
    end: impl Future<Output = ()>,
) -> String {
    waits.has_part(part);
    drop(sender.send_replace(Ok(Arc::clone(&session))));
    let blocked = || match session.blocked() {
        Some(reason) => waits.for_part(part, format!("the broker takes no messages now: {reason}")),
        None => waits.has_part(part),
    };
    let reason = tokio::select! {
        () = end => "the service ends".to_owned(),
        reason = session.lost(blocked) => reason,
    };
    // Nobody begins anything on a session that ends.
    drop(sender.send_replace(Err(reason.clone())));
    session.close().await;
    reason
}
