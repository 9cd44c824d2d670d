//! Makes calls to the master in a task of its own, while the lease is held. The driver never waits for it.

use super::queue::Queue;
use crate::core::output::{Call, Input};
use crate::leadership::Lease;
use bigdata_mesos::call::scheduler as build;
use bigdata_mesos::client::scheduler::{CallError, Handle};
use bigdata_mesos::v1::{Filters, scheduler};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Failures that wait; what does not fit is found out by reconciliation.
const FAILURES: usize = 64;

/// See the [module](self).
pub(super) struct Caller {
    waiting: Arc<Waiting>,
    failures: mpsc::Receiver<Input>,
}

#[derive(Default)]
struct Waiting {
    queue: Mutex<Queue<Handle>>,
    filled: Notify,
}

impl Waiting {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue<Handle>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next(&self) -> Vec<(Handle, Call)> {
        loop {
            let calls = self.queue().next();
            if !calls.is_empty() {
                return calls;
            }
            self.filled.notified().await;
        }
    }
}

impl Caller {
    pub(super) fn spawn(lease: &Lease) -> Self {
        let waiting = Arc::new(Waiting::default());
        let (failed, failures) = mpsc::channel(FAILURES);
        let (lease, queued) = (lease.clone(), Arc::clone(&waiting));
        let (tasks, token) = (lease.tasks().clone(), lease.tasks().token());
        tasks.spawn("mesos calls", async move {
            loop {
                let calls = tokio::select! {
                    () = token.cancelled() => return,
                    calls = queued.next() => calls,
                };
                if !lease.is_held() {
                    // A successor says what is to be said.
                    queued.queue().clear();
                    return;
                }
                let made = join_all(calls.into_iter().map(|(handle, call)| async move { make(&handle, call).await }));
                let failures = tokio::select! {
                    () = token.cancelled() => return,
                    failures = made => failures,
                };
                for failure in failures.into_iter().flatten() {
                    // When the queue is full, reconciliation finds it out.
                    let _ = failed.try_send(failure);
                }
            }
        });
        Self { waiting, failures }
    }

    /// Puts a call into the queue. Without a client there is nobody to call, and nothing is lost but time.
    pub(super) fn make(&self, handle: Option<&Handle>, call: Call) {
        if let Some(handle) = handle {
            self.waiting.queue().push(handle.clone(), call);
            self.waiting.filled.notify_one();
        }
    }

    /// A call that was not taken and leaves something to be put right. Cancel safe.
    pub(super) async fn failure(&mut self) -> Input {
        match self.failures.recv().await {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }
}

async fn make(handle: &Handle, call: Call) -> Option<Input> {
    let message = message_of(&call)?;
    let error = handle.call(message).await.err()?;
    tracing::warn!(error = &error as &dyn std::error::Error, call = name_of(&call), "a call to the master failed");
    match (call, error) {
        (Call::Accept { tasks, .. }, error @ (CallError::NotSubscribed | CallError::Refused { .. }))
            if !tasks.is_empty() =>
        {
            Some(Input::NotLaunched { tasks, reason: error.to_string() })
        }
        _ => None,
    }
}

fn refuse(seconds: f64) -> Option<Filters> {
    Some(Filters::refuse(Duration::from_secs_f64(seconds)))
}

fn message_of(call: &Call) -> Option<scheduler::Call> {
    Some(match call.clone() {
        Call::Accept { offers, operations, refuse_seconds, .. } => {
            build::accept(offers, operations, refuse(refuse_seconds))
        }
        Call::Decline { offers, refuse_seconds } => build::decline(offers, refuse(refuse_seconds)),
        Call::AcceptInverse(offers) => build::accept_inverse_offers(offers, None),
        Call::DeclineInverse(offers) => build::decline_inverse_offers(offers, None),
        Call::Revive => build::revive(Vec::new()),
        Call::Suppress => build::suppress(Vec::new()),
        Call::Kill { task, agent } => build::kill(task, agent, None),
        Call::Shutdown { executor, agent } => build::shutdown(executor, agent),
        Call::Acknowledge(status) => return build::acknowledge(&status),
        Call::AcknowledgeOperation(status) => return build::acknowledge_operation(&status),
        Call::Reconcile(tasks) => build::reconcile(tasks),
    })
}

fn name_of(call: &Call) -> &'static str {
    match call {
        Call::Accept { .. } => "ACCEPT",
        Call::Decline { .. } => "DECLINE",
        Call::AcceptInverse(_) => "ACCEPT_INVERSE_OFFERS",
        Call::DeclineInverse(_) => "DECLINE_INVERSE_OFFERS",
        Call::Revive => "REVIVE",
        Call::Suppress => "SUPPRESS",
        Call::Kill { .. } => "KILL",
        Call::Shutdown { .. } => "SHUTDOWN",
        Call::Acknowledge(_) => "ACKNOWLEDGE",
        Call::AcknowledgeOperation(_) => "ACKNOWLEDGE_OPERATION_STATUS",
        Call::Reconcile(_) => "RECONCILE",
    }
}
