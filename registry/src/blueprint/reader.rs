//! Collects faults while values are read.

use super::container::Needed;
use bigdata_common::Name;
use bigdata_common::api::problem::Fault;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The longest time that a document may name: 30 days.
const TIME_MAX_MS: f64 = 30.0 * 24.0 * 60.0 * 60.0 * 1000.0;

/// Reads values, and remembers what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader<'secrets> {
    /// The names that `@{secret:…}` may use.
    pub(super) secrets: &'secrets BTreeSet<String>,
    /// What takes a right.
    pub(super) needed: Vec<Needed>,
    faults: Vec<Fault>,
    warnings: Vec<String>,
    unknown_keys: BTreeMap<String, usize>,
}

impl<'secrets> Reader<'secrets> {
    pub(super) fn new(secrets: &'secrets BTreeSet<String>) -> Self {
        Self { secrets, needed: Vec::new(), faults: Vec::new(), warnings: Vec::new(), unknown_keys: BTreeMap::new() }
    }

    /// Every fault and warning, and what takes a right.
    pub(super) fn end(mut self) -> (Vec<Fault>, Vec<String>, Vec<Needed>) {
        if !self.unknown_keys.is_empty() {
            let words: Vec<String> = self.unknown_keys.iter().map(|(key, nodes)| format!("{key} ({nodes})")).collect();
            let words = words.join(", ");
            self.warnings.push(format!("nodes have keys that the platform does not know, kept as properties: {words}"));
        }
        (self.faults, self.warnings, self.needed)
    }

    pub(super) fn fault(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.faults.push(Fault::new(pointer, detail));
    }

    pub(super) fn warn(&mut self, words: String) {
        if !self.warnings.contains(&words) {
            self.warnings.push(words);
        }
    }

    /// A node's key that means nothing to the platform; told once for all nodes.
    pub(super) fn unknown_key(&mut self, key: &str) {
        *self.unknown_keys.entry(key.to_owned()).or_default() += 1;
    }

    pub(super) fn name(&mut self, pointer: &str, text: &str) -> Option<Name> {
        text.parse().map_err(|error: bigdata_common::name::InvalidName| self.fault(pointer, error.to_string())).ok()
    }

    pub(super) fn object<'value>(&mut self, pointer: &str, value: &'value Value) -> Option<&'value Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.fault(pointer, "an object is wanted");
        }
        object
    }

    /// An object that may be absent, null or an empty text (which is how empty ones survive in older templates).
    pub(super) fn entries<'value>(
        &mut self,
        pointer: &str,
        value: Option<&'value Value>,
    ) -> Vec<(&'value String, &'value Value)> {
        match value {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(object)) => object.iter().collect(),
            Some(_) => {
                self.fault(pointer, "an object from names to values is wanted");
                Vec::new()
            }
        }
    }

    pub(super) fn list<'value>(&mut self, pointer: &str, value: Option<&'value Value>) -> Vec<&'value Value> {
        match value {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items.iter().collect(),
            Some(_) => {
                self.fault(pointer, "a list is wanted");
                Vec::new()
            }
        }
    }

    pub(super) fn text(&mut self, pointer: &str, value: Option<&Value>) -> Option<String> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.fault(pointer, "a text is wanted");
                None
            }
        }
    }

    pub(super) fn flag(&mut self, pointer: &str, value: Option<&Value>, absent: bool) -> bool {
        match value {
            None | Some(Value::Null) => absent,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => false,
            Some(_) => {
                self.fault(pointer, "true or false is wanted");
                absent
            }
        }
    }

    /// A number above 0; older templates write it as a text.
    pub(super) fn positive(&mut self, pointer: &str, value: Option<&Value>) -> Option<f64> {
        let number = match value {
            None | Some(Value::Null) => {
                self.fault(pointer, "missing; a number above 0 is wanted");
                return None;
            }
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let number = number.filter(|number: &f64| number.is_finite() && *number > 0.0);
        if number.is_none() {
            self.fault(pointer, "a number above 0 is wanted");
        }
        number
    }

    /// A whole number from `least` to `most`.
    pub(super) fn whole(&mut self, pointer: &str, value: Option<&Value>, least: u64, most: u64) -> Option<u64> {
        let number = match value {
            None | Some(Value::Null) => return None,
            Some(Value::Number(number)) => match number.as_u64() {
                Some(number) => Some(number),
                None => number
                    .as_f64()
                    .filter(|float| float.fract() == 0.0)
                    .and_then(|float| format!("{float:.0}").parse().ok()),
            },
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.fault(pointer, format!("a whole number from {least} to {most} is wanted"));
        }
        number
    }

    /// A time in seconds, as milliseconds.
    pub(super) fn seconds(&mut self, pointer: &str, value: &Value) -> Option<u64> {
        let seconds = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let millis = seconds.map(|seconds: f64| seconds * 1000.0).filter(|millis| (0.0..=TIME_MAX_MS).contains(millis));
        if millis.is_none() {
            self.fault(pointer, "a time in seconds is wanted, at most 30 days");
        }
        millis.and_then(|millis| format!("{millis:.0}").parse().ok())
    }

    /// A time given as `key` in seconds or `key_ms` in milliseconds.
    pub(super) fn time(&mut self, pointer: &str, fields: &Map<String, Value>, key: &str, absent_ms: u64) -> u64 {
        let key_ms = format!("{key}_ms");
        if let Some(value) = fields.get(&key_ms) {
            return self.whole(&format!("{pointer}/{key_ms}"), Some(value), 1, 2_592_000_000).unwrap_or(absent_ms);
        }
        match fields.get(key) {
            Some(value) => self.seconds(&format!("{pointer}/{key}"), value).map_or(absent_ms, |millis| millis.max(1)),
            None => absent_ms,
        }
    }
}
