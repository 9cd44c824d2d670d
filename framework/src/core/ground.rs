//! Whether the database may have been lost: it holds nothing, and Mesos holds nodes or volumes that this registry's
//! clusters have, or that this framework had under a registry that was lost with it. Whoever placed clusters anew then would run each of them twice, and leave their data behind.

use super::{Core, Session, State};
use crate::placement::take::{LABEL_CLUSTER, LABEL_REGISTRY};
use bigdata_common::Timestamp;
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::Resource;

/// Another master leads, or another replica has subscribed, sooner than this: who is away for longer is told of.
const AWAY_FOR_A_MOMENT_MS: u64 = 10_000;

/// What the decisions stand on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The database knows of attempts or volumes, or nothing was to be known.
    Sound,
    /// It knows of none. Nothing is placed until the master was asked what it has.
    Empty {
        /// Whether it was asked.
        examined: bool,
    },
    /// Mesos has what the database should know. Nothing is placed.
    Lost {
        /// What was found, in words.
        found: Vec<String>,
    },
}

impl Ground {
    /// Of a database as it was read.
    pub(super) fn of(state: &State, adopt_nothing: bool) -> Self {
        let empty = state.tasks.is_empty() && state.ended.is_empty() && state.volumes.is_empty();
        if empty && !adopt_nothing { Self::Empty { examined: false } } else { Self::Sound }
    }
}

impl Core {
    /// Whether the master is to be asked what it has.
    pub(crate) fn is_to_be_examined(&self) -> bool {
        self.ground == Ground::Empty { examined: false }
    }

    /// Whether the database was lost, or nobody knows yet that it was not.
    pub(crate) fn may_be_lost(&self) -> bool {
        matches!(self.ground, Ground::Empty { examined: false } | Ground::Lost { .. })
    }

    /// What the master has of this framework's clusters: tasks and volumes, in words.
    pub(super) fn examined(&mut self, found: Vec<String>) {
        if !matches!(self.ground, Ground::Empty { .. }) {
            return;
        }
        if found.is_empty() {
            self.ground = Ground::Empty { examined: true };
        } else {
            self.found_lost(found);
        }
        self.changed = true;
    }

    fn found_lost(&mut self, found: Vec<String>) {
        tracing::error!(?found, "the framework's database was lost, or is another one: nothing is placed");
        self.ground = Ground::Lost { found };
    }

    /// An offer says as well what there is. A volume is known here until it has been destroyed.
    pub(super) fn examine_offer(&mut self, host: &str, offered: &Resources) {
        if !matches!(self.ground, Ground::Empty { .. }) {
            return;
        }
        let own = self.policy.rules.registry.as_str();
        let volume = |entry: &Resource| {
            let id = entry.persistence_id()?;
            let labels = entry.reservations.last()?.labels.as_ref()?;
            (labels.get(LABEL_REGISTRY) == Some(own)).then(|| {
                let cluster = labels.get(LABEL_CLUSTER).unwrap_or_default();
                format!("volume {id} of {cluster} on {host}")
            })
        };
        let found: Vec<String> = offered.iter().filter_map(volume).collect();
        if !found.is_empty() {
            self.found_lost(found);
        }
    }

    /// Something has been placed: from now on the database knows.
    pub(super) fn is_sound_from_now(&mut self) {
        if matches!(self.ground, Ground::Empty { .. }) {
            self.ground = Ground::Sound;
        }
    }

    /// Why nothing at all can be placed now; None where offers decide.
    pub(crate) fn why_not_placing(&self) -> Option<String> {
        if self.expelled.is_some() {
            return self.expelled.clone();
        }
        match (&self.ground, &self.session) {
            (Ground::Lost { .. }, _) => self.lost_in_words(),
            (Ground::Empty { examined: false }, Session::Away { reason, .. }) => {
                Some(format!("the master is being asked what it has already: {reason}"))
            }
            (Ground::Empty { examined: false }, Session::Subscribed) => {
                Some("the master is being asked what it has already".to_owned())
            }
            (_, Session::Away { reason, .. }) => Some(format!("the Mesos master is away: {reason}")),
            (_, Session::Subscribed) => None,
        }
    }

    /// What an operator must see to, or at least hear of.
    pub(crate) fn trouble_in_words(&self) -> Option<String> {
        self.lost_in_words().or_else(|| self.expelled.clone())
    }

    /// Why there is no subscription, where there has been none for longer than a moment.
    pub(crate) fn away_in_words(&self, now: Timestamp) -> Option<String> {
        let Session::Away { since: Some(since), reason } = &self.session else { return None };
        if now.millis_since(*since) <= AWAY_FOR_A_MOMENT_MS {
            return None;
        }
        match &self.ground {
            // There is a master, and this framework keeps away from it.
            Ground::Lost { .. } => None,
            Ground::Empty { examined: false } => {
                Some(format!("the Mesos master has not answered since {since}, asked what it has already: {reason}"))
            }
            _ => Some(format!("the Mesos master is away since {since}: {reason}")),
        }
    }

    /// What was lost and what to do about it; None where nothing was.
    pub(crate) fn lost_in_words(&self) -> Option<String> {
        let Ground::Lost { found } = &self.ground else { return None };
        let (first, more) = (found.first()?, found.len() - 1);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!(
            "the framework's database is empty, and Mesos has {first}{more}, which it should know: restore the database's \
             backup and start again, or set framework.adopt_nothing = true to leave them alone for good and place \
             clusters anew"
        ))
    }
}
