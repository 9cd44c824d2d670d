//! Whether a process can do its work, and what it waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a process waits for, each with its reason. Empty: it is ready. Cheap to clone; the clones are one.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Readiness {
    /// From now on the process waits for `what`; told to the log when it is new or its reason has changed.
    pub fn waits_for(&self, what: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        let before = self.lock().insert(what, reason.clone());
        if before.as_ref() != Some(&reason) {
            tracing::warn!(what, reason, "not ready");
        }
    }

    /// `what` is there.
    pub fn has(&self, what: &'static str) {
        if self.lock().remove(what).is_some() {
            tracing::info!(what, "ready again");
        }
    }

    /// What is waited for, with reasons.
    pub fn awaited(&self) -> BTreeMap<&'static str, String> {
        self.lock().clone()
    }

    /// Whether the process waits for `what`.
    pub fn lacks(&self, what: &str) -> bool {
        self.lock().contains_key(what)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
