//! Grants of a moment ago: a script that writes twenty files asks the framework once.

use bigdata_common::internal::ControlGrant;
use bigdata_common::{ClusterId, Name, Timestamp};
use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;

/// The longest that a grant is used again, in milliseconds.
const KEPT_MS: i64 = 20_000;
/// A grant that ends sooner than this is not used again, in milliseconds.
const MARGIN_MS: i64 = 5_000;
/// The most that are kept.
const GRANTS_MAX: usize = 1024;

/// Whose grant for which node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) cluster: ClusterId,
    pub(crate) node: Name,
    pub(crate) caller: Name,
}

/// The grants in use.
#[derive(Default)]
pub(crate) struct Grants(Mutex<HashMap<Key, Kept>>);

struct Kept {
    grant: ControlGrant,
    until: Timestamp,
}

impl fmt::Debug for Grants {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Grants(…)")
    }
}

impl Grants {
    /// The grant for this key, if it still holds.
    pub(crate) fn get(&self, key: &Key, now: Timestamp) -> Option<ControlGrant> {
        let grants = self.lock();
        grants.get(key).filter(|kept| kept.until > now).map(|kept| kept.grant.clone())
    }

    /// Keeps a grant for a while.
    pub(crate) fn keep(&self, key: Key, grant: ControlGrant, now: Timestamp) {
        let mut grants = self.lock();
        if grants.len() >= GRANTS_MAX {
            grants.retain(|_, kept| kept.until > now);
        }
        if grants.len() < GRANTS_MAX {
            let until = expiry(&grant).plus_millis(-MARGIN_MS).min(now.plus_millis(KEPT_MS));
            grants.insert(key, Kept { grant, until });
        }
    }

    /// Drops a grant that did not lead to its node.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Kept>> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

/// When the grant's token ends: the second of its parts (see [`ControlGrant::token`]); long ago where it has none.
fn expiry(grant: &ControlGrant) -> Timestamp {
    let millis = grant.token.split('.').nth(1).and_then(|part| part.parse().ok());
    Timestamp::from_millis(millis.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::AttemptId;

    fn key(node: &str) -> Key {
        Key {
            cluster: "clusters--local--mysql--8__0--1".parse().unwrap(),
            node: node.parse().unwrap(),
            caller: "local".parse().unwrap(),
        }
    }

    fn grant(expiry: &str) -> ControlGrant {
        let attempt = AttemptId("6f0c9c4e-28a5-4c5e-8a3b-0b8f4a7d9e11".parse().unwrap());
        let token = format!("{attempt}.{expiry}.local.00");
        ControlGrant { control: "127.0.0.1:1".to_owned(), fingerprint: String::new(), attempt, token }
    }

    #[test]
    fn a_grant_is_used_again_briefly_and_never_past_its_end() {
        let grants = Grants::default();
        let start = Timestamp::from_millis(1_000_000);
        for (expiry, good_for_ms) in [("1010000", 5_000), ("9000000", KEPT_MS), ("garbage", 0)] {
            grants.keep(key("a"), grant(expiry), start);
            assert_eq!(
                grants.get(&key("a"), start.plus_millis(good_for_ms - 1)).is_some(),
                good_for_ms > 0,
                "{expiry}"
            );
            assert!(grants.get(&key("a"), start.plus_millis(good_for_ms)).is_none(), "{expiry}");
        }
        grants.keep(key("a"), grant("9000000"), start);
        assert!(grants.get(&key("b"), start).is_none());
        grants.forget(&key("a"));
        assert!(grants.get(&key("a"), start).is_none());
    }

    #[test]
    fn no_more_are_kept_than_the_limit() {
        let grants = Grants::default();
        let start = Timestamp::from_millis(0);
        for number in 0..GRANTS_MAX + 10 {
            grants.keep(key(&format!("n{number}")), grant("9000000"), start);
        }
        assert_eq!(grants.lock().len(), GRANTS_MAX);
        grants.keep(key("later"), grant("9000000"), start.plus_millis(KEPT_MS));
        assert!(grants.get(&key("later"), start.plus_millis(KEPT_MS)).is_some());
    }
}
