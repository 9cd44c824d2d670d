//! Makes of a launch's flat map the values that the template sees.

use super::{Declaration, Declared, Group};
use bigdata_chassis::http::json::escape;
use bigdata_chassis::secret::random_password;
use bigdata_common::api::problem::Fault;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What stands in place of a secret wherever it is read.
pub const MASK: &str = "********";

/// The options of one launch.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    /// What the template sees: a secret as `@{secret:NAME}`.
    pub context: Map<String, Value>,
    /// The secrets' values.
    pub secrets: IndexMap<String, String>,
    /// Secrets that the cluster has already, and keeps.
    pub kept: BTreeSet<String>,
}

impl Resolved {
    /// The names that `@{secret:…}` may use.
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.secrets.keys().chain(&self.kept).cloned().collect()
    }

    fn is_secret(&self, name: &str) -> bool {
        self.secrets.contains_key(name) || self.kept.contains(name)
    }

    /// The values that are no secret.
    pub fn open(&self) -> Map<String, Value> {
        let open = self.context.iter().filter(|(name, _)| !self.is_secret(name));
        open.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// All values, secret ones masked.
    pub fn masked(&self) -> Map<String, Value> {
        let mask = |name: &String, value: &Value| {
            if self.is_secret(name) { Value::from(MASK) } else { value.clone() }
        };
        self.context.iter().map(|(name, value)| (name.clone(), mask(name, value))).collect()
    }
}

