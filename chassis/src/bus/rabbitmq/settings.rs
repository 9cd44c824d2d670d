//! Where the broker is, and what we ask of it.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach RabbitMQ. The URL holds a password: it is masked wherever the settings are printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS; the vhost `/` is written `%2f`.
    #[serde(serialize_with = "serialize_masked")]
    pub url: String,
    /// A PEM file with certificates that are trusted for `amqps://`, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What the names of exchanges and queues begin with: several installations may share a vhost.
    pub prefix: String,
    /// Deliveries that one consumer holds unacknowledged; at least eight times `lanes` in any case.
    pub prefetch: u16,
    /// How many clusters' events a process handles at a time; those of one cluster follow one another. At most half of the
    /// database's `connections`.
    pub lanes: u16,
    /// How often a message is delivered again before the broker parks it. It counts what comes back when a consumer
    /// ends, too: keep it well above the restarts of a bad day. A queue keeps the number that it was made with.
    pub delivery_limit: u32,
    /// Seconds between two heartbeats; two that are missing end a connection.
    pub heartbeat_s: u16,
    /// The longest wait, in milliseconds, for a connection, and for each answer of the broker.
    pub connect_limit_ms: u64,
    /// The longest wait, in milliseconds, until the broker has confirmed an event.
    pub confirm_limit_ms: u64,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            url: "amqp://127.0.0.1:5672/%2f".to_owned(),
            ca_file: None,
            prefix: "bigdata".to_owned(),
            prefetch: 64,
            lanes: 8,
            delivery_limit: 50,
            heartbeat_s: 10,
            connect_limit_ms: 5_000,
            confirm_limit_ms: 5_000,
        }
    }
}

impl BusSettings {
    pub(super) fn lanes(&self) -> usize {
        usize::from(self.lanes.max(1))
    }

    /// A cluster that is slow holds what comes for it: there is more to take than that.
    pub(super) fn prefetch(&self) -> u16 {
        self.prefetch.max(self.lanes.saturating_mul(8)).max(1)
    }

    pub(super) fn connect_limit(&self) -> Duration {
        Duration::from_millis(self.connect_limit_ms)
    }

    pub(super) fn confirm_limit(&self) -> Duration {
        Duration::from_millis(self.confirm_limit_ms)
    }
}

impl fmt::Debug for BusSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BusSettings")
            .field("url", &masked(&self.url))
            .field("ca_file", &self.ca_file)
            .field("prefix", &self.prefix)
            .field("prefetch", &self.prefetch)
            .field("lanes", &self.lanes)
            .field("delivery_limit", &self.delivery_limit)
            .field("heartbeat_s", &self.heartbeat_s)
            .field("connect_limit_ms", &self.connect_limit_ms)
            .field("confirm_limit_ms", &self.confirm_limit_ms)
            .finish()
    }
}

fn serialize_masked<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&masked(url))
}

/// The URL without user, password and parameters; nothing at all of what is not a URL.
pub(super) fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".to_owned() };
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_print_shows_the_password() {
        let url = "amqp://service:s3cr@t@broker:5672/%2f?password=s3cr";
        let settings = BusSettings { url: url.to_owned(), ..BusSettings::default() };
        for text in [format!("{settings:?}"), serde_json::to_string(&settings).unwrap()] {
            assert!(!text.contains("s3cr") && text.contains("amqp://…@broker:5672/%2f"), "{text}");
        }
        assert_eq!(masked("service:s3cr"), "…");
        assert_eq!(masked("amqp://broker/%2f"), "amqp://broker/%2f");
    }

    #[test]
    fn there_is_always_more_to_take_than_is_under_way() {
        let prefetch = |prefetch, lanes| BusSettings { prefetch, lanes, ..BusSettings::default() }.prefetch();
        assert_eq!([prefetch(64, 8), prefetch(1, 16), prefetch(0, 0)], [64, 128, 1]);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<BusSettings>(r#"{"prefetchh": 1}"#).unwrap_err();
        assert!(error.to_string().contains("prefetchh"), "{error}");
    }
}
