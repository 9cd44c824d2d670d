//! What a request asks for, in the form of Consul's key-value interface.

use std::time::Duration;

/// The longest that a read waits for a change.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A read. Parameters that only a cluster of stores has a use for (`dc`, `stale`, `consistent`, `pretty`) are let pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) form: Form,
    /// Wait while this is the index.
    pub(crate) index: Option<u64>,
    /// For so long, at most.
    pub(crate) wait: Duration,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// One key, as a list of one entry.
    Entry,
    /// One key's value as it is.
    Raw,
    /// The entries of all keys that begin so.
    Recurse,
    /// The keys that begin so; with a separator each up to the next one.
    Keys { separator: Option<String> },
}

impl Query {
    /// Whether it asks for whatever begins so.
    pub(crate) fn is_of_many(&self) -> bool {
        matches!(self.form, Form::Recurse | Form::Keys { .. })
    }

    /// Reads a query; what is wrong with it, in words.
    pub(crate) fn read(query: &str) -> Result<Self, String> {
        let (mut raw, mut recurse, mut keys, mut separator) = (false, false, false, None);
        let (mut index, mut wait) = (None, WAIT_MAX);
        for part in query.split('&') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = decoded(&value.replace('+', "%20"))
                .ok_or_else(|| format!("{part:?} is not encoded as it should be"))?;
            match name {
                "raw" => raw = true,
                "recurse" => recurse = true,
                "keys" => keys = true,
                "separator" => separator = Some(value).filter(|text| !text.is_empty()),
                "index" => index = Some(value.parse().map_err(|_| format!("index is a number, not {value:?}"))?),
                "wait" => {
                    wait =
                        duration(&value).ok_or_else(|| format!("wait is a time such as 10s or 5m, not {value:?}"))?;
                }
                _ => {}
            }
        }
        let form = match (raw, recurse, keys) {
            (false, false, false) => Form::Entry,
            (true, false, false) => Form::Raw,
            (false, true, false) => Form::Recurse,
            (false, _, true) => Form::Keys { separator },
            _ => return Err("raw gives the value of one key: it goes neither with recurse nor with keys".to_owned()),
        };
        // Index 0 is no index: so it is answered at once.
        Ok(Self { form, index: index.filter(|index| *index > 0), wait: wait.min(WAIT_MAX) })
    }
}

/// `250ms`, `10s`, `5m`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let count: u64 = text[..digits].parse().ok()?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.saturating_mul(unit_ms)))
}

/// A part of an address with its `%XX` resolved; None where that is no UTF-8, or `%` stands for nothing.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let read = |text: &str| Query::read(text).unwrap();
        let plain = Query { form: Form::Entry, index: None, wait: WAIT_MAX };
        assert_eq!(read(""), plain);
        assert_eq!(read("dc=here&stale&index=0"), plain);
        assert_eq!(read("recurse=true").form, Form::Recurse);
        assert_eq!(read("recurse").form, Form::Recurse);
        assert_eq!(read("raw").form, Form::Raw);
        assert_eq!(read("keys&separator=%2F").form, Form::Keys { separator: Some("/".to_owned()) });
        assert_eq!(read("keys=&recurse=").form, Form::Keys { separator: None });
        let waiting = Query { index: Some(7), wait: Duration::from_millis(1500), ..plain.clone() };
        assert_eq!(read("index=7&wait=1500ms"), waiting);
        assert_eq!(read("index=7&wait=10m"), Query { wait: WAIT_MAX, ..waiting });
        for wrong in ["raw&recurse", "raw&keys", "index=x", "wait=long", "wait=5", "separator=%f"] {
            assert!(Query::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn encoded_texts() {
        assert_eq!(decoded("a%2Fb%20c+d").as_deref(), Some("a/b c+d"));
        assert_eq!(decoded("%C3%BC").as_deref(), Some("ü"));
        for wrong in ["%", "%4", "%zz", "%+1", "%ff", "%é"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
    }
}