impl Declared {
    /// The value as this option's, or everything that is wrong with it.
    pub(super) fn check(&self, value: &Value) -> Result<Value, Vec<String>> {
        let converted = match self.kind {
            None => value.clone(),
            Some(kind) => {
                kind.convert(value).ok_or_else(|| vec![format!("{kind} is wanted, not {}", self.shown(value))])?
            }
        };
        let Some(schema) = &self.schema else { return Ok(converted) };
        let masked = |error: jsonschema::ValidationError<'_>| {
            if self.secret {
                "the secret does not keep the product's rule for it".to_owned()
            } else {
                error.to_string()
            }
        };
        let details: Vec<String> = schema.iter_errors(&converted).map(masked).collect();
        if details.is_empty() { Ok(converted) } else { Err(details) }
    }

    fn shown(&self, value: &Value) -> String {
        const SHOWN_MAX: usize = 60;
        if self.secret {
            return MASK.to_owned();
        }
        let text = value.to_string();
        match text.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

impl Declaration {
    /// The values of a launch that sends `request`.
    ///
    /// # Errors
    /// Every fault, with its pointer into the request.
    pub fn resolve(&self, request: &Map<String, Value>) -> Result<Resolved, Vec<Fault>> {
        self.resolve_these(self.options.iter(), request)
    }

    pub(super) fn resolve_these<'a>(
        &self,
        options: impl Iterator<Item = (&'a String, &'a Declared)>,
        request: &Map<String, Value>,
    ) -> Result<Resolved, Vec<Fault>> {
        let mut faults = Vec::new();
        for key in request.keys().filter(|key| !self.options.contains_key(*key)) {
            faults.push(Fault::new(format!("/{}", escape(key)), self.unknown(key)));
        }
        let mut resolved = Resolved::default();
        for (name, declared) in options {
            let pointer = format!("/{}", escape(name));
            match self.value(name, declared, request) {
                Ok(Some(value)) => {
                    if let (true, Value::String(text)) = (declared.secret, &value) {
                        resolved.secrets.insert(name.clone(), text.clone());
                        resolved.context.insert(name.clone(), Value::String(format!("@{{secret:{name}}}")));
                    } else {
                        resolved.context.insert(name.clone(), value);
                    }
                }
                Ok(None) => {}
                Err(details) => {
                    faults.extend(details.into_iter().map(|detail| Fault::new(pointer.clone(), detail)));
                }
            }
        }
        if faults.is_empty() { Ok(resolved) } else { Err(faults) }
    }

    fn value(
        &self,
        name: &str,
        declared: &Declared,
        request: &Map<String, Value>,
    ) -> Result<Option<Value>, Vec<String>> {
        if let Some(sent) = request.get(name) {
            return declared.check(sent).map(Some);
        }
        if let Some(length) = declared.generate {
            return Ok(Some(Value::String(random_password(length))));
        }
        match declared.group {
            Group::Required => {
                let kind = declared.kind.map(|kind| format!("; {kind} is wanted")).unwrap_or_default();
                Err(vec![format!("the option {name} is required and missing{kind}")])
            }
            // A default that says nothing is no value.
            Group::Optional | Group::Advanced if declared.default.is_null() && declared.secret => Ok(None),
            Group::Optional | Group::Advanced => Ok(Some(declared.default.clone())),
        }
    }

    fn unknown(&self, key: &str) -> String {
        if self.options.is_empty() {
            return format!("the product has no option {key:?}; it has none at all");
        }
        let names: Vec<&str> = self.options.keys().map(String::as_str).collect();
        format!("the product has no option {key:?}; it has {}", names.join(", "))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(in crate::options) const DECLARED: &str = r#"{
        "required": {"size": 3, "password": "secret"},
        "optional": {"cpu": 1, "fast": false, "name": "n"},
        "advanced": {"a.b": "4G", "token": ""},
        "descriptions": {"size": "Number of nodes", "else": "free"},
        "schema": {
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
            "password": {"type": "string", "secret": true, "minLength": 4},
            "name": {"pattern": "^[a-z]+$"},
            "token": {"type": "string", "secret": true, "generate": 12}
        }
    }"#;

    fn resolve(request: Value) -> Result<Resolved, Vec<Fault>> {
        let Value::Object(request) = request else { panic!("an object") };
        Declaration::parse(DECLARED).unwrap().resolve(&request)
    }

    #[test]
    fn values_are_converted_and_secrets_kept_apart() {
        let resolved = resolve(json!({"size": "2", "password": 123456, "cpu": 0.5})).unwrap();
        assert_eq!(resolved.context["size"], json!(2));
        assert_eq!(resolved.context["cpu"], json!(0.5));
        assert_eq!(resolved.context["a.b"], json!("4G"));
        assert_eq!(resolved.context["password"], json!("@{secret:password}"));
        assert_eq!(resolved.secrets["password"], "123456");
        assert_eq!(resolved.secrets["token"].len(), 12);
        assert_eq!(resolved.masked()["password"], json!(MASK));
        assert!(!resolved.open().contains_key("token"));
    }

    #[test]
    fn every_fault_is_named() {
        let faults = resolve(json!({"size": "many", "sise": 2, "fast": 7, "name": "A1"})).unwrap_err();
        let mut pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/fast", "/name", "/password", "/sise", "/size"]);
    }

    #[test]
    fn a_secret_never_stands_in_a_fault() {
        let faults = resolve(json!({"size": 2, "password": "abc"})).unwrap_err();
        assert!(faults.iter().all(|fault| !fault.detail.contains("abc")), "{faults:?}");
        let faults = resolve(json!({"size": 2, "password": ["canary"]})).unwrap_err();
        assert!(faults.iter().all(|fault| !fault.detail.contains("canary")), "{faults:?}");
    }

    #[test]
    fn declarations_that_are_refused() {
        for (text, pointer) in [
            ("[]", ""),
            ("{", ""),
            (r#"{"required":{"a":1,"a":2}}"#, "/required/a"),
            (r#"{"requird":{}}"#, "/requird"),
            (r#"{"optional":[]}"#, "/optional"),
            (r#"{"descriptions":{"a":1}}"#, "/descriptions/a"),
            (r#"{"schema":{"a":{}}}"#, "/schema/a"),
            (r#"{"optional":{"a":1},"schema":{"a":{"type":"int"}}}"#, "/schema/a/type"),
            (r#"{"optional":{"a":5},"schema":{"a":{"type":"integer","maximum":4}}}"#, "/optional/a"),
            (r#"{"optional":{"a":"x"},"schema":{"a":{"pattern":"("}}}"#, "/schema/a"),
            (r##"{"optional":{"a":"x"},"schema":{"a":{"$ref":"#"}}}"##, "/schema/a"),
            (r#"{"optional":{"a":1},"schema":{"a":{"secret":true}}}"#, "/schema/a"),
            (r#"{"optional":{"a":""},"schema":{"a":{"generate":true}}}"#, "/schema/a/generate"),
        ] {
            let faults = Declaration::parse(text).unwrap_err();
            assert!(faults.iter().any(|fault| fault.pointer.starts_with(pointer)), "{text}: {faults:?}");
        }
    }

    #[test]
    fn absent_groups_count_as_empty() {
        assert!(Declaration::parse("{}").unwrap().options.is_empty());
        let older = r#"{"required":{"size":2},"optional":{},"advanced":{},"descriptions":{}}"#;
        assert_eq!(Declaration::parse(older).unwrap().options.len(), 1);
    }
}
