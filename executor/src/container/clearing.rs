//! The end of an attempt's containers.
//!
//! An engine goes on making a container though whoever asked for it has gone away, and one that it cannot remove now it can
//! remove a moment later. So an end waits for what is being made, lets nothing more be made, and removes until nothing is
//! listed any longer.

use super::engine::{CALL_LIMIT, Engine};
use super::found::{Listed, list, remove};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long what is being made is waited for: as long as for one call to the engine. What is made later than that is found
/// by the next executor that looks for leftovers.
const MAKING_LIMIT: Duration = Duration::from_secs(CALL_LIMIT);
/// How long an engine that fails is tried. Kept short: a node whose machine has lost its engine is to find another place.
pub(super) const REMOVAL_LIMIT: Duration = Duration::from_secs(40);
/// A removal that takes longer is told of, though nothing is wrong with it.
const TOLD_AFTER: Duration = Duration::from_secs(5);
/// The wait before another look. It doubles.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

const OVER: &str = "the node has ended: no container is made for it any more";
const UNANSWERED: &str = "the engine was asked for a container of the node and has not answered";
const BEING_MADE: &str = "a container of the node is being made still, and is removed then";
const BEING_REMOVED: &str = "the node's containers are being removed";

/// The containers of an attempt that are being made.
#[derive(Default)]
pub(super) struct Makings(Rc<watch::Sender<State>>);

#[derive(Default)]
struct State {
    under_way: usize,
    is_over: bool,
}

/// A making, until this is dropped.
struct Making(Rc<watch::Sender<State>>);

impl Drop for Making {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.under_way -= 1);
    }
}

impl Makings {
    /// Makes a container, unless the node has ended. It is gone on with though nobody waits for it any longer.
    ///
    /// # Errors
    /// In words, when it cannot be made.
    pub(super) async fn run(&self, make: impl Future<Output = Result<(), String>> + 'static) -> Result<(), String> {
        if self.0.borrow().is_over {
            return Err(OVER.to_owned());
        }
        self.0.send_modify(|state| state.under_way += 1);
        let making = Making(Rc::clone(&self.0));
        let made = tokio::task::spawn_local(async move {
            let _making = making;
            make.await
        });
        made.await.unwrap_or_else(|error| Err(format!("the making of a container broke off: {error}")))
    }

    /// Lets no more begin, and waits for those that have begun.
    ///
    /// # Errors
    /// In words, when one of them has no end.
    pub(super) async fn end(&self, told: &watch::Sender<Option<String>>) -> Result<(), String> {
        self.0.send_modify(|state| state.is_over = true);
        if self.0.borrow().under_way > 0 {
            told.send_replace(Some(BEING_MADE.to_owned()));
        }
        let mut state = self.0.subscribe();
        let over = timeout(MAKING_LIMIT, state.wait_for(|state| state.under_way == 0)).await;
        over.map(drop).map_err(|_| UNANSWERED.to_owned())
    }
}

/// Removes the containers with these labels that are meant, until there are none. What is in its way is told meanwhile.
///
/// # Errors
/// In words, when the engine fails for so long. A call under way is not broken off: an engine that is slow comes to an end.
pub(super) async fn remove_all(
    engine: &Engine,
    labels: &[String],
    is_meant: impl Fn(&Listed) -> bool,
    limit: Duration,
    told: &watch::Sender<Option<String>>,
) -> Result<(), String> {
    let until = Instant::now() + limit;
    let removing = async {
        let mut pause = PAUSE_MIN;
        loop {
            // The look after a removal that took long is one more.
            let is_last = Instant::now() >= until;
            match remove_listed(engine, labels, &is_meant).await {
                Ok(0) => return Ok(()),
                Ok(left) if is_last => return Err(format!("the engine lists {left} of them still")),
                Ok(_) => {}
                Err(reason) if is_last => return Err(reason),
                Err(reason) => {
                    tracing::warn!(reason, "the removal of containers is tried again");
                    told.send_replace(Some(format!("{BEING_REMOVED}: {reason}")));
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    };
    tokio::pin!(removing);
    if let Ok(removed) = timeout(TOLD_AFTER, &mut removing).await {
        return removed;
    }
    told.send_if_modified(|told| {
        let is_new = told.as_deref().is_none_or(|words| words == BEING_MADE);
        if is_new {
            *told = Some(BEING_REMOVED.to_owned());
        }
        is_new
    });
    removing.await
}

/// How many there were. Each of them is tried.
async fn remove_listed(
    engine: &Engine,
    labels: &[String],
    is_meant: impl Fn(&Listed) -> bool,
) -> Result<usize, String> {
    let found: Vec<Listed> = list(engine, labels.to_vec()).await?.into_iter().filter(is_meant).collect();
    let mut removed = Ok(found.len());
    for Listed { id, attempt, .. } in &found {
        tracing::info!(id, attempt, "a container is removed");
        removed = remove(engine, id).await.and(removed);
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::sync::oneshot;
    use tokio::task::LocalSet;

    #[tokio::test(flavor = "current_thread")]
    async fn an_end_waits_for_what_nobody_else_waits_for() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let (makings, told) = (Makings::default(), watch::channel(None).0);
                let (answer, answered) = oneshot::channel::<()>();
                let is_made = Rc::new(Cell::new(false));
                let made = Rc::clone(&is_made);
                let mut given_up = Box::pin(makings.run(async move {
                    let _ = answered.await;
                    made.set(true);
                    Ok(())
                }));
                assert!(futures_util::poll!(&mut given_up).is_pending());
                drop(given_up);
                let mut end = Box::pin(makings.end(&told));
                assert!(futures_util::poll!(&mut end).is_pending());
                assert_eq!(told.borrow().as_deref(), Some(BEING_MADE));
                answer.send(()).unwrap();
                end.await.unwrap();
                assert!(is_made.get());
                assert_eq!(makings.run(async { Ok(()) }).await, Err(OVER.to_owned()));
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_engine_that_is_gone_is_not_tried_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let engine = Engine::unasked(&socket).unwrap();
        let told = watch::channel(None).0;
        let limit = Duration::from_secs(1);
        let left = remove_all(&engine, &["a=b".to_owned()], |_| true, limit, &told).await.unwrap_err();
        assert!(left.starts_with("the engine does not answer: "), "{left}");
        assert_eq!(told.borrow().as_ref(), Some(&format!("{BEING_REMOVED}: {left}")));
    }
}
