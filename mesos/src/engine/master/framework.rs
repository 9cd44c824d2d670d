//! A framework as the master knows it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::effects::Connection;
use crate::engine::records::FrameworkRecord;
use crate::resources::Resources;
use crate::v1::{CapabilityType, Filters, FrameworkInfo};

/// For how long declined resources are not offered again, unless the framework says otherwise.
const DEFAULT_REFUSAL: Duration = Duration::from_secs(5);
/// Mesos's own limit of a refusal.
const LONGEST_REFUSAL: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) info: FrameworkInfo,
    pub(crate) link: Link,
    pub(crate) suppressed: BTreeSet<String>,
    filters: Vec<Filter>,
}

/// Whether the scheduler listens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Link {
    Connected {
        connection: Connection,
        stream_id: String,
        heartbeat_at: Duration,
    },
    /// Removed at that time, unless it comes back.
    Away {
        remove_at: Duration,
    },
}

/// Resources that the framework does not want for a while.
#[derive(Debug)]
struct Filter {
    role: String,
    resources: Resources,
    until: Duration,
}

impl Framework {
    pub(crate) fn new(info: FrameworkInfo, suppressed: &[String], link: Link) -> Self {
        Framework { info, link, suppressed: suppressed.iter().cloned().collect(), filters: Vec::new() }
    }

    pub(crate) fn record(&self) -> FrameworkRecord {
        FrameworkRecord { info: self.info.clone(), suppressed: self.suppressed.iter().cloned().collect() }
    }

    pub(crate) fn connection(&self) -> Option<Connection> {
        match &self.link {
            Link::Connected { connection, .. } => Some(*connection),
            Link::Away { .. } => None,
        }
    }

    pub(crate) fn has(&self, capability: CapabilityType) -> bool {
        self.info.has(capability)
    }

    pub(crate) fn failover_timeout(&self) -> Duration {
        let seconds = self.info.failover_timeout.unwrap_or(0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_REFUSAL)
    }

    /// The roles that offers are wanted for.
    pub(crate) fn wanting_roles(&self) -> Vec<String> {
        let mut roles = self.info.all_roles();
        roles.retain(|role| !self.suppressed.contains(role));
        roles
    }

    /// Refuses resources as the framework said.
    pub(crate) fn refuse(&mut self, role: &str, resources: Resources, filters: Option<Filters>, now: Duration) {
        let seconds = filters.and_then(|filters| filters.refuse_seconds);
        let refusal = match seconds {
            None => DEFAULT_REFUSAL,
            // Not a number, negative or beyond counting: Mesos takes its default, too.
            Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(DEFAULT_REFUSAL),
        };
        if refusal.is_zero() || resources.is_empty() {
            return;
        }
        self.filters.push(Filter { role: role.to_owned(), resources, until: now + refusal.min(LONGEST_REFUSAL) });
    }

    /// Whether the framework has refused `resources`, or more.
    pub(crate) fn refuses(&self, role: &str, resources: &Resources) -> bool {
        let mut filters = self.filters.iter();
        filters.any(|filter| filter.role == role && filter.resources.contains(resources))
    }

    /// Forgets the refusals for `roles` (none: all).
    pub(crate) fn forget_refusals(&mut self, roles: &[String]) {
        self.filters.retain(|filter| !roles.is_empty() && !roles.contains(&filter.role));
    }

    /// Drops the refusals whose time is over. Says whether there were any.
    pub(crate) fn expire_refusals(&mut self, now: Duration) -> bool {
        let before = self.filters.len();
        self.filters.retain(|filter| filter.until > now);
        self.filters.len() < before
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let link = match self.link {
            Link::Connected { heartbeat_at, .. } => heartbeat_at,
            Link::Away { remove_at } => remove_at,
        };
        self.filters.iter().map(|filter| filter.until).chain([link]).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Resource;

    fn framework() -> Framework {
        let link = Link::Away { remove_at: Duration::MAX };
        Framework::new(FrameworkInfo::default(), &[], link)
    }

    fn cpus(amount: f64) -> Resources {
        [Resource::scalar("cpus", amount)].iter().collect()
    }

    #[test]
    fn what_was_refused_is_refused_for_its_time_and_role_but_more_is_not() {
        let mut framework = framework();
        let filters = Some(Filters { refuse_seconds: Some(10.0) });
        framework.refuse("a", cpus(2.0), filters, Duration::from_secs(1));
        assert!(framework.refuses("a", &cpus(2.0)));
        assert!(framework.refuses("a", &cpus(1.0)));
        assert!(!framework.refuses("a", &cpus(2.1)));
        assert!(!framework.refuses("b", &cpus(1.0)));
        assert!(!framework.expire_refusals(Duration::from_secs(10)));
        assert!(framework.expire_refusals(Duration::from_secs(11)));
        assert!(!framework.refuses("a", &cpus(1.0)));
    }

    #[test]
    fn strange_refusals_last_as_long_as_usual_and_none_lasts_no_time() {
        let refusing = |seconds| {
            let mut framework = framework();
            let filters = Some(Filters { refuse_seconds: seconds });
            framework.refuse("a", cpus(1.0), filters, Duration::ZERO);
            framework.filters.first().map(|filter| filter.until)
        };
        assert_eq!(refusing(None), Some(DEFAULT_REFUSAL));
        assert_eq!(refusing(Some(-1.0)), Some(DEFAULT_REFUSAL));
        assert_eq!(refusing(Some(f64::NAN)), Some(DEFAULT_REFUSAL));
        assert_eq!(refusing(Some(1e12)), Some(LONGEST_REFUSAL));
        assert_eq!(refusing(Some(0.0)), None);
    }

    #[test]
    fn reviving_forgets_refusals_of_the_roles_named() {
        let mut framework = framework();
        for role in ["a", "b"] {
            framework.refuse(role, cpus(1.0), None, Duration::ZERO);
        }
        framework.forget_refusals(&["a".to_owned()]);
        assert!(!framework.refuses("a", &cpus(1.0)));
        assert!(framework.refuses("b", &cpus(1.0)));
        framework.forget_refusals(&[]);
        assert!(!framework.refuses("b", &cpus(1.0)));
    }
}
