//! Whether a process can take requests, and what it waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a process waits for while the shipped products are being registered: a product that is not known then may still come.
pub const CATALOG: &str = "catalog";

/// What a process waits for, each with its reason. Cheap to clone; the clones are one.
///
/// Some of it keeps the process from taking requests: whoever hands them out (a load balancer) is to ask another one. The
/// rest holds up what comes of them, at every replica alike: requests are taken, and people are told.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Wait>>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Wait {
    reason: String,
    takes_requests: bool,
}

impl Readiness {
    /// From now on the process takes no requests, since it waits for `what`; told to the log when it is new or its reason
    /// has changed.
    pub fn waits_for(&self, what: &'static str, reason: impl Into<String>) {
        self.note(what, Wait { reason: reason.into(), takes_requests: false });
    }

    /// From now on the process takes requests, and what comes of them waits for `what`; told to the log as above.
    pub fn is_held_up_by(&self, what: &'static str, reason: impl Into<String>) {
        self.note(what, Wait { reason: reason.into(), takes_requests: true });
    }

    fn note(&self, what: &'static str, wait: Wait) {
        let before = self.lock().insert(what, wait.clone());
        if before.as_ref() != Some(&wait) {
            tracing::warn!(what, reason = wait.reason, takes_requests = wait.takes_requests, "waits");
        }
    }

    /// `what` is there.
    pub fn has(&self, what: &'static str) {
        if self.lock().remove(what).is_some() {
            tracing::info!(what, "there again");
        }
    }

    /// Everything that is waited for, with reasons.
    pub fn awaited(&self) -> BTreeMap<&'static str, String> {
        self.lock().iter().map(|(what, wait)| (*what, wait.reason.clone())).collect()
    }

    /// Whether nothing keeps the process from taking requests.
    pub fn takes_requests(&self) -> bool {
        self.lock().values().all(|wait| wait.takes_requests)
    }

    /// Whether the process waits for `what`.
    pub fn lacks(&self, what: &str) -> bool {
        self.lock().contains_key(what)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_work_up_keeps_no_request_away() {
        let readiness = Readiness::default();
        assert!(readiness.takes_requests() && readiness.awaited().is_empty());
        readiness.is_held_up_by("bus", "no broker");
        assert!(readiness.takes_requests() && readiness.lacks("bus"));
        readiness.waits_for("database", "refused");
        assert!(!readiness.takes_requests());
        assert_eq!(
            readiness.awaited(),
            BTreeMap::from([("bus", "no broker".to_owned()), ("database", "refused".to_owned())])
        );
        readiness.has("database");
        assert!(readiness.takes_requests());
        readiness.has("bus");
        assert!(readiness.awaited().is_empty());
    }
}
