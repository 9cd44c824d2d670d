//! What a read is answered, in the form of Consul's key-value interface.

use super::indexed::{Entry, Indexed};
use super::query::Form;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::collections::BTreeSet;

/// An answer's content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200 with JSON.
    Json(Vec<u8>),
    /// 200 with a key's value.
    Raw(String),
    /// 404 with nothing.
    Missing,
}

/// An entry on the wire.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    lock_index: u64,
    key: &'a str,
    flags: u64,
    /// Base64; null where it is empty.
    value: Option<String>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> Shown<'a> {
    fn new((key, entry): (&'a String, &Entry)) -> Self {
        let value = (!entry.value.is_empty()).then(|| STANDARD.encode(&entry.value));
        Self { lock_index: 0, key, flags: 0, value, create_index: entry.created, modify_index: entry.modified }
    }
}

/// The index of what a read of `key` finds: a client waits while it is the one that it knows. It may be a later one than that
/// of the change, and never an earlier one.
pub(crate) fn index_of(indexed: &Indexed, key: &str, form: &Form) -> u64 {
    match form {
        Form::Entry | Form::Raw => indexed.entries.get(key).map_or(indexed.index, |entry| entry.modified),
        Form::Recurse | Form::Keys { .. } => {
            let last = below(indexed, key).map(|(_, entry)| entry.modified).max();
            last.map_or(indexed.index, |last| last.max(indexed.removed))
        }
    }
}

/// The entries that begin so.
fn below<'a>(indexed: &'a Indexed, key: &str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
    indexed.entries.range(key.to_owned()..).take_while(move |(found, _)| found.starts_with(key))
}

/// Answers a read of `key`, or of all keys that begin with it.
pub(crate) fn answer(indexed: &Indexed, key: &str, form: &Form) -> Result<Answer, serde_json::Error> {
    let one = || indexed.entries.get_key_value(key);
    let below = || below(indexed, key);
    Ok(match form {
        Form::Raw => one().map_or(Answer::Missing, |(_, entry)| Answer::Raw(entry.value.clone())),
        Form::Entry => list(one().into_iter().map(Shown::new).collect())?,
        Form::Recurse => list(below().map(Shown::new).collect())?,
        Form::Keys { separator } => {
            let shortened = |found: &'_ str| {
                let cut =
                    separator.as_ref().and_then(|it| found[key.len()..].find(it.as_str()).map(|at| at + it.len()));
                cut.map_or(found.len(), |cut| key.len() + cut)
            };
            let keys: BTreeSet<&str> = below().map(|(found, _)| &found[..shortened(found)]).collect();
            list(keys.into_iter().collect())?
        }
    })
}

fn list(items: Vec<impl Serialize>) -> Result<Answer, serde_json::Error> {
    Ok(if items.is_empty() { Answer::Missing } else { Answer::Json(serde_json::to_vec(&items)?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ask(key: &str, form: &Form) -> Option<Value> {
        let mut indexed = Indexed::default();
        let keys = [("c/nodes/n1/status", "running"), ("c/nodes/n10/status", ""), ("c/status", "ü")];
        indexed.renew(keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        match answer(&indexed, key, form).unwrap() {
            Answer::Json(body) => Some(serde_json::from_slice(&body).unwrap()),
            Answer::Raw(text) => Some(Value::String(text)),
            Answer::Missing => None,
        }
    }

    #[test]
    fn reads() {
        let entry = |key: &str, value: Option<&str>| json!({"LockIndex": 0, "Key": key, "Flags": 0, "Value": value, "CreateIndex": 1, "ModifyIndex": 1});
        let (first, tenth) = (entry("c/nodes/n1/status", Some("cnVubmluZw==")), entry("c/nodes/n10/status", None));
        assert_eq!(ask("c/nodes/n1/status", &Form::Entry), Some(json!([first])));
        assert_eq!(ask("c/nodes/n10/status", &Form::Entry), Some(json!([tenth])));
        assert_eq!(ask("c/nodes", &Form::Entry), None);
        assert_eq!(ask("c/status", &Form::Raw), Some(json!("ü")));
        assert_eq!(ask("c", &Form::Raw), None);
        assert_eq!(ask("c/nodes", &Form::Recurse), Some(json!([first, tenth])));
        assert_eq!(ask("c/nodes/n1/", &Form::Recurse), Some(json!([first])));
        assert_eq!(ask("d", &Form::Recurse), None);
    }

    #[test]
    fn an_index_moves_with_what_is_read_and_what_went() {
        let mut indexed = Indexed::default();
        let mut look = |keys: &[(&str, &str)]| {
            indexed.renew(keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
            let reads = [("a/1", Form::Entry), ("b/1", Form::Raw), ("none", Form::Entry), ("a/", Form::Recurse)];
            reads.map(|(key, form)| index_of(&indexed, key, &form))
        };
        assert_eq!(look(&[("a/1", "x"), ("b/1", "x")]), [1, 1, 1, 1]);
        assert_eq!(look(&[("a/1", "x"), ("b/1", "y")]), [1, 2, 2, 1]);
        assert_eq!(look(&[("a/1", "y"), ("a/2", "x"), ("b/1", "y")]), [3, 2, 3, 3]);
        assert_eq!(look(&[("a/1", "y"), ("b/1", "y")]), [3, 2, 4, 4]);
    }

    #[test]
    fn keys_up_to_a_separator() {
        let keys = |separator: &str| Form::Keys { separator: (!separator.is_empty()).then(|| separator.to_owned()) };
        assert_eq!(ask("c/n", &keys("")), Some(json!(["c/nodes/n1/status", "c/nodes/n10/status"])));
        assert_eq!(ask("c/", &keys("/")), Some(json!(["c/nodes/", "c/status"])));
        assert_eq!(ask("c/nodes/", &keys("/")), Some(json!(["c/nodes/n1/", "c/nodes/n10/"])));
        assert_eq!(ask("", &keys("/")), Some(json!(["c/"])));
        assert_eq!(ask("x", &keys("/")), None);
    }
}
