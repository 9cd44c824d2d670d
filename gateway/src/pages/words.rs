//! How the pages put things: ages, sizes, and words with a tone that is shown by colour, sign and text.

use bigdata_common::Timestamp;
use bigdata_common::status::{ClusterStatus, Health, NodeStatus, OperationStatus};
use serde::Serialize;

/// A word with its tone: `good`, `busy`, `warn`, `bad` or `calm`, which the style sheet knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Chip {
    pub(crate) word: String,
    pub(crate) tone: &'static str,
}

impl Chip {
    fn new(word: &str, tone: &'static str) -> Self {
        Self { word: word.to_owned(), tone }
    }
}

impl From<ClusterStatus> for Chip {
    fn from(status: ClusterStatus) -> Self {
        let tone = match status {
            ClusterStatus::Ready => "good",
            ClusterStatus::Failed => "bad",
            ClusterStatus::Destroyed => "calm",
            _ => "busy",
        };
        Self::new(status.as_str(), tone)
    }
}

impl From<Health> for Chip {
    fn from(health: Health) -> Self {
        let tone = match health {
            Health::Healthy => "good",
            Health::Degraded => "warn",
            Health::Unavailable => "bad",
            Health::Unknown => "calm",
        };
        Self::new(health.as_str(), tone)
    }
}

impl From<NodeStatus> for Chip {
    fn from(status: NodeStatus) -> Self {
        let tone = match status {
            NodeStatus::Running => "good",
            NodeStatus::Failed => "bad",
            NodeStatus::Unreachable => "warn",
            NodeStatus::Stopped => "calm",
            _ => "busy",
        };
        Self::new(status.as_str(), tone)
    }
}

impl From<OperationStatus> for Chip {
    fn from(status: OperationStatus) -> Self {
        let tone = match status {
            OperationStatus::Succeeded => "good",
            OperationStatus::Failed => "bad",
            OperationStatus::Cancelled => "calm",
            OperationStatus::Pending | OperationStatus::Running => "busy",
        };
        Self::new(status.as_str(), tone)
    }
}

/// A service's status, which is a free word on the wire.
pub(crate) fn service_chip(word: &str) -> Chip {
    let tone = match word {
        "running" => "good",
        "degraded" => "warn",
        "stopped" => "calm",
        _ => "busy",
    };
    Chip::new(word, tone)
}

/// The style sheet's word for a log's stream, whatever the log calls it.
pub(crate) fn stream_class(stream: &str) -> &'static str {
    match stream {
        "stderr" => "stderr",
        "platform" => "platform",
        _ => "stdout",
    }
}

/// An instant: as machines read it, as people do, and how long ago it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Moment {
    pub(crate) iso: String,
    pub(crate) text: String,
    pub(crate) age: String,
}

impl Moment {
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Self {
        let iso = at.to_string();
        let text = match (iso.get(..10), iso.get(11..19)) {
            (Some(day), Some(time)) => format!("{day} {time} UTC"),
            _ => iso.clone(),
        };
        Self { text, iso, age: age(now.millis_since(at)) }
    }
}

/// A span in one unit, as `kubectl` and its kin put it; the script of the pages puts it the same way.
pub(crate) fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A span as exactly as one wants it of a phase.
pub(crate) fn duration(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..10_000 => format!("{:.1} s", millis as f64 / 1000.0),
        10_000..60_000 => format!("{} s", millis / 1000),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis / 1000 % 60),
        _ => format!("{} h {} min", millis / 3_600_000, millis / 60_000 % 60),
    }
}

/// MiB in the unit that fits.
pub(crate) fn mebibytes(amount: f64) -> String {
    let (value, unit) = match amount {
        amount if amount >= 1024.0 * 1024.0 => (amount / 1024.0 / 1024.0, "TiB"),
        amount if amount >= 1024.0 => (amount / 1024.0, "GiB"),
        amount => (amount, "MiB"),
    };
    format!("{} {unit}", number(value))
}

/// A number without a fraction where there is none, else with one digit.
pub(crate) fn number(value: f64) -> String {
    if (value - value.round()).abs() < 0.05 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_in_words() {
        for (millis, words, exactly) in [
            (0, "0 s", "0 ms"),
            (999, "0 s", "999 ms"),
            (1_500, "1 s", "1.5 s"),
            (59_999, "59 s", "59 s"),
            (61_000, "1 min", "1 min 1 s"),
            (7_200_000, "2 h", "2 h 0 min"),
            (200_000_000, "2 days", "55 h 33 min"),
        ] {
            assert_eq!((age(millis).as_str(), duration(millis).as_str()), (words, exactly), "{millis}");
        }
        assert_eq!(mebibytes(512.0), "512 MiB");
        assert_eq!(mebibytes(1536.0), "1.5 GiB");
        assert_eq!(mebibytes(24.0 * 1024.0), "24 GiB");
        assert_eq!(number(0.1), "0.1");
    }

    #[test]
    fn a_moment_is_told_to_the_second() {
        let at = Timestamp::from_millis(1_772_366_400_250);
        let moment = Moment::new(at, at.plus_millis(5_000));
        assert_eq!((moment.text.as_str(), moment.age.as_str()), ("2026-03-01 12:00:00 UTC", "5 s"));
        assert_eq!(moment.iso, "2026-03-01T12:00:00.250Z");
    }
}
