//! Several replicas of a service behind one setting, and which of them is asked.
//!
//! The member that answered last is asked first. One that takes no connection is left alone for a while, so that a dead
//! replica does not cost every request a wait; it is still asked when no other one answers.

use hyper::http::uri::Authority;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a member is left alone after its first refused connection; twice as long after each further one.
const DOWN_FIRST: Duration = Duration::from_secs(1);
/// The longest that a member is left alone.
const DOWN_MAX: Duration = Duration::from_secs(10);

/// Where the replicas of one service are reached: at least one `http://host:port`. In settings a string with commas
/// between the URLs, or a list of strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstreams(Vec<Authority>);

/// Why a text names no replicas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstreams {
    /// A part is no URL of a service.
    #[error(
        "{0:?} is no URL of a service: write http://127.0.0.1:5001, and commas between the URLs of several replicas"
    )]
    Url(String),
    /// The same replica twice.
    #[error("{0} is named twice; name every replica once")]
    Twice(Authority),
    /// An empty list.
    #[error("no URL is named; write at least one, like http://127.0.0.1:5001")]
    None,
}

impl Upstreams {
    /// The URLs one by one.
    ///
    /// # Errors
    /// See [`InvalidUpstreams`].
    pub fn of<Url: AsRef<str>>(urls: impl IntoIterator<Item = Url>) -> Result<Self, InvalidUpstreams> {
        let mut members: Vec<Authority> = Vec::new();
        for url in urls {
            let member = authority(url.as_ref())?;
            if members.contains(&member) {
                return Err(InvalidUpstreams::Twice(member));
            }
            members.push(member);
        }
        if members.is_empty() { Err(InvalidUpstreams::None) } else { Ok(Self(members)) }
    }

    /// The members' hosts and ports, in the order of the setting.
    pub fn authorities(&self) -> &[Authority] {
        &self.0
    }
}

fn authority(url: &str) -> Result<Authority, InvalidUpstreams> {
    let invalid = || InvalidUpstreams::Url(url.trim().to_owned());
    let rest = url.trim().strip_prefix("http://").ok_or_else(invalid)?;
    let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| invalid())?;
    let host = authority.host();
    // The parser takes anything for a port, and reads what is no number as none.
    let port_is_one = authority.as_str() == host || authority.port_u16().is_some_and(|port| port != 0);
    let is_plain = !host.is_empty() && !authority.as_str().contains('@');
    if is_plain && port_is_one { Ok(authority) } else { Err(invalid()) }
}

impl FromStr for Upstreams {
    type Err = InvalidUpstreams;

    fn from_str(text: &str) -> Result<Self, InvalidUpstreams> {
        if text.trim().is_empty() {
            return Err(InvalidUpstreams::None);
        }
        Self::of(text.split(','))
    }
}

impl TryFrom<&str> for Upstreams {
    type Error = InvalidUpstreams;

    fn try_from(text: &str) -> Result<Self, InvalidUpstreams> {
        text.parse()
    }
}

impl TryFrom<String> for Upstreams {
    type Error = InvalidUpstreams;

    fn try_from(text: String) -> Result<Self, InvalidUpstreams> {
        text.parse()
    }
}

impl From<SocketAddr> for Upstreams {
    fn from(address: SocketAddr) -> Self {
        Self(vec![address.to_string().parse().expect("a socket's address is a host and a port")])
    }
}

impl fmt::Display for Upstreams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, member) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(formatter, "{comma}http://{member}")?;
        }
        Ok(())
    }
}

impl Serialize for Upstreams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Upstreams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a URL, several with commas between them, or a list of URLs")]
        enum Form {
            Text(String),
            List(Vec<String>),
        }
        match Form::deserialize(deserializer)? {
            Form::Text(text) => text.parse(),
            Form::List(urls) => Self::of(urls),
        }
        .map_err(D::Error::custom)
    }
}

/// The replicas of one service, and what is known of them. Shared by all who ask the same service.
#[derive(Debug)]
pub struct Members {
    members: Vec<Member>,
    /// The position of the member that is asked first.
    preferred: AtomicUsize,
    began: Instant,
}

#[derive(Debug)]
struct Member {
    authority: Authority,
    base: String,
    /// Connections that it has refused, or not answered on, in a row.
    refusals: AtomicU32,
    /// Until when it is left alone, in milliseconds since `began`.
    down_until: AtomicU64,
}

impl From<Upstreams> for Members {
    fn from(upstreams: Upstreams) -> Self {
        let member = |authority: Authority| Member {
            base: format!("http://{authority}"),
            authority,
            refusals: AtomicU32::new(0),
            down_until: AtomicU64::new(0),
        };
        let members = upstreams.0.into_iter().map(member).collect();
        Self { members, preferred: AtomicUsize::new(0), began: Instant::now() }
    }
}

impl Members {
    /// The position of the member that is asked first, whatever is known of it.
    pub fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// A member's base URL, without a `/` at its end.
    pub fn base(&self, position: usize) -> &str {
        &self.members[position].base
    }

    /// A member's host and port.
    pub fn authority(&self, position: usize) -> &Authority {
        &self.members[position].authority
    }

