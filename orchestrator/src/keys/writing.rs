//! What a script may write: how far it is, in the words of the older system. The platform keeps states of its own.

use bigdata_common::ClusterDn;
use std::collections::BTreeMap;

/// The longest status, in bytes.
pub(crate) const STATUS_MAX: usize = 200;

/// A write that is taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// The run's progress, in percent.
    Progress(u8),
    /// Told in the log alone; whether it is read again, since the platform has no value of its own.
    Note { what: String, is_kept: bool },
}

/// Why a write is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The key is not the script's to write.
    Key(String),
    /// The key is, the value is not of its form.
    Value(String),
}

/// Reads a write of `key`; `keys` are those that are there.
pub(crate) fn writing(
    cluster: &ClusterDn,
    keys: &BTreeMap<String, impl Sized>,
    key: &str,
    value: &str,
) -> Result<Write, Refused> {
    let path = key.strip_prefix(&format!("{cluster}/")).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let is_there = |kind: &str, name: &str| keys.contains_key(&format!("{cluster}/{kind}/{name}/name"));
    let text = value.trim();
    let told = text.len() <= STATUS_MAX && !text.is_empty() && !text.chars().any(char::is_control);
    let is_status = match parts.as_slice() {
        ["status"] => true,
        [kind @ ("nodes" | "services"), name, "status"] => is_there(kind, name),
        _ => false,
    };
    match parts.as_slice() {
        ["progress"] => match text.parse::<f64>() {
            // Rounded within 0 to 100.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 100")]
            Ok(percent) if told && (0.0..=100.0).contains(&percent) => Ok(Write::Progress(percent.round() as u8)),
            _ => Err(Refused::Value(format!("{key} is a number from 0 to 100"))),
        },
        ["step"] if !told || text.parse::<u32>().is_err() => Err(Refused::Value(format!("{key} is a whole number"))),
        _ if is_status && !told => {
            let form = format!("{key} is a word of at most {STATUS_MAX} bytes, without control characters");
            Err(Refused::Value(form))
        }
        _ if is_status || parts == ["step"] => {
            let is_kept = parts == ["step"] || parts.first() == Some(&"services");
            Ok(Write::Note { what: format!("{path} is {text}"), is_kept })
        }
        _ => Err(Refused::Key(format!(
            "{key} cannot be written: a script may write status, progress and step of {cluster}, and the status of its nodes \
             and services. Publish other values by `bigdata output KEY=VALUE`, write files of nodes by `bigdata node put`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_what_is_not() {
        let cluster: ClusterDn = "clusters/ann/mysql/8.0/1".parse().unwrap();
        let keys = ["nodes/n0/name", "services/all/name"].map(|key| (format!("{cluster}/{key}"), ()));
        let keys = BTreeMap::from(keys);
        let write = |key: &str, value: &str| writing(&cluster, &keys, key, value);
        let own = |path: &str, value: &str| write(&format!("{cluster}/{path}"), value);
        let note = |what: &str, is_kept| Ok(Write::Note { what: what.to_owned(), is_kept });
        assert_eq!(own("progress", "49.6"), Ok(Write::Progress(50)));
        assert_eq!(own("status", "running\n"), note("status is running", false));
        assert_eq!(own("nodes/n0/status", "configured"), note("nodes/n0/status is configured", false));
        assert_eq!(own("services/all/status", "running"), note("services/all/status is running", true));
        assert_eq!(own("step", "2"), note("step is 2", true));
        for (path, value) in [("progress", "101"), ("progress", "NaN"), ("progress", ""), ("step", "x"), ("status", "")]
        {
            assert!(matches!(own(path, value), Err(Refused::Value(_))), "{path}={value}");
        }
        assert!(matches!(own("progress", &"0".repeat(STATUS_MAX + 1)), Err(Refused::Value(_))));
        assert!(matches!(own("status", &"x".repeat(STATUS_MAX + 1)), Err(Refused::Value(_))));
        assert!(matches!(own("services/all/status", "a\u{1b}b"), Err(Refused::Value(_))));
        for path in ["nodes/n1/status", "nodes/n0/address", "services/none/status", "dnsname", "status/x", ""] {
            assert!(matches!(own(path, "x"), Err(Refused::Key(_))), "{path}");
        }
        for key in
            ["clusters/ann/mysql/8.0/10/status", "clusters/bob/mysql/8.0/1/status", "status", "products/a/1/name"]
        {
            assert!(matches!(write(key, "x"), Err(Refused::Key(words)) if words.starts_with(key)), "{key}");
        }
    }
}