    /// Each member by itself; nothing is known of it yet.
    pub(super) fn alone(&self) -> impl Iterator<Item = Members> {
        self.members.iter().map(|member| Upstreams(vec![member.authority.clone()]).into())
    }

    /// The positions of all members in the order in which one request asks them: the preferred one and those behind it,
    /// then those that are left alone now.
    pub fn round(&self, now: Instant) -> Vec<usize> {
        let count = self.members.len();
        if count == 1 {
            return vec![0];
        }
        let now = self.millis(now);
        let in_turn = (0..count).map(|step| (self.preferred() + step) % count);
        let is_down = |position: &usize| self.members[*position].down_until.load(Ordering::Relaxed) > now;
        let (down, mut round): (Vec<usize>, Vec<usize>) = in_turn.partition(is_down);
        round.extend(down);
        round
    }

    /// The member has answered: it is asked first from now on.
    pub fn answered(&self, position: usize) {
        if self.preferred() != position {
            self.preferred.store(position, Ordering::Relaxed);
            tracing::info!(upstream = self.base(position), "another replica is asked from now on");
        }
        let member = &self.members[position];
        if member.refusals.load(Ordering::Relaxed) != 0 {
            member.refusals.store(0, Ordering::Relaxed);
            member.down_until.store(0, Ordering::Relaxed);
        }
    }

    /// The member took no connection, or did not answer in time.
    pub fn refused(&self, position: usize, now: Instant) {
        let member = &self.members[position];
        let now = self.millis(now);
        let until = member.down_until.load(Ordering::Relaxed);
        if until > now {
            // Requests that were under way at the same time say nothing new.
            return;
        }
        let refusals = member.refusals.fetch_add(1, Ordering::Relaxed);
        let pause = DOWN_FIRST.saturating_mul(1 << refusals.min(8)).min(DOWN_MAX);
        let next = now + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        // Of two who notice it at once, one counts.
        let _ = member.down_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Upstreams, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn one_text_with_commas_and_a_list_say_the_same() {
        let two = read(r#""http://10.0.0.1:5001, http://b:5001/""#).unwrap();
        assert_eq!(two, read(r#"["http://10.0.0.1:5001", "http://b:5001"]"#).unwrap());
        assert_eq!(serde_json::to_value(&two).unwrap(), "http://10.0.0.1:5001,http://b:5001");
        assert_eq!(two.to_string().parse(), Ok(two));
        let address: SocketAddr = "[::1]:5001".parse().unwrap();
        assert_eq!(Upstreams::from(address), "http://[::1]:5001".parse().unwrap());
    }

    #[test]
    fn what_is_no_url_of_a_service_is_named() {
        for (json, fault) in [
            (r#""""#, "no URL"),
            ("[]", "no URL"),
            (r#""127.0.0.1:5001""#, "\"127.0.0.1:5001\" is no URL"),
            (r#""https://a:1""#, "is no URL"),
            (r#""http://""#, "is no URL"),
            (r#""http://a:0""#, "is no URL"),
            (r#""http://a:x""#, "is no URL"),
            (r#""http://a:""#, "is no URL"),
            (r#""http://a/path""#, "is no URL"),
            (r#""http://user:password@a:1""#, "is no URL"),
            (r#""http://a:1,,http://b:1""#, "\"\" is no URL"),
            (r#""http://a:1,http://a:1/""#, "twice"),
            ("7", "a list of URLs"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(fault), "{json}: {refused}");
        }
    }

    #[test]
    fn the_one_that_answered_is_asked_first_and_a_dead_one_last() {
        let members = Members::from(read(r#""http://a:1,http://b:1,http://c:1""#).unwrap());
        let start = members.began + Duration::from_secs(60);
        assert_eq!(members.round(start), [0, 1, 2]);
        members.refused(0, start);
        assert_eq!(members.round(start), [1, 2, 0]);
        members.answered(1);
        assert_eq!(members.round(start), [1, 2, 0]);
        assert_eq!(
            members.round(start + DOWN_FIRST),
            [1, 2, 0],
            "it is in its turn again, behind the one that answers"
        );
        members.refused(1, start);
        assert_eq!(members.round(start), [2, 1, 0]);
        assert_eq!(members.round(start + DOWN_FIRST), [1, 2, 0]);
    }

    #[test]
    fn a_member_that_stays_away_is_left_alone_for_longer() {
        let members = Members::from(read(r#""http://a:1,http://b:1""#).unwrap());
        let mut now = members.began;
        for seconds in [1, 2, 4, 8, 10, 10] {
            members.refused(0, now);
            // Refusals while it is down do not count.
            members.refused(0, now);
            let pause = Duration::from_secs(seconds);
            assert_eq!(members.round(now + pause - Duration::from_millis(1)), [1, 0], "{seconds}");
            now += pause;
            assert_eq!(members.round(now), [0, 1], "{seconds}");
        }
        members.answered(0);
        members.refused(0, now);
        assert_eq!(members.round(now + DOWN_FIRST), [0, 1], "it begins anew");
    }
}
